//! Masks drawn from streams that seed, epoch and sample are the key of.

use fcmae_random::{Purpose, Stream};

use crate::config::{MaskConfig, len_keep};
use crate::error::MaskError;
use crate::grid::PatchGrid;
use crate::mask::PatchMask;

/// Draws masks of any [kind](crate::MaskKind) (paper §3; the reference draws normal noise per patch and sorts it).
///
/// The mask of a sample is a function of seed, epoch and the sample's id alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RandomMask {
    config: MaskConfig,
}

impl RandomMask {
    /// A sampler with ratio and kind of `config`; whether a grid can bear that ratio is checked when drawing.
    #[must_use]
    pub fn new(config: MaskConfig) -> RandomMask {
        RandomMask { config }
    }

    /// Masks for training: one per id of `sample_ids`, new in each epoch.
    ///
    /// # Errors
    /// As [`MaskConfig::validate`]: when the ratio hides all or nothing of this grid.
    pub fn sample(
        &self,
        grid: PatchGrid,
        seed: u64,
        epoch: u64,
        sample_ids: &[u64],
    ) -> Result<PatchMask, MaskError> {
        self.draw(grid, seed, Purpose::Mask, epoch, sample_ids)
    }

    /// Fixed masks for validation: the same in every epoch, so that losses can be compared within a run
    /// and, at one `seed`, between runs.
    ///
    /// # Errors
    /// As [`RandomMask::sample`].
    pub fn sample_fixed(
        &self,
        grid: PatchGrid,
        seed: u64,
        sample_ids: &[u64],
    ) -> Result<PatchMask, MaskError> {
        self.draw(grid, seed, Purpose::ValidationMask, 0, sample_ids)
    }

    fn draw(
        &self,
        grid: PatchGrid,
        seed: u64,
        purpose: Purpose,
        epoch: u64,
        sample_ids: &[u64],
    ) -> Result<PatchMask, MaskError> {
        self.config.validate(&grid)?;
        let MaskConfig { mask_ratio, kind } = self.config;
        let hidden = grid.patches() - len_keep(grid.patches(), mask_ratio);
        let scores = |&id: &u64| kind.scores(grid, hidden, &mut Stream::new(seed, purpose, epoch, id));
        let scores: Vec<f64> = sample_ids.iter().flat_map(scores).collect();
        PatchMask::from_noise(grid, &scores, mask_ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRID: PatchGrid = PatchGrid { rows: 7, cols: 7 };

    fn sampler() -> RandomMask {
        RandomMask::new(MaskConfig::default())
    }

    /// Part of the promise that an old run can be repeated: never change it. The picture comes from an
    /// independent implementation of the documented formulas (in Python).
    #[test]
    fn a_mask_is_pinned() {
        let grid = PatchGrid { rows: 3, cols: 4 };
        let mask = sampler().sample(grid, 42, 7, &[123_456_789_012]).unwrap();
        let picture: String = mask
            .as_slice()
            .iter()
            .map(|&h| if h { '#' } else { '.' })
            .collect();
        assert_eq!(picture, "#.#.###.##.#");
    }

    #[test]
    fn epochs_differ_and_validation_does_not() {
        let ids = [1, 2, 3];
        let draw = |epoch| sampler().sample(GRID, 9, epoch, &ids).unwrap();
        assert_ne!(draw(0), draw(1));
        let fixed = sampler().sample_fixed(GRID, 9, &ids).unwrap();
        assert_eq!(fixed, sampler().sample_fixed(GRID, 9, &ids).unwrap());
        assert_ne!(fixed, draw(0));
        assert_ne!(fixed, sampler().sample_fixed(GRID, 10, &ids).unwrap());
    }

    #[test]
    fn every_patch_is_hidden_equally_often() {
        let ids: Vec<u64> = (0..5000).collect();
        let mask = sampler().sample(GRID, 1, 0, &ids).unwrap();
        for patch in 0..49 {
            let hidden = (0..5000).filter(|&n| mask.hidden(n)[patch]).count() as f64;
            // 30/49 of 5000 with a standard deviation of 34; five of them.
            assert!(
                (hidden - 5000.0 * 30.0 / 49.0).abs() < 172.0,
                "patch {patch}: {hidden}"
            );
        }
    }

    #[test]
    fn an_impossible_ratio_is_refused() {
        let all = RandomMask::new(MaskConfig::random(0.99));
        assert!(matches!(
            all.sample(GRID, 0, 0, &[0]),
            Err(MaskError::MaskRatio { .. })
        ));
        assert!(matches!(
            all.sample_fixed(GRID, 0, &[0]),
            Err(MaskError::MaskRatio { .. })
        ));
    }

    proptest! {
        #[test]
        fn masks_belong_to_samples_not_to_batches(
            seed: u64, epoch: u64, ids in prop::collection::vec(any::<u64>(), 1..6),
            rows in 1_usize..8, cols in 2_usize..8, mask_ratio in 0.01_f64..0.5,
        ) {
            let (grid, sampler) = (PatchGrid { rows, cols }, RandomMask::new(MaskConfig::random(mask_ratio)));
            let batch = sampler.sample(grid, seed, epoch, &ids).unwrap();
            prop_assert_eq!(batch.visible_per_image(), len_keep(rows * cols, mask_ratio));
            for (n, &id) in ids.iter().enumerate() {
                let alone = sampler.sample(grid, seed, epoch, &[id]).unwrap();
                prop_assert_eq!(alone.hidden(0), batch.hidden(n));
            }
        }
    }
}
