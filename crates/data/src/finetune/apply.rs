//! What the `[augment]` section of fine-tuning does to one image.

use fcmae_random::Stream;

use super::config::{CropMode, FinetuneAugmentConfig};
use super::crop::padded_crop;
use crate::augment::AugmentConfig;
use crate::error::DataError;
use crate::image::Image;
use crate::ops::ImageOp;
use crate::rand_augment::RandAugment;
use crate::resize::resize_bicubic;

/// A [`FinetuneAugmentConfig`] made ready: checked, its policy read.
#[derive(Debug, Clone, PartialEq)]
pub struct FinetuneAugment {
    geometry: AugmentConfig,
    crop: CropMode,
    rotate90: bool,
    policy: Option<RandAugment>,
    color_jitter: f64,
    /// What lies outside a turned or moved picture.
    fill: Vec<u8>,
}

impl FinetuneAugment {
    /// Up to this side (the longer one) `crop = "auto"` pads and does not resize.
    pub const PADDED_UP_TO: usize = 32;

    /// `mean`: that of each channel, with pixels in `[0, 1]`; it is the colour of what lies outside a picture.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] for a value out of range.
    pub fn new(config: &FinetuneAugmentConfig, mean: &[f64]) -> Result<FinetuneAugment, DataError> {
        config.validate()?;
        Ok(FinetuneAugment {
            geometry: config.geometry(),
            crop: config.crop,
            rotate90: config.rotate90,
            policy: config.policy()?,
            color_jitter: config.color_jitter,
            fill: mean.iter().map(|m| (m * 255.0).round_ties_even() as u8).collect(),
        })
    }

    /// Brings `image` to `[height, width]`.
    pub(crate) fn apply(&self, image: &Image, [height, width]: [usize; 2], stream: &mut Stream) -> Image {
        let turns = if self.rotate90 { stream.below(4) } else { 0 };
        // The crop is made so that it has the wanted size once it is turned.
        let (w, h) = if turns % 2 == 0 {
            (width, height)
        } else {
            (height, width)
        };
        let padded = match self.crop {
            CropMode::Auto => width.max(height) <= FinetuneAugment::PADDED_UP_TO,
            CropMode::Padded => true,
            CropMode::Resized => false,
        };
        let mut out = if padded {
            padded_crop(image, w, h, stream)
        } else {
            let crop = self.geometry.draw_crop(image.width(), image.height(), stream);
            resize_bicubic(image, crop, w, h)
        };
        out = turn(out, turns);
        self.geometry.mirror(&mut out, stream);
        if let Some(policy) = &self.policy {
            out = policy.apply(out, &self.fill, stream);
        }
        self.jitter(out, stream)
    }

    /// Brightness, contrast and saturation in random order, as torchvision's `ColorJitter`.
    fn jitter(&self, mut image: Image, stream: &mut Stream) -> Image {
        if self.color_jitter == 0.0 {
            return image;
        }
        for what in stream.permutation(3) {
            let factor = stream.uniform_in((1.0 - self.color_jitter).max(0.0), 1.0 + self.color_jitter);
            let op = match what {
                0 => ImageOp::Brightness { factor },
                1 => ImageOp::Contrast { factor },
                _ => ImageOp::Color { factor },
            };
            image = op.apply(image, &self.fill);
        }
        image
    }
}

/// Turns counter-clockwise by quarter turns.
fn turn(mut image: Image, quarters: u32) -> Image {
    if quarters % 2 == 1 {
        image = image.transpose();
        image.flip_vertical();
    }
    if quarters >= 2 {
        image.flip_horizontal();
        image.flip_vertical();
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;

    fn stream(sample: u64) -> Stream {
        Stream::new(2, Purpose::Augment, 0, sample)
    }

    fn augment(text: &str) -> FinetuneAugment {
        FinetuneAugment::new(&toml::from_str(text).unwrap(), &[0.485, 0.456, 0.406]).unwrap()
    }

    fn picture(width: usize, height: usize) -> Image {
        let pixels = (0..width * height * 3).map(|i| (i * 31 % 253) as u8).collect();
        Image::new(width, height, 3, pixels)
    }

    const BARE: &str = "hflip = 0.0\nrand_augment = ''\n";

    #[test]
    fn the_fill_is_the_references() {
        assert_eq!(augment("").fill, [124, 116, 104]);
    }

    #[test]
    fn quarter_turns() {
        let image = Image::new(3, 2, 1, vec![1, 2, 3, 4, 5, 6]);
        assert_eq!(turn(image.clone(), 0), image);
        assert_eq!(
            turn(image.clone(), 1),
            Image::new(2, 3, 1, vec![3, 6, 2, 5, 1, 4])
        );
        assert_eq!(turn(image.clone(), 2).pixels(), [6, 5, 4, 3, 2, 1]);
        assert_eq!(turn(image, 3), Image::new(2, 3, 1, vec![4, 1, 5, 2, 6, 3]));
    }

    #[test]
    fn the_whole_image_in_four_positions() {
        let whole =
            format!("{BARE}crop = 'resized'\nscale = [1.0, 1.0]\nratio = [1.0, 1.0]\nrotate90 = true");
        let (augment, image) = (augment(&whole), picture(40, 40));
        let mut counts = [0; 4];
        for sample in 0..400 {
            let out = augment.apply(&image, [40, 40], &mut stream(sample));
            let position = (0..4).position(|k| out == turn(image.clone(), k as u32)).unwrap();
            counts[position] += 1;
        }
        // Mean 100, deviation 8.7; five of them.
        assert!(counts.iter().all(|n| (57..=143).contains(n)), "{counts:?}");
    }

    #[test]
    fn small_inputs_are_not_resized() {
        let image = picture(32, 32);
        let out = augment(BARE).apply(&image, [32, 32], &mut stream(0));
        let shown = out
            .pixels()
            .chunks(3)
            .filter(|p| p.iter().any(|&x| x != 0))
            .count();
        assert!((28 * 28 - 20..=1024).contains(&shown), "{shown}");
        let resized = augment(&format!("{BARE}crop = 'resized'"));
        assert_ne!(resized.apply(&image, [32, 32], &mut stream(0)), out);
    }

    #[test]
    fn jitter_stays_in_its_range() {
        let image = Image::new(8, 8, 3, vec![100; 192]);
        let augment = augment(&format!("{BARE}color_jitter = 0.4"));
        let mut seen = Vec::new();
        for sample in 0..200 {
            seen.push(augment.jitter(image.clone(), &mut stream(sample)).pixels()[0]);
        }
        // A flat grey picture changes in brightness alone, up to rounding of its mean.
        assert!(seen.iter().all(|x| (59..=140).contains(x)), "{seen:?}");
        assert!(seen.iter().any(|&x| x < 70) && seen.iter().any(|&x| x > 130));
    }

    #[test]
    fn any_shape_comes_out_at_the_wanted_size() {
        let augment = augment("rotate90 = true\nvflip = 0.5\ncolor_jitter = 0.4");
        for sample in 0..50 {
            let image = picture(20 + sample % 7 * 9, 33);
            let out = augment.apply(&image, [36, 52], &mut stream(sample as u64));
            assert_eq!((out.height(), out.width()), (36, 52));
        }
    }
}
