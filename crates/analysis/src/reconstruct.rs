//! Reconstructions: the prediction of hidden patches, back in pixels.

use fcmae_kernels::{TARGET_EPS, patchify, target_statistics, unpatchify};
use fcmae_masking::PatchMask;
use fcmae_model::{Fcmae, ModelError, Step};
use image::RgbImage;
use tch::{Device, Kind, Tensor};

/// Mean and standard deviation per channel by which the images were normalised, in `[0, 1]` units.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelStatistics {
    /// One per channel.
    pub mean: Vec<f32>,
    /// One per channel.
    pub std: Vec<f32>,
}

impl PixelStatistics {
    /// As a config has them.
    #[must_use]
    pub fn of(mean: &[f64], std: &[f64]) -> PixelStatistics {
        let to_f32 = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
        PixelStatistics {
            mean: to_f32(mean),
            std: to_f32(std),
        }
    }
}

/// One image, three ways, and how well its hidden patches were predicted.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// The image.
    pub input: RgbImage,
    /// The image with hidden patches in slate blue.
    pub masked: RgbImage,
    /// Predictions at hidden patches; at visible ones the input, for the model's output there is untrained
    /// (fact sheet §2.7).
    pub prediction: RgbImage,
    /// Masked loss of this image alone, as the model is trained.
    pub loss: f64,
}

/// Reconstructs a batch: `images [N, C, H, W]` normalised by `statistics`, `mask`: `true` = hidden.
///
/// Under `norm_pix_loss` a prediction is in units of its own patch; it is brought back with the true patch's mean
/// and standard deviation, as the paper's pictures are. With other than three channels the first one is shown in
/// grey.
///
/// # Errors
/// Images and mask that do not fit the model.
pub fn reconstruct(
    model: &Fcmae,
    images: &Tensor,
    mask: &PatchMask,
    statistics: &PixelStatistics,
    step: &Step,
) -> Result<Vec<Reconstruction>, ModelError> {
    tch::no_grad(|| {
        let config = model.config();
        let patch = config.patch_size() as i64;
        let pred = model.predict(images, mask, step)?.to_kind(Kind::Float); // [N, L, P·P·C]
        let patches = patchify(&images.to_kind(Kind::Float), patch);
        let (mean, var) = target_statistics(&patches);
        let deviation = (var + TARGET_EPS).sqrt();
        let (target, pixels) = if config.norm_pix_loss {
            ((&patches - &mean) / &deviation, &pred * &deviation + &mean)
        } else {
            (patches.shallow_clone(), pred.shallow_clone())
        };
        let (n, l) = (mask.images() as i64, mask.grid().patches() as i64);
        let hidden = Tensor::from_slice(&mask.to_f32())
            .view([n, l, 1])
            .to_device(images.device());
        let per_patch = (&pred - target)
            .square()
            .mean_dim([2i64].as_slice(), true, Kind::Float); // [N, L, 1]
        let losses = (per_patch * &hidden).sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
        let losses = losses / hidden.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);

        let is_hidden = hidden.to_kind(Kind::Bool);
        let grid = mask.grid();
        let whole = |p: &Tensor| unpatchify(p, grid.rows as i64, grid.cols as i64, patch);
        let pasted = whole(&pixels.where_self(&is_hidden, &patches));
        let pictures = |t: &Tensor| to_pictures(t, statistics);
        let (inputs, predictions) = (pictures(images), pictures(&pasted));
        let all = inputs.into_iter().zip(predictions).enumerate();
        Ok(all
            .map(|(n, (input, prediction))| Reconstruction {
                masked: with_holes(&input, mask.hidden(n), grid.cols, patch as u32),
                input,
                prediction,
                loss: losses.double_value(&[n as i64]),
            })
            .collect())
    })
}

/// Normalised images `[N, C, H, W]` → 8-bit pictures.
pub(crate) fn to_pictures(images: &Tensor, statistics: &PixelStatistics) -> Vec<RgbImage> {
    let (n, c, h, w) = images.size4().expect("images are [N, C, H, W]");
    let channel = |values: &[f32]| {
        Tensor::from_slice(values)
            .view([1, c, 1, 1])
            .to_device(images.device())
    };
    let pixels = images.to_kind(Kind::Float) * channel(&statistics.std) + channel(&statistics.mean);
    let pixels = (pixels * 255.0).round().clamp(0.0, 255.0).to_kind(Kind::Uint8);
    let shown = if c == 3 {
        pixels
    } else {
        pixels.narrow(1, 0, 1).expand([n, 3, h, w], false)
    };
    let shown = shown.permute([0, 2, 3, 1]).contiguous().to_device(Device::Cpu);
    let bytes = Vec::<u8>::try_from(shown.view([-1])).expect("a contiguous byte tensor");
    let size = (h * w * 3) as usize;
    let picture = |bytes: &[u8]| RgbImage::from_raw(w as u32, h as u32, bytes.to_vec());
    bytes
        .chunks(size)
        .map(|bytes| picture(bytes).expect("H·W·3 bytes"))
        .collect()
}

/// The picture with hidden patches painted over.
fn with_holes(picture: &RgbImage, hidden: &[bool], cols: usize, patch: u32) -> RgbImage {
    const HOLE: image::Rgb<u8> = image::Rgb([70, 90, 130]); // no grey: greys are pictures
    let mut out = picture.clone();
    for (x, y, pixel) in out.enumerate_pixels_mut() {
        if hidden[(y / patch) as usize * cols + (x / patch) as usize] {
            *pixel = HOLE;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use fcmae_decoder::DecoderConfig;
    use fcmae_encoder::EncoderConfig;
    use fcmae_masking::PatchGrid;
    use fcmae_model::FcmaeConfig;
    use tch::nn;

    use super::*;

    fn model(norm_pix_loss: bool, in_chans: usize) -> (nn::VarStore, Fcmae) {
        let config = FcmaeConfig {
            encoder: EncoderConfig {
                depths: vec![1, 1],
                dims: vec![4, 8],
                stem_stride: 2,
                in_chans,
                ..EncoderConfig::default()
            },
            decoder: DecoderConfig {
                dim: 8,
                ..DecoderConfig::default()
            },
            norm_pix_loss,
            ..FcmaeConfig::default()
        };
        let vs = nn::VarStore::new(Device::Cpu);
        let model = Fcmae::new(&vs.root(), &config).unwrap();
        model.initialise(&vs, 1);
        (vs, model)
    }

    fn mask() -> PatchMask {
        let grid = PatchGrid { rows: 2, cols: 3 };
        PatchMask::from_hidden_indices(grid, &[vec![0, 1, 4], vec![2, 3, 5]]).unwrap()
    }

    #[test]
    fn the_mean_of_the_losses_is_the_models_loss() {
        for norm_pix_loss in [true, false] {
            let (_vs, model) = model(norm_pix_loss, 3);
            let images = Tensor::randn([2, 3, 8, 12], (Kind::Float, Device::Cpu));
            let statistics = PixelStatistics {
                mean: vec![0.5; 3],
                std: vec![0.2; 3],
            };
            let all = reconstruct(&model, &images, &mask(), &statistics, &Step::default()).unwrap();
            let mean = (all[0].loss + all[1].loss) / 2.0;
            let loss = model
                .loss(&images, &mask(), &Step::default())
                .unwrap()
                .double_value(&[]);
            assert!((mean - loss).abs() < 1e-6, "{mean} {loss}");
        }
    }

    #[test]
    fn visible_pixels_are_the_input_and_hidden_ones_are_not() {
        let (_vs, model) = model(true, 1);
        let images = Tensor::randn([2, 1, 8, 12], (Kind::Float, Device::Cpu));
        let statistics = PixelStatistics {
            mean: vec![0.5],
            std: vec![0.2],
        };
        let all = reconstruct(&model, &images, &mask(), &statistics, &Step::default()).unwrap();
        for (n, r) in all.iter().enumerate() {
            let mut differs = false;
            for (x, y, pixel) in r.input.enumerate_pixels() {
                let is_hidden = mask().hidden(n)[(y / 4 * 3 + x / 4) as usize];
                if is_hidden {
                    assert_eq!(r.masked.get_pixel(x, y).0, [70, 90, 130]);
                    differs |= r.prediction.get_pixel(x, y) != pixel;
                } else {
                    assert_eq!(
                        (r.masked.get_pixel(x, y), r.prediction.get_pixel(x, y)),
                        (pixel, pixel)
                    );
                }
            }
            assert!(differs);
        }
    }

    /// With zero predictions under `norm_pix_loss` a hidden patch is painted with its own mean.
    #[test]
    fn predictions_are_brought_back_with_the_patchs_own_statistics() {
        let (vs, model) = model(true, 1);
        tch::no_grad(|| {
            vs.variables()
                .values()
                .for_each(|t| drop(t.shallow_clone().zero_()))
        });
        let images = Tensor::arange(96, (Kind::Float, Device::Cpu)).view([1, 1, 8, 12]) / 96.0;
        let grid = PatchGrid { rows: 2, cols: 3 };
        let mask = PatchMask::from_hidden_indices(grid, &[vec![0]]).unwrap();
        let statistics = PixelStatistics {
            mean: vec![0.0],
            std: vec![1.0],
        };
        let all = reconstruct(&model, &images, &mask, &statistics, &Step::default()).unwrap();
        let patch_mean = images
            .narrow(2, 0, 4)
            .narrow(3, 0, 4)
            .mean(Kind::Float)
            .double_value(&[]);
        assert_eq!(
            f64::from(all[0].prediction.get_pixel(1, 2).0[0]),
            (patch_mean * 255.0).round()
        );
    }
}
