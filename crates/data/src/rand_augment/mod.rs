//! RandAugment (Cubuk et al. 2020) as timm 0.3.2 has it (fact sheet §3.8).

mod levels;
mod parse;

use fcmae_random::Stream;

use crate::image::Image;

pub use levels::Kind;

/// A few operations out of fifteen, drawn with replacement, each applied with a probability and at a drawn
/// magnitude.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandAugment {
    /// Mean magnitude, from 0 to 10.
    pub magnitude: f64,
    /// Standard deviation of the magnitude; what is drawn is cut to 0..10.
    pub std: f64,
    /// Whether every operation changes the more, the larger the magnitude is.
    pub increasing: bool,
    /// Operations per image.
    pub layers: u32,
    /// Probability that a drawn operation is applied.
    pub prob: f64,
}

impl RandAugment {
    /// Draws and applies operations; what comes from outside the picture is `fill`.
    #[must_use]
    pub fn apply(&self, mut image: Image, fill: &[u8], stream: &mut Stream) -> Image {
        for _ in 0..self.layers {
            let kind = Kind::ALL[stream.below(Kind::ALL.len() as u32) as usize];
            // All four are drawn, applied or not: operations do not shift each other's draws.
            let (applied, normal, negative) = (
                stream.bernoulli(self.prob),
                stream.normal(),
                stream.bernoulli(0.5),
            );
            if applied {
                let magnitude = (self.magnitude + self.std * normal).clamp(0.0, 10.0);
                image = kind.op(magnitude, negative, self.increasing).apply(image, fill);
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;

    #[test]
    fn half_of_the_operations_are_applied() {
        let augment = RandAugment {
            layers: 1,
            ..RandAugment::parse("rand-m9-mstd0.5-inc1").unwrap()
        };
        let image = Image::new(16, 16, 3, (0..768).map(|i| (i * 7 % 251) as u8).collect());
        let changed = (0..1000).filter(|&sample| {
            let mut stream = Stream::new(1, Purpose::Augment, 0, sample);
            augment.apply(image.clone(), &[124, 116, 104], &mut stream) != image
        });
        // Each operation at magnitude 9 changes this picture but AutoContrast (it has all values) and, with
        // 256 pixels a channel, perhaps Equalize: 13/30 to 14/30, and five standard deviations of 0.016.
        let share = changed.count() as f64 / 1000.0;
        assert!((0.35..0.55).contains(&share), "{share}");
    }
}
