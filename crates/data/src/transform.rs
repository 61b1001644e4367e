//! From a decoded image of any size to the size the network sees, and on to normalised numbers.

use fcmae_random::Stream;

use crate::augment::AugmentConfig;
use crate::error::DataError;
use crate::finetune::{FinetuneAugment, FinetuneAugmentConfig};
use crate::image::{Image, Rect};
use crate::resize::{resize_bicubic, resize_window};

/// How an image is brought to `size` = `[height, width]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// Training: a random crop, resized, perhaps mirrored (fact sheet §3.2).
    RandomResizedCrop {
        /// What is drawn.
        augment: AugmentConfig,
        /// Height and width of the result.
        size: [usize; 2],
    },
    /// Learning from labels (fact sheet §3.8).
    Finetune {
        /// What is drawn.
        augment: Box<FinetuneAugment>,
        /// Height and width of the result.
        size: [usize; 2],
    },
    /// Evaluation: the same result every time (fact sheet §3.8).
    Eval {
        /// Height and width of the result.
        size: [usize; 2],
        /// Below [`Transform::WARP_FROM`] pixels: the image is scaled until it just covers `size /
        /// crop_pct`, then the centre is cut out. Above 0 and at most 1.
        crop_pct: f64,
    },
}

impl Transform {
    /// `crop_pct` of the reference: 224 / 256.
    pub const CROP_PCT: f64 = 224.0 / 256.0;

    /// From this size on (the shorter side) evaluation warps the whole image instead of cropping.
    pub const WARP_FROM: usize = 384;

    /// The training transform.
    #[must_use]
    pub fn train(augment: &AugmentConfig, size: [usize; 2]) -> Transform {
        Transform::RandomResizedCrop {
            augment: augment.clone(),
            size,
        }
    }

    /// The transform for learning from labels; `mean` is that of each channel, with pixels in `[0, 1]`.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] for a value out of range.
    pub fn finetune(
        augment: &FinetuneAugmentConfig,
        size: [usize; 2],
        mean: &[f64],
    ) -> Result<Transform, DataError> {
        let augment = Box::new(FinetuneAugment::new(augment, mean)?);
        Ok(Transform::Finetune { augment, size })
    }

    /// The evaluation transform with the reference's `crop_pct`.
    #[must_use]
    pub fn eval(size: [usize; 2]) -> Transform {
        Transform::Eval {
            size,
            crop_pct: Transform::CROP_PCT,
        }
    }

    /// Height and width of the result.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        match self {
            Transform::RandomResizedCrop { size, .. }
            | Transform::Finetune { size, .. }
            | Transform::Eval { size, .. } => *size,
        }
    }

    /// Applies the transform; [`Transform::Eval`] draws nothing from `stream`.
    #[must_use]
    pub fn apply(&self, image: &Image, stream: &mut Stream) -> Image {
        match self {
            Transform::RandomResizedCrop {
                augment,
                size: [height, width],
            } => {
                let crop = augment.draw_crop(image.width(), image.height(), stream);
                let mut out = resize_bicubic(image, crop, *width, *height);
                augment.mirror(&mut out, stream);
                out
            }
            Transform::Finetune { augment, size } => augment.apply(image, *size, stream),
            Transform::Eval { size, crop_pct } => eval(image, *size, *crop_pct),
        }
    }
}

/// Torchvision's `Resize` of the shorter side and `CenterCrop`, or a plain resize for large sizes.
fn eval(image: &Image, [height, width]: [usize; 2], crop_pct: f64) -> Image {
    if height.min(width) >= Transform::WARP_FROM {
        return resize_bicubic(image, image.bounds(), width, height);
    }
    let covered = |side: usize| ((side as f64 / crop_pct) as usize).max(side);
    let (cover_w, cover_h) = (covered(width), covered(height));
    let (w, h) = (image.width(), image.height());
    // The axis that has less to spare decides; for squares that is the shorter side.
    let (new_w, new_h) = if w * cover_h <= h * cover_w {
        (cover_w, cover_w * h / w)
    } else {
        (cover_h * w / h, cover_h)
    };
    let middle = |slack: usize| (slack as f64 / 2.0).round_ties_even() as usize; // as Python's round()
    let centre = Rect {
        left: middle(new_w - width),
        top: middle(new_h - height),
        width,
        height,
    };
    // The rest of a thin image, scaled until its shorter side covers, may be more than fits any memory.
    resize_window(image, image.bounds(), [new_w, new_h], centre)
}

/// `(x / 255 − mean) / std` per channel, as a table of the 256 values a byte can have.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalize {
    tables: Vec<[f32; 256]>,
}

impl Normalize {
    /// One mean and one standard deviation per channel, with pixels in `[0, 1]`.
    ///
    /// # Panics
    /// When the two do not have the same length.
    #[must_use]
    pub fn new(mean: &[f64], std: &[f64]) -> Normalize {
        assert_eq!(mean.len(), std.len(), "channels of mean and std");
        let table = |(&mean, &std): (&f64, &f64)| {
            // In f32, operation by operation as torchvision's ToTensor and Normalize.
            std::array::from_fn(|x| (x as f32 / 255.0 - mean as f32) / std as f32)
        };
        Normalize {
            tables: mean.iter().zip(std).map(table).collect(),
        }
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.tables.len()
    }

    /// Writes `image` (`[H, W, C]` bytes) as `[C, H, W]` numbers.
    ///
    /// # Panics
    /// When the channels or the length of `out` do not fit.
    pub fn write(&self, image: &Image, out: &mut [f32]) {
        let channels = self.channels();
        assert_eq!(image.channels(), channels, "channels of image and mean");
        assert_eq!(out.len(), image.pixels().len(), "buffer for one image");
        match channels {
            1 => self.write_planes::<1>(image.pixels(), out),
            3 => self.write_planes::<3>(image.pixels(), out),
            _ => unreachable!("an image has one channel or three"),
        }
    }

    fn write_planes<const C: usize>(&self, pixels: &[u8], out: &mut [f32]) {
        let (pixels, _) = pixels.as_chunks::<C>();
        let mut planes = out.chunks_exact_mut(pixels.len());
        let planes: [&mut [f32]; C] = std::array::from_fn(|_| planes.next().expect("a plane per channel"));
        let tables: &[[f32; 256]; C] = self.tables.first_chunk().expect("a table per channel");
        for (at, pixel) in pixels.iter().enumerate() {
            for c in 0..C {
                planes[c][at] = tables[c][usize::from(pixel[c])];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;
    use proptest::prelude::*;

    fn ramp(width: usize, height: usize) -> Image {
        Image::new(
            width,
            height,
            1,
            (0..width * height).map(|i| (i % 251) as u8).collect(),
        )
    }

    fn stream() -> Stream {
        Stream::new(0, Purpose::Augment, 0, 0)
    }

    #[test]
    fn large_sizes_are_warped() {
        let image = ramp(40, 20);
        let out = Transform::eval([384, 400]).apply(&image, &mut stream());
        assert_eq!(out, resize_bicubic(&image, image.bounds(), 400, 384));
    }

    #[test]
    fn no_margin_means_no_crop_along_the_tight_axis() {
        let image = ramp(64, 64);
        let transform = Transform::Eval {
            size: [32, 16],
            crop_pct: 1.0,
        };
        let out = transform.apply(&image, &mut stream());
        let resized = resize_bicubic(&image, image.bounds(), 32, 32);
        assert_eq!(
            out,
            resized.crop(Rect {
                left: 8,
                top: 0,
                width: 16,
                height: 32
            })
        );
    }

    #[test]
    fn thin_images_take_no_more_memory_than_their_pixels() {
        // Scaled as a whole, one side would have 512 million pixels.
        for thin in [ramp(1, 2_000_000), ramp(2_000_000, 1)] {
            let out = Transform::eval([224, 224]).apply(&thin, &mut stream());
            assert_eq!((out.width(), out.height()), (224, 224));
        }
    }

    #[test]
    fn normalised_numbers_are_planar() {
        let image = Image::new(2, 1, 3, vec![0, 51, 102, 153, 204, 255]);
        let mut out = [0.0; 6];
        Normalize::new(&[0.0, 0.2, 0.4], &[1.0, 1.0, 0.5]).write(&image, &mut out);
        let expected = [0.0, 0.6, 0.0, 0.6, 0.0, 1.2];
        for (got, want) in out.iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{out:?}");
        }
    }

    proptest! {
        #[test]
        fn results_have_the_size_asked_for(
            w in 1usize..80, h in 1usize..80, out_w in 1usize..50, out_h in 1usize..50, pct in 0.3f64..=1.0,
        ) {
            let image = ramp(w, h);
            let eval = Transform::Eval { size: [out_h, out_w], crop_pct: pct };
            let train = Transform::train(&AugmentConfig::default(), [out_h, out_w]);
            for transform in [eval, train] {
                let out = transform.apply(&image, &mut stream());
                prop_assert_eq!((out.width(), out.height()), (out_w, out_h));
            }
        }
    }
}
