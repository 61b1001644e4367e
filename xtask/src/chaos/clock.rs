//! Moments that a seed decides.

use std::time::Duration;

/// SplitMix64: equally likely moments, the same for the same seed.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A moment before `end`.
    pub(super) fn before(&mut self, end: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        end.mul_f64((z >> 11) as f64 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_lie_before_the_end_and_repeat() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..50)
                .map(|_| random.before(Duration::from_secs(1)))
                .collect::<Vec<_>>()
        };
        let moments = draw(7);
        assert!(moments.iter().all(|moment| *moment < Duration::from_secs(1)));
        assert!(moments.iter().any(|moment| *moment < Duration::from_millis(200)));
        assert!(moments.iter().any(|moment| *moment > Duration::from_millis(800)));
        assert_eq!(moments, draw(7));
        assert_ne!(moments, draw(8));
    }
}
