//! The dense classifier: encoder with all patches visible, global average pooling, norm, head.

use fcmae_blocks::{LayerNorm, Pass};
use fcmae_kernels::linear;
use fcmae_masking::{MaskError, PatchGrid, VisibleLayout};
use tch::{Kind, Tensor, nn};

use crate::config::{EncoderConfig, EncoderError};
use crate::encoder::SparseEncoder;

/// ConvNeXt for classification (fact sheet §1.2): pool → LayerNorm → linear, in this order.
#[derive(Debug)]
pub struct Classifier {
    encoder: SparseEncoder,
    norm: LayerNorm,
    head_weight: Tensor,
    head_bias: Tensor,
}

impl Classifier {
    /// Creates encoder, `norm` and `head` under `path`.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn new(path: &nn::Path, config: &EncoderConfig, classes: usize) -> Result<Classifier, EncoderError> {
        let width = config.out_channels() as i64;
        let head = path / "head";
        Ok(Classifier {
            encoder: SparseEncoder::new(path, config)?,
            norm: LayerNorm::new(&(path / "norm"), width),
            head_weight: head.zeros("weight", &[classes as i64, width]),
            head_bias: head.zeros("bias", &[classes as i64]),
        })
    }

    /// The encoder inside.
    #[must_use]
    pub fn encoder(&self) -> &SparseEncoder {
        &self.encoder
    }

    /// Images `[N, C, H, W]` → pooled features before the norm, `[N, dims.last()]`. H and W must be multiples of
    /// the total stride.
    ///
    /// # Errors
    /// An image size that the total stride does not divide.
    pub fn pooled(&self, images: &Tensor, pass: &Pass) -> Result<Tensor, MaskError> {
        let size = images.size();
        let stride = self.encoder.config().total_stride();
        let grid = PatchGrid::for_image(size[2] as usize, size[3] as usize, stride)?;
        let layout = VisibleLayout::full(size[0] as usize, grid);
        let x = self.encoder.forward(images, &layout, pass); // [N·L, 1, 1, C]
        Ok(x.view([size[0], grid.patches() as i64, -1])
            .mean_dim([1i64].as_slice(), false, None::<Kind>))
    }

    /// Images `[N, C, H, W]` → what the head sees, `[N, dims.last()]`: [`pooled`](Classifier::pooled) features after
    /// the norm (the reference's `forward_features`).
    ///
    /// # Errors
    /// An image size that the total stride does not divide.
    pub fn forward_features(&self, images: &Tensor, pass: &Pass) -> Result<Tensor, MaskError> {
        Ok(self.norm.forward(&self.pooled(images, pass)?))
    }

    /// Images `[N, C, H, W]` → logits `[N, classes]`.
    ///
    /// # Errors
    /// An image size that the total stride does not divide.
    pub fn forward(&self, images: &Tensor, pass: &Pass) -> Result<Tensor, MaskError> {
        let features = self.forward_features(images, pass)?;
        Ok(linear(&features, &self.head_weight, &self.head_bias))
    }
}
