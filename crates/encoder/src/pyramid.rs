//! The outputs of all stages as whole maps, for other people's heads.

use fcmae_blocks::Pass;
use fcmae_kernels::unpack_tiles;
use fcmae_masking::{MaskError, PatchGrid, VisibleLayout};
use tch::{Tensor, nn};

use crate::config::{EncoderConfig, EncoderError};
use crate::encoder::SparseEncoder;

/// A dense ConvNeXt as a backbone: the output of every stage, for detection, segmentation or a head of your own.
///
/// Parameters have the encoder's names, so pre-trained weights load as they are, and gradients flow through.
/// Maps are what the stages put out, without a norm (detectors add one LayerNorm per map, as the reference's do).
#[derive(Debug)]
pub struct FeaturePyramid {
    encoder: SparseEncoder,
}

impl FeaturePyramid {
    /// Creates the encoder's parameters under `path`.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn new(path: &nn::Path, config: &EncoderConfig) -> Result<FeaturePyramid, EncoderError> {
        Ok(SparseEncoder::new(path, config)?.into())
    }

    /// The encoder inside.
    #[must_use]
    pub fn encoder(&self) -> &SparseEncoder {
        &self.encoder
    }

    /// Pixels between neighbouring sites of each map: 4, 8, 16, 32 in the standard family.
    #[must_use]
    pub fn strides(&self) -> Vec<usize> {
        self.encoder.strides()
    }

    /// Channels of each map.
    #[must_use]
    pub fn channels(&self) -> &[usize] {
        &self.encoder.config().dims
    }

    /// Images `[N, C, H, W]` of any size → one map per stage; see [`SparseEncoder::forward_maps`].
    ///
    /// # Errors
    /// Images without pixels.
    pub fn forward(&self, images: &Tensor, pass: &Pass) -> Result<Vec<Tensor>, MaskError> {
        self.encoder.forward_maps(images, pass)
    }
}

impl SparseEncoder {
    /// Pixels between neighbouring sites of each stage's output: 4, 8, 16, 32 in the standard family.
    #[must_use]
    pub fn strides(&self) -> Vec<usize> {
        let config = self.config();
        (0..config.dims.len()).map(|s| config.stem_stride << s).collect()
    }

    /// Images `[N, C, H, W]` of any size → one map per stage, `[N, dims[s], ⌈H / stride⌉, ⌈W / stride⌉]`.
    ///
    /// Where the total stride does not divide a side, zeros (the mean of normalised images) are added at the bottom
    /// and on the right, and maps are cut to the sites that see the image. The zeros are seen by convolutions near
    /// that edge and by GRN's statistics, so sizes that are multiples of the total stride are the exact case.
    ///
    /// # Errors
    /// Images without pixels.
    pub fn forward_maps(&self, images: &Tensor, pass: &Pass) -> Result<Vec<Tensor>, MaskError> {
        let (padded, layout) = self.padded(images)?;
        let maps = self.forward_stages(&padded, &layout, pass);
        let whole = |(packed, stride): (Tensor, usize)| {
            seen_sites(&packed, &layout, images, stride).permute([0, 3, 1, 2])
        };
        Ok(maps.into_iter().zip(self.strides()).map(whole).collect())
    }

    /// Images with zeros at the bottom and on the right up to whole patches, and the layout in which all are visible.
    pub(crate) fn padded(&self, images: &Tensor) -> Result<(Tensor, VisibleLayout), MaskError> {
        let (n, _, height, width) = images.size4().expect("images are [N, C, H, W]");
        let stride = self.config().total_stride();
        let to_whole = |side: i64| (side as usize).next_multiple_of(stride) as i64;
        let (padded_height, padded_width) = (to_whole(height), to_whole(width));
        let grid = PatchGrid::for_image(padded_height as usize, padded_width as usize, stride)?;
        let padding = [0, padded_width - width, 0, padded_height - height];
        let padded = if padding == [0; 4] {
            images.shallow_clone()
        } else {
            images.zero_pad2d(padding[0], padding[1], padding[2], padding[3])
        };
        Ok((padded, VisibleLayout::full(n as usize, grid)))
    }
}

/// The map `[N, H_s, W_s, C]` of packed features, cut to the sites of `stride` pixels that see the images.
pub(crate) fn seen_sites(packed: &Tensor, layout: &VisibleLayout, images: &Tensor, stride: usize) -> Tensor {
    let (_, _, height, width) = images.size4().expect("images are [N, C, H, W]");
    let sites = |side: i64| (side as usize).div_ceil(stride) as i64;
    unpack_tiles(packed, layout)
        .narrow(1, 0, sites(height))
        .narrow(2, 0, sites(width))
}

impl From<SparseEncoder> for FeaturePyramid {
    fn from(encoder: SparseEncoder) -> FeaturePyramid {
        FeaturePyramid { encoder }
    }
}
