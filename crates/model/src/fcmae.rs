//! The model: encode what is visible, decode everything, score what is hidden.

use fcmae_blocks::DropPathDraws;
use fcmae_decoder::ConvNextDecoder;
use fcmae_encoder::SparseEncoder;
use fcmae_kernels::masked_loss;
use fcmae_masking::{PatchMask, VisibleLayout};
use tch::{Kind, Tensor, nn};

use crate::config::{FcmaeConfig, ModelError};

/// Fully convolutional masked autoencoder (paper §3).
///
/// Parameter names are the reference's with dense shapes: `encoder.…`, `mask_token`, `proj.…`, `decoder.0.…`,
/// `pred.…`.
#[derive(Debug)]
pub struct Fcmae {
    encoder: SparseEncoder,
    decoder: ConvNextDecoder,
    config: FcmaeConfig,
}

/// How a forward pass is computed.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Kind of the activations: `Float`, `Double`, or `BFloat16` (statistics and loss stay f32).
    pub precision: Kind,
    /// Draws of DropPath while training; `None` in evaluation.
    pub draws: Option<&'a DropPathDraws>,
}

impl Default for Step<'_> {
    /// f32, nothing dropped.
    fn default() -> Self {
        Step {
            precision: Kind::Float,
            draws: None,
        }
    }
}

impl Fcmae {
    /// Creates the parameters under `path`. Weights are zero until they are initialised or loaded.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn new(path: &nn::Path, config: &FcmaeConfig) -> Result<Fcmae, ModelError> {
        let encoder = SparseEncoder::new(&(path / "encoder"), &config.encoder)?;
        let encoded = config.encoder.out_channels();
        let decoder = ConvNextDecoder::new(path, &config.decoder, encoded, config.pixels_per_patch())?;
        Ok(Fcmae {
            encoder,
            decoder,
            config: config.clone(),
        })
    }

    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &FcmaeConfig {
        &self.config
    }

    /// The encoder inside.
    #[must_use]
    pub fn encoder(&self) -> &SparseEncoder {
        &self.encoder
    }

    /// The masked loss, a scalar in f32 at least: images `[N, C, H, W]` normalised by the data's mean and standard
    /// deviation; `mask`: `true` = hidden.
    ///
    /// # Errors
    /// Images and mask that do not fit; a mask with different counts, or with nothing visible or nothing hidden.
    pub fn loss(&self, images: &Tensor, mask: &PatchMask, step: &Step) -> Result<Tensor, ModelError> {
        let layout = self.layout(images, mask)?;
        let tokens = self.tokens(images, &layout, step);
        let pred = self.decoder.predict_hidden(&tokens, &layout);
        Ok(masked_loss(&pred, images, &layout, self.config.norm_pix_loss))
    }

    /// Predictions of every patch, `[N, L, P·P·C]`, in the space of the targets: normalised per patch under
    /// `norm_pix_loss`. Only those of hidden patches were ever trained.
    ///
    /// # Errors
    /// As [`loss`](Fcmae::loss).
    pub fn predict(&self, images: &Tensor, mask: &PatchMask, step: &Step) -> Result<Tensor, ModelError> {
        let layout = self.layout(images, mask)?;
        let pred = self.decoder.predict(&self.tokens(images, &layout, step));
        Ok(pred.view([layout.images() as i64, layout.grid().patches() as i64, -1]))
    }

    /// Decoded tokens of all patches, `[N·L, D]`.
    fn tokens(&self, images: &Tensor, layout: &VisibleLayout, step: &Step) -> Tensor {
        let encoded = self
            .encoder
            .forward(&images.to_kind(step.precision), layout, step.draws);
        self.decoder.forward(&encoded, layout)
    }

    /// The layout of a mask that fits the images.
    fn layout(&self, images: &Tensor, mask: &PatchMask) -> Result<VisibleLayout, ModelError> {
        let (grid, patch) = (mask.grid(), self.config.patch_size());
        let (height, width) = (grid.rows * patch, grid.cols * patch);
        let channels = self.config.encoder.in_chans;
        let expected = [mask.images(), channels, height, width].map(|size| size as i64);
        if images.size() != expected {
            let got = images.size();
            return Err(ModelError::Images {
                got,
                channels,
                images: mask.images(),
                height,
                width,
            });
        }
        Ok(VisibleLayout::from(mask))
    }
}
