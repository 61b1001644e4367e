//! Stochastic depth per image, from keyed draws: the same step always drops the same branches.

use fcmae_random::{Purpose, Stream};

/// One uniform number per image and block, keyed by (seed, epoch, sample).
#[derive(Debug, Clone)]
pub struct DropPathDraws {
    images: usize,
    uniforms: Vec<f32>, // [N, blocks]
    blocks: usize,
}

impl DropPathDraws {
    /// Draws for the images of a batch, named by their sample ids, and `blocks` blocks.
    #[must_use]
    pub fn new(seed: u64, epoch: u64, samples: &[u64], blocks: usize) -> DropPathDraws {
        let draw = |&sample| {
            let mut stream = Stream::new(seed, Purpose::DropPath, epoch, sample);
            (0..blocks).map(move |_| stream.uniform() as f32)
        };
        DropPathDraws {
            images: samples.len(),
            uniforms: samples.iter().flat_map(draw).collect(),
            blocks,
        }
    }
}

/// DropPath of one block: its rate, and which column of the draws is its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropPath {
    /// Probability that an image skips the block, in `[0, 1)`.
    pub rate: f64,
    /// Number of the block in network order.
    pub index: usize,
}

impl DropPath {
    /// Factors per image, 0 or `1 / (1 − rate)`; `None` where nothing is dropped (rate 0, or no draws: evaluation).
    ///
    /// # Panics
    /// When the draws are for fewer blocks than this one's index.
    #[must_use]
    pub fn factors(&self, draws: Option<&DropPathDraws>) -> Option<Vec<f32>> {
        let draws = draws.filter(|_| self.rate > 0.0)?;
        assert!(
            self.index < draws.blocks,
            "draws for {} blocks, this is number {}",
            draws.blocks,
            self.index
        );
        let keep = 1.0 - self.rate;
        let factor = |image: usize| {
            let u = f64::from(draws.uniforms[image * draws.blocks + self.index]);
            if u >= self.rate { (1.0 / keep) as f32 } else { 0.0 }
        };
        Some((0..draws.images).map(factor).collect())
    }

    /// Rates over all blocks in network order: `linspace(0, drop_path, blocks)` (fact sheet §1.3).
    #[must_use]
    pub fn schedule(drop_path: f64, blocks: usize) -> Vec<f64> {
        let last = blocks.saturating_sub(1).max(1) as f64;
        (0..blocks).map(|block| drop_path * block as f64 / last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_belong_to_samples_not_to_places_in_the_batch() {
        let path = DropPath { rate: 0.5, index: 2 };
        let factors = |ids: &[u64]| path.factors(Some(&DropPathDraws::new(7, 3, ids, 4))).unwrap();
        let (forward, backward) = (factors(&[1, 2, 3, 4]), factors(&[4, 3, 2, 1]));
        assert_eq!(forward, backward.into_iter().rev().collect::<Vec<_>>());
    }

    #[test]
    fn the_share_kept_and_the_mean_are_right() {
        let ids: Vec<u64> = (0..4000).collect();
        let factors = DropPath { rate: 0.25, index: 0 }
            .factors(Some(&DropPathDraws::new(0, 0, &ids, 1)))
            .unwrap();
        let mean = factors.iter().sum::<f32>() / factors.len() as f32;
        assert!((mean - 1.0).abs() < 0.04, "{mean}"); // 4 standard errors: 4·√(1/3)/√4000
        assert!(factors.iter().all(|&f| f == 0.0 || (f - 4.0 / 3.0).abs() < 1e-6));
    }

    #[test]
    fn evaluation_and_rate_zero_drop_nothing() {
        assert_eq!(DropPath { rate: 0.5, index: 0 }.factors(None), None);
        assert_eq!(
            DropPath { rate: 0.0, index: 0 }.factors(Some(&DropPathDraws::new(0, 0, &[1], 1))),
            None
        );
    }

    #[test]
    fn the_schedule_is_linear_from_zero() {
        assert_eq!(DropPath::schedule(0.2, 3), [0.0, 0.1, 0.2]);
        assert_eq!(DropPath::schedule(0.2, 1), [0.0]);
    }
}
