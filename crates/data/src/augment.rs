//! The `[augment]` section: how a training image is cropped and mirrored at random.

use fcmae_random::Stream;
use serde::{Deserialize, Serialize};

use crate::config::ensure;
use crate::error::DataError;
use crate::image::{Image, Rect};

/// Random crop and mirroring while training (`[augment]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentConfig {
    /// Range of the crop's share of the image's area, in `(0, 1]`. Pre-training: `[0.2, 1]`.
    pub scale: [f64; 2],
    /// Range of the crop's width / height; drawn uniformly in the logarithm. `[3/4, 4/3]`.
    pub ratio: [f64; 2],
    /// Probability of mirroring left and right. The reference: 0.5.
    pub hflip: f64,
    /// Probability of mirroring top and bottom. The reference: never.
    pub vflip: f64,
}

impl Default for AugmentConfig {
    fn default() -> AugmentConfig {
        AugmentConfig {
            scale: [0.2, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            hflip: 0.5,
            vflip: 0.0,
        }
    }
}

impl AugmentConfig {
    /// Checks ranges; the error names the key.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`].
    pub fn validate(&self) -> Result<(), DataError> {
        let [low, high] = self.scale;
        ensure(
            0.0 < low && low <= high && high <= 1.0,
            "augment.scale",
            format!("{:?}", self.scale),
            || "must be [low, high] with 0 < low <= high <= 1".to_owned(),
        )?;
        let [low, high] = self.ratio;
        let ratio_fits = 0.0 < low && low <= high && high.is_finite();
        ensure(ratio_fits, "augment.ratio", format!("{:?}", self.ratio), || {
            "must be [low, high] with 0 < low <= high".to_owned()
        })?;
        for (key, p) in [("augment.hflip", self.hflip), ("augment.vflip", self.vflip)] {
            ensure((0.0..=1.0).contains(&p), key, p.to_string(), || {
                "must be a probability from 0 to 1".to_owned()
            })?;
        }
        Ok(())
    }

    /// Draws a crop of an image of `width` × `height`, as torchvision's `RandomResizedCrop.get_params`: up
    /// to ten tries of area and aspect, then the largest central crop whose aspect is in range.
    #[must_use]
    pub fn draw_crop(&self, width: usize, height: usize, stream: &mut Stream) -> Rect {
        let area = (width * height) as f64;
        for _ in 0..10 {
            let target = area * stream.uniform_in(self.scale[0], self.scale[1]);
            let aspect = stream.uniform_in(self.ratio[0].ln(), self.ratio[1].ln()).exp();
            let w = (target * aspect).sqrt().round_ties_even() as usize;
            let h = (target / aspect).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let top = stream.below((height - h + 1) as u32) as usize;
                let left = stream.below((width - w + 1) as u32) as usize;
                return Rect {
                    left,
                    top,
                    width: w,
                    height: h,
                };
            }
        }
        self.central_crop(width, height)
    }

    /// The largest central crop whose aspect is in `ratio`.
    fn central_crop(&self, width: usize, height: usize) -> Rect {
        let aspect = width as f64 / height as f64;
        let (w, h) = if aspect < self.ratio[0] {
            (width, (width as f64 / self.ratio[0]).round_ties_even() as usize)
        } else if aspect > self.ratio[1] {
            ((height as f64 * self.ratio[1]).round_ties_even() as usize, height)
        } else {
            (width, height)
        };
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Rect {
            left: (width - w) / 2,
            top: (height - h) / 2,
            width: w,
            height: h,
        }
    }

    /// Mirrors `image` with the probabilities `hflip` and `vflip`; both are always drawn.
    pub(crate) fn mirror(&self, image: &mut Image, stream: &mut Stream) {
        let (horizontal, vertical) = (stream.bernoulli(self.hflip), stream.bernoulli(self.vflip));
        if horizontal {
            image.flip_horizontal();
        }
        if vertical {
            image.flip_vertical();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;
    use proptest::prelude::*;

    fn stream(sample: u64) -> Stream {
        Stream::new(1, Purpose::Augment, 0, sample)
    }

    #[test]
    fn bad_values_are_named() {
        let cases = [
            ("scale = [0.0, 1.0]", "augment.scale"),
            ("scale = [0.5, 0.2]", "augment.scale"),
            ("scale = [0.5, 1.5]", "augment.scale"),
            ("ratio = [-1.0, 1.0]", "augment.ratio"),
            ("ratio = [1.0, inf]", "augment.ratio"),
            ("hflip = 1.5", "augment.hflip"),
            ("vflip = nan", "augment.vflip"),
        ];
        for (text, key) in cases {
            let config: AugmentConfig = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        }
        AugmentConfig::default().validate().unwrap();
    }

    #[test]
    fn area_and_aspect_have_the_right_distribution() {
        let config = AugmentConfig::default();
        let n = 4000;
        let (mut area, mut log_aspect, mut left, mut slack) = (0.0, 0.0, 0.0, 0.0);
        for sample in 0..n {
            // So large that no try fails and rounding does not matter.
            let crop = config.draw_crop(4000, 4000, &mut stream(sample));
            area += (crop.width * crop.height) as f64 / 16e6;
            log_aspect += (crop.width as f64 / crop.height as f64).ln();
            left += crop.left as f64;
            slack += (4000 - crop.width) as f64;
        }
        let n = n as f64;
        // Tries with a side above 1 are refused, which leaves a mean area a little under 0.6 (0.538 by
        // Monte Carlo with 2e6 draws); five standard errors of 0.21/sqrt(n), 0.165/sqrt(n), and as much again.
        assert!((area / n - 0.538).abs() < 0.018, "{}", area / n);
        assert!((log_aspect / n).abs() < 0.013, "{}", log_aspect / n);
        assert!((left / slack - 0.5).abs() < 0.03, "{}", left / slack);
    }

    #[test]
    fn draws_are_pinned() {
        // An old run can be repeated only while these stay.
        let config = AugmentConfig::default();
        let crops: Vec<Rect> = (0..3)
            .map(|sample| config.draw_crop(300, 200, &mut stream(sample)))
            .collect();
        let rect = |left, top, width, height| Rect {
            left,
            top,
            width,
            height,
        };
        assert_eq!(
            crops,
            [
                rect(35, 15, 132, 110),
                rect(92, 40, 119, 109),
                rect(16, 30, 216, 165)
            ]
        );
    }

    #[test]
    fn mirroring_follows_its_probabilities() {
        let count = |hflip: f64, vflip: f64| {
            let config = AugmentConfig {
                hflip,
                vflip,
                ..AugmentConfig::default()
            };
            (0..1000)
                .filter(|&sample| {
                    let mut image = Image::new(2, 2, 1, vec![0, 1, 2, 3]);
                    config.mirror(&mut image, &mut stream(sample));
                    image.pixels() != [0, 1, 2, 3]
                })
                .count()
        };
        assert_eq!(count(0.0, 0.0), 0);
        assert_eq!(count(1.0, 0.0), 1000);
        // Five standard deviations of a binomial with n = 1000, p = 1/2: 79.
        assert!((421..=579).contains(&count(0.5, 0.0)));
        assert!((421..=579).contains(&count(0.0, 0.5)));
    }

    proptest! {
        #[test]
        fn every_crop_is_inside(
            w in 1usize..200, h in 1usize..200, low in 0.01f64..1.0, lo_ratio in 0.1f64..4.0,
            wider in 1.0f64..5.0, sample in any::<u64>(),
        ) {
            let config = AugmentConfig { scale: [low, 1.0], ratio: [lo_ratio, lo_ratio * wider], ..Default::default() };
            let crop = config.draw_crop(w, h, &mut stream(sample));
            prop_assert!(crop.width >= 1 && crop.height >= 1);
            prop_assert!(crop.left + crop.width <= w && crop.top + crop.height <= h);
        }
    }
}
