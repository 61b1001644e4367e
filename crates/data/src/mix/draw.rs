//! What is drawn: for each image of a batch how it is mixed with its partner.

use fcmae_random::Stream;

use super::{CutmixBox, MixConfig, MixMode};
use crate::image::Rect;

/// How one image is mixed with its partner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mixed {
    /// Not at all.
    Not,
    /// `λ x + (1 − λ) partner`.
    Up {
        /// λ: the share of the image itself.
        lambda: f64,
    },
    /// The partner's pixels inside a box, which may be empty.
    Cut {
        /// The box, inside the image.
        cut: Rect,
        /// Share of the image's area outside the box.
        lambda: f64,
    },
}

impl Mixed {
    /// The share of the image's own target.
    #[must_use]
    pub fn lambda(&self) -> f64 {
        match *self {
            Mixed::Not => 1.0,
            Mixed::Up { lambda } | Mixed::Cut { lambda, .. } => lambda,
        }
    }
}

impl MixConfig {
    /// Draws how each of `count` images of `[height, width]` pixels is mixed with image
    /// `count − 1 − i`; the middle one of an odd number is its own partner.
    #[must_use]
    pub fn draw(&self, count: usize, [height, width]: [usize; 2], stream: &mut Stream) -> Vec<Mixed> {
        let mut one = || self.draw_one(height, width, stream);
        match self.mode {
            MixMode::Batch => vec![one(); count],
            MixMode::Elem => (0..count).map(|_| one()).collect(),
            MixMode::Pair => {
                let mut mixed: Vec<Mixed> = (0..count.div_ceil(2)).map(|_| one()).collect();
                mixed.extend_from_within(..count / 2);
                mixed[count.div_ceil(2)..].reverse();
                mixed
            }
        }
    }

    fn draw_one(&self, height: usize, width: usize, stream: &mut Stream) -> Mixed {
        let cutmix = self.cutmix_alpha();
        if !self.mixes() || !stream.bernoulli(self.prob) {
            return Mixed::Not;
        }
        let cuts = match (self.mixup > 0.0, cutmix > 0.0) {
            (true, true) => stream.bernoulli(self.switch_prob),
            (_, cuts) => cuts,
        };
        let alpha = if cuts { cutmix } else { self.mixup };
        let lambda = stream.beta(alpha, alpha);
        if !cuts {
            return Mixed::Up { lambda };
        }
        let cut = match self.cutmix_minmax {
            None => {
                let centre = [stream.below(height as u32), stream.below(width as u32)];
                self.cutmix_box
                    .cut(lambda, [height, width], centre.map(|x| x as usize))
            }
            Some(range) => {
                let [(top, height), (left, width)] = [height, width].map(|side| place(side, range, stream));
                Rect {
                    left,
                    top,
                    width,
                    height,
                }
            }
        };
        let share = (cut.height * cut.width) as f64 / (height * width) as f64;
        Mixed::Cut {
            cut,
            lambda: 1.0 - share,
        }
    }
}

/// Where a box lies along an axis of length `side`, and its length, drawn from `range`, shares of `side`.
fn place(side: usize, range: [f64; 2], stream: &mut Stream) -> (usize, usize) {
    let [low, high] = range.map(|share| (side as f64 * share) as u32);
    let length = low + stream.below((high - low).max(1)); // the upper end is left out, as numpy's randint does
    let start = stream.below((side as u32 - length).max(1));
    (start as usize, length as usize)
}

impl CutmixBox {
    /// The box of `1 − lambda` of the area of an image of `[height, width]` about `[y, x]`, clipped to the
    /// image: its side is that share's root of the image's.
    #[must_use]
    pub fn cut(self, lambda: f64, [height, width]: [usize; 2], [y, x]: [usize; 2]) -> Rect {
        let ratio = (1.0 - lambda).sqrt();
        let along = |side: usize, centre: usize| {
            let length = (side as f64 * ratio) as usize;
            let after = match self {
                CutmixBox::Reference => length / 2,
                CutmixBox::Exact => length.div_ceil(2),
            };
            let start = centre.saturating_sub(length / 2);
            (start, (centre + after).min(side) - start)
        };
        let ((top, height), (left, width)) = (along(height, y), along(width, x));
        Rect {
            left,
            top,
            width,
            height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;
    use proptest::prelude::*;

    fn stream(batch: u64) -> Stream {
        Stream::new(5, Purpose::Mixup, 0, batch)
    }

    fn config(text: &str) -> MixConfig {
        toml::from_str(text).unwrap()
    }

    fn is_cut(mixed: &Mixed) -> bool {
        matches!(mixed, Mixed::Cut { .. })
    }

    #[test]
    fn modes_share_what_they_say() {
        let both = "mixup = 0.8\ncutmix = 1.0\n";
        let batch = config(&format!("{both}mode = 'batch'")).draw(5, [8, 9], &mut stream(0));
        assert!(batch.len() == 5 && batch.iter().all(|m| *m == batch[0]));
        let pair = config(&format!("{both}mode = 'pair'")).draw(5, [8, 9], &mut stream(0));
        assert_eq!((pair.len(), pair[0], pair[1]), (5, pair[4], pair[3]));
        assert!(pair[0] != pair[1] && pair[1] != pair[2]);
        let elem = config(&format!("{both}mode = 'elem'")).draw(4, [8, 9], &mut stream(0));
        assert!(elem.len() == 4 && elem[0] != elem[3] && elem[1] != elem[2]);
        assert!(config(both).draw(0, [8, 9], &mut stream(0)).is_empty());
    }

    #[test]
    fn probabilities_are_kept() {
        let count = |text: &str, keep: &dyn Fn(&Mixed) -> bool| {
            let config = config(&format!("mode = 'elem'\n{text}"));
            config
                .draw(1000, [16, 16], &mut stream(1))
                .iter()
                .filter(|m| keep(m))
                .count()
        };
        let mixed = |m: &Mixed| *m != Mixed::Not;
        assert_eq!(count("mixup = 1.0", &is_cut), 0);
        assert_eq!(count("cutmix = 1.0", &is_cut), 1000);
        assert_eq!(count("cutmix_minmax = [0.2, 0.6]", &is_cut), 1000);
        assert_eq!(count("", &mixed), 0);
        // Five standard deviations of a binomial with n = 1000, p = 1/2: 79; p = 0.2: 63.
        assert!((421..=579).contains(&count("mixup = 1.0\ncutmix = 1.0", &is_cut)));
        assert!((137..=263).contains(&count("mixup = 1.0\nprob = 0.2", &mixed)));
    }

    #[test]
    fn sides_stay_in_their_range() {
        let config = config("mode = 'elem'\ncutmix_minmax = [0.25, 0.5]");
        for mixed in config.draw(500, [32, 64], &mut stream(2)) {
            let Mixed::Cut { cut, .. } = mixed else {
                panic!("{mixed:?}")
            };
            assert!(
                (8..16).contains(&cut.height) && (16..32).contains(&cut.width),
                "{cut:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn boxes_are_inside_and_lambda_is_their_area(
            h in 1usize..40, w in 1usize..40, alpha in 0.05f64..4.0, exact in any::<bool>(),
            minmax in proptest::option::of((0.0f64..0.9, 0.05f64..0.1)), batch in any::<u64>(),
        ) {
            let config = MixConfig {
                cutmix: alpha,
                cutmix_minmax: minmax.map(|(low, more)| [low, low + more]),
                cutmix_box: if exact { CutmixBox::Exact } else { CutmixBox::Reference },
                mode: MixMode::Elem,
                ..MixConfig::default()
            };
            config.validate().unwrap();
            for mixed in config.draw(20, [h, w], &mut stream(batch)) {
                let Mixed::Cut { cut, lambda } = mixed else { panic!("{mixed:?}") };
                prop_assert!(cut.left + cut.width <= w && cut.top + cut.height <= h);
                let outside = 1.0 - (cut.width * cut.height) as f64 / (w * h) as f64;
                prop_assert!((lambda - outside).abs() < 1e-12);
            }
        }
    }
}
