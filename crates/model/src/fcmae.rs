//! The model: encode what is visible, decode everything, score what is hidden.

use fcmae_blocks::Pass;
use fcmae_decoder::{Decoder, Ends};
use fcmae_encoder::{DenseFill, EncoderKind, SparseEncoder, masked_dense};
use fcmae_kernels::{masked_loss, pack_tiles};
use fcmae_masking::{PatchMask, VisibleLayout};
use tch::{Kind, Tensor, nn};

use crate::config::{FcmaeConfig, ModelError};

/// Fully convolutional masked autoencoder (paper §3).
///
/// Parameter names are the reference's with dense shapes: `encoder.…`, `mask_token`, `proj.…`, `decoder.0.…`,
/// `pred.…`. Behind a dense encoder the decoder gets features of every patch and has no mask token: the one there is,
/// `[1, C, s, s]`, stands in the images.
#[derive(Debug)]
pub struct Fcmae {
    encoder: SparseEncoder,
    decoder: Decoder,
    /// What stands in the images in place of hidden patches, where that is learnt: `[1, C, s, s]`.
    fill: Option<Tensor>,
    config: FcmaeConfig,
}

/// How a forward pass is computed.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// Kind of the activations: `Float`, `Double`, or `BFloat16` (statistics and loss stay f32).
    pub precision: Kind,
    /// How the blocks are computed: draws of DropPath, and what is kept for the backward pass.
    pub pass: Pass<'a>,
}

impl Default for Step<'_> {
    /// f32, nothing dropped.
    fn default() -> Self {
        Step {
            precision: Kind::Float,
            pass: Pass::default(),
        }
    }
}

impl Fcmae {
    /// Creates the parameters under `path`. Weights are zero until they are initialised or loaded.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn new(path: &nn::Path, config: &FcmaeConfig) -> Result<Fcmae, ModelError> {
        config.validate()?;
        let encoder = &config.encoder;
        let ends = Ends {
            dims: &encoder.dims,
            stem_stride: encoder.stem_stride,
            in_chans: encoder.in_chans,
            has_hidden: !config.is_dense(),
        };
        let [channels, side] = [encoder.in_chans, encoder.stem_stride].map(|size| size as i64);
        let has_fill = config.is_dense() && encoder.dense_fill == DenseFill::Token;
        Ok(Fcmae {
            encoder: SparseEncoder::new(&(path / "encoder"), encoder)?,
            decoder: Decoder::new(path, &config.decoder, &ends)?,
            fill: has_fill.then(|| path.zeros("mask_token", &[1, channels, side, side])),
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
        let tokens = self.tokens(images, mask, &layout, step);
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
        let pred = self.decoder.predict(&self.tokens(images, mask, &layout, step));
        Ok(pred.view([layout.images() as i64, layout.grid().patches() as i64, -1]))
    }

    /// Decoded tokens of all patches, `[N·L, q, q, D]`.
    fn tokens(&self, images: &Tensor, mask: &PatchMask, layout: &VisibleLayout, step: &Step) -> Tensor {
        let (images, pass) = (images.to_kind(step.precision), &step.pass);
        match self.config.encoder.encoder {
            EncoderKind::Sparse => {
                let stages = self.encoder.forward_stages(&images, layout, pass);
                self.decoder.forward(stages, layout, pass)
            }
            EncoderKind::MaskedDense => {
                let maps = masked_dense(&self.encoder, &images, mask, pass);
                let pack = |map: Tensor| pack_tiles(&map.to_kind(step.precision), layout);
                self.decoder
                    .forward(maps.into_iter().map(pack).collect(), layout, pass)
            }
            EncoderKind::Dense => {
                let all = VisibleLayout::full(layout.images(), layout.grid());
                let stages = self
                    .encoder
                    .forward_stages(&self.filled(&images, mask), &all, pass);
                self.decoder.forward(stages, &all, pass)
            }
        }
    }

    /// Images with something else in place of hidden patches.
    fn filled(&self, images: &Tensor, mask: &PatchMask) -> Tensor {
        let (n, _, height, width) = images.size4().expect("images are [N, C, H, W]");
        let hidden = Tensor::from_slice(&mask.upsample(self.config.patch_size()))
            .view([n, 1, height, width])
            .to_device(images.device());
        match &self.fill {
            None => images.masked_fill(&hidden, 0.0),
            Some(token) => {
                let side = token.size()[2];
                let pixels = token.repeat([1, 1, height / side, width / side]);
                pixels.to_kind(images.kind()).where_self(&hidden, images)
            }
        }
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

#[cfg(test)]
mod tests {
    use fcmae_blocks::{Activation, DropPathDraws};
    use fcmae_decoder::DecoderConfig;
    use fcmae_encoder::EncoderConfig;
    use fcmae_masking::{MaskConfig, PatchGrid, RandomMask};
    use tch::Device;

    use super::*;

    const SAMPLES: [u64; 3] = [3, 1, 4];

    /// Loss and gradients of one step of a small model that drops blocks, by name.
    fn step(precision: Kind, activation: Activation) -> Vec<(String, Tensor)> {
        let config = FcmaeConfig {
            encoder: EncoderConfig {
                depths: vec![1, 2, 1],
                dims: vec![8, 12, 20],
                drop_path: 0.4,
                ..EncoderConfig::default()
            },
            decoder: DecoderConfig {
                depth: 2,
                dim: 16,
                ..DecoderConfig::default()
            },
            ..FcmaeConfig::default()
        };
        let vs = nn::VarStore::new(Device::Cpu);
        let model = Fcmae::new(&vs.root(), &config).unwrap();
        model.initialise(&vs, 1);
        let grid = PatchGrid { rows: 3, cols: 4 };
        let mask = RandomMask::new(MaskConfig::default()).sample(grid, 2, 0, &SAMPLES);
        let draws = DropPathDraws::new(2, 0, &SAMPLES, config.encoder.blocks());
        let step = Step {
            precision,
            pass: Pass {
                draws: Some(&draws),
                activation,
                ..Pass::default()
            },
        };
        let pixels = Tensor::arange(3 * 3 * 48 * 64, (Kind::Float, Device::Cpu));
        let images = (pixels * 0.7).sin().view([3, 3, 48, 64]);
        let loss = model.loss(&images, &mask.unwrap(), &step).unwrap();
        loss.backward();
        let mut results: Vec<_> = vs
            .variables()
            .into_iter()
            .map(|(name, p)| (name, p.grad()))
            .collect();
        results.sort_by(|(a, _), (b, _)| a.cmp(b));
        results.push(("loss".to_owned(), loss.detach()));
        results
    }

    #[test]
    fn what_is_kept_for_the_backward_pass_changes_no_bit() {
        for precision in [Kind::Float, Kind::BFloat16] {
            let (kept, again) = (
                step(precision, Activation::Keep),
                step(precision, Activation::Recompute),
            );
            for ((name, a), (_, b)) in kept.iter().zip(&again) {
                assert!(
                    a.abs().max().double_value(&[]) > 0.0,
                    "{precision:?} {name} is zero"
                );
                assert_eq!(a, b, "{precision:?} {name}");
            }
        }
    }
}
