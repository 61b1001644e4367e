//! Random erasing on normalised numbers (Zhong et al. 2020; timm 0.3.2, fact sheet §3.8).

use fcmae_random::Stream;
use serde::{Deserialize, Serialize};

use crate::image::Rect;

/// Puts noise or zeros into boxes of a normalised image.
#[derive(Debug, Clone, PartialEq)]
pub struct RandomErasing {
    /// Probability that an image is touched.
    pub prob: f64,
    /// What the boxes are filled with.
    pub mode: EraseMode,
    /// Most boxes of an image; their number is uniform from 1 on, and they share the area.
    pub count: u32,
    /// Range of the area of all boxes, as a share of the image's.
    pub area: [f64; 2],
    /// Range of a box's height / width; drawn uniformly in the logarithm.
    pub aspect: [f64; 2],
}

/// What erased boxes are filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraseMode {
    /// A standard normal number for each number.
    #[default]
    Pixel,
    /// A standard normal number for each channel of a box.
    Rand,
    /// 0: the mean colour.
    Const,
}

impl RandomErasing {
    /// The reference's areas and aspects.
    #[must_use]
    pub fn new(prob: f64, mode: EraseMode, count: u32) -> RandomErasing {
        RandomErasing {
            prob,
            mode,
            count,
            area: [0.02, 1.0 / 3.0],
            aspect: [0.3, 1.0 / 0.3],
        }
    }

    /// Erases boxes of `image`, `[C, H, W]` normalised numbers, in place.
    ///
    /// # Panics
    /// When the buffer does not consist of planes of `[height, width]`.
    pub fn apply(&self, image: &mut [f32], [height, width]: [usize; 2], stream: &mut Stream) {
        assert!(image.len().is_multiple_of(height * width), "planes of an image");
        if !stream.bernoulli(self.prob) {
            return;
        }
        let count = 1 + stream.below(self.count.max(1));
        for _ in 0..count {
            if let Some(hole) = self.draw_box(height, width, count, stream) {
                self.fill(image, height, width, hole, stream);
            }
        }
    }

    /// A box that fits, if ten tries find one.
    fn draw_box(&self, height: usize, width: usize, count: u32, stream: &mut Stream) -> Option<Rect> {
        for _ in 0..10 {
            let area = stream.uniform_in(self.area[0], self.area[1]) / f64::from(count);
            let aspect = stream.uniform_in(self.aspect[0].ln(), self.aspect[1].ln()).exp();
            if let Some([h, w]) = RandomErasing::sides(height, width, area, aspect) {
                let top = stream.below((height - h + 1) as u32) as usize;
                let left = stream.below((width - w + 1) as u32) as usize;
                return Some(Rect {
                    left,
                    top,
                    width: w,
                    height: h,
                });
            }
        }
        None
    }

    /// Height and width of a box with this share of the area and this height / width, if both are below the
    /// image's.
    #[must_use]
    pub fn sides(height: usize, width: usize, area: f64, aspect: f64) -> Option<[usize; 2]> {
        let target = area * (height * width) as f64;
        let h = (target * aspect).sqrt().round_ties_even() as usize;
        let w = (target / aspect).sqrt().round_ties_even() as usize;
        (h < height && w < width).then_some([h, w])
    }

    /// Fills `hole` in every plane of `[height, width]`.
    pub fn fill(&self, image: &mut [f32], height: usize, width: usize, hole: Rect, stream: &mut Stream) {
        for plane in image.chunks_exact_mut(height * width) {
            let color = match self.mode {
                EraseMode::Rand => stream.normal() as f32,
                EraseMode::Pixel | EraseMode::Const => 0.0,
            };
            for y in hole.top..hole.top + hole.height {
                let row = &mut plane[y * width + hole.left..][..hole.width];
                match self.mode {
                    EraseMode::Pixel => row.fill_with(|| stream.normal() as f32),
                    EraseMode::Rand | EraseMode::Const => row.fill(color),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;
    use proptest::prelude::*;

    fn stream(sample: u64) -> Stream {
        Stream::new(3, Purpose::Erase, 0, sample)
    }

    /// Which numbers of an image of sevens are no longer seven.
    fn erased(erasing: &RandomErasing, size: [usize; 2], sample: u64) -> Vec<(usize, f32)> {
        let mut image = vec![7.0; 2 * size[0] * size[1]];
        erasing.apply(&mut image, size, &mut stream(sample));
        image.into_iter().enumerate().filter(|&(_, x)| x != 7.0).collect()
    }

    #[test]
    fn an_image_is_touched_with_its_probability() {
        let count = |prob| {
            let erasing = RandomErasing::new(prob, EraseMode::Const, 1);
            (0..1000)
                .filter(|&i| !erased(&erasing, [16, 16], i).is_empty())
                .count()
        };
        assert_eq!((count(0.0), count(1.0)), (0, 1000));
        // Five standard deviations of a binomial with n = 1000, p = 1/4: 68.
        assert!((182..=318).contains(&count(0.25)));
    }

    #[test]
    fn modes_fill_as_they_say() {
        let fill = |mode| erased(&RandomErasing::new(1.0, mode, 1), [40, 40], 1);
        assert!(fill(EraseMode::Const).iter().all(|&(_, x)| x == 0.0));
        let rand = fill(EraseMode::Rand);
        let plane = |channel: usize| rand.iter().filter(move |(at, _)| at / 1600 == channel);
        let color = |channel| plane(channel).next().unwrap().1;
        assert!((0..2).all(|c| plane(c).all(|&(_, x)| x == color(c))) && color(0) != color(1));
        let pixel = fill(EraseMode::Pixel);
        let n = pixel.len() as f32;
        let mean = pixel.iter().map(|(_, x)| x).sum::<f32>() / n;
        let variance = pixel.iter().map(|(_, x)| (x - mean).powi(2)).sum::<f32>() / n;
        assert!(
            mean.abs() < 5.0 / n.sqrt() && (variance - 1.0).abs() < 8.0 / n.sqrt(),
            "{mean} {variance}"
        );
    }

    #[test]
    fn several_boxes_share_the_area() {
        let mean = |count| {
            let erasing = RandomErasing::new(1.0, EraseMode::Const, count);
            let total: usize = (0..400).map(|i| erased(&erasing, [64, 64], i).len()).sum();
            total as f64 / (400.0 * 8192.0)
        };
        // Uniform in [0.02, 1/3] has mean 0.177 and deviation 0.09; large flat boxes are refused, overlaps
        // count once.
        assert!((mean(1) - 0.172).abs() < 0.02, "{}", mean(1));
        assert!((0.13..0.18).contains(&mean(4)), "{}", mean(4));
    }

    proptest! {
        #[test]
        fn any_size_is_fine(h in 1usize..40, w in 1usize..40, count in 1u32..5, sample in any::<u64>()) {
            let erasing = RandomErasing::new(1.0, EraseMode::Pixel, count);
            let share = erased(&erasing, [h, w], sample).len() as f64 / (2 * h * w) as f64;
            prop_assert!(share < 0.75, "{share}"); // a third, and what rounding adds where images are tiny
        }
    }
}
