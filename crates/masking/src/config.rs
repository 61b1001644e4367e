//! How many patches are hidden, and how they lie.

use serde::{Deserialize, Serialize};

use crate::error::MaskError;
use crate::grid::PatchGrid;
use crate::kind::MaskKind;

/// How patches are hidden (ConvNeXt V2 paper, §3).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MaskConfig {
    /// Share of patches hidden, above 0 and below 1. Paper: 0.6. The number of visible patches is
    /// [`len_keep`], so the share really hidden can be a little higher (at `L` = 49: 30/49 = 0.612).
    pub mask_ratio: f64,
    /// How the hidden patches lie: `"random"` (the paper), `"block"` or `"grid"`.
    pub kind: MaskKind,
}

impl Default for MaskConfig {
    fn default() -> Self {
        MaskConfig::random(0.6)
    }
}

impl MaskConfig {
    /// Random masks that hide this share of the patches.
    #[must_use]
    pub fn random(mask_ratio: f64) -> MaskConfig {
        MaskConfig {
            mask_ratio,
            kind: MaskKind::Random,
        }
    }

    /// Checks that at least one patch of `grid` stays visible and at least one is hidden.
    ///
    /// # Errors
    /// [`MaskError::MaskRatio`], which names the permitted range for this grid, or
    /// [`MaskError::GridTooSmall`] when there is none.
    pub fn validate(&self, grid: &PatchGrid) -> Result<(), MaskError> {
        let patches = grid.patches();
        if patches < 2 {
            return Err(MaskError::GridTooSmall { patches });
        }
        let keep = len_keep(patches, self.mask_ratio);
        if (0.0..1.0).contains(&self.mask_ratio) && 0 < keep && keep < patches {
            return Ok(());
        }
        Err(MaskError::MaskRatio {
            got: self.mask_ratio,
            hidden: patches - keep,
            patches,
            rows: grid.rows,
            cols: grid.cols,
            highest: highest_ratio(patches),
        })
    }
}

/// `K = int(L·(1 − mask_ratio))`, truncated, in doubles as the reference computes it: at `L` = 100 and
/// ratio 0.8 that is 19, not 20. Between 0 and `patches` whatever the ratio is.
#[must_use]
pub fn len_keep(patches: usize, mask_ratio: f64) -> usize {
    // A cast from float to integer truncates, and saturates beyond the ends (NaN gives 0).
    ((patches as f64 * (1.0 - mask_ratio)) as usize).min(patches)
}

/// The highest ratio that keeps one of `patches` visible, rounded down to four decimals where such a
/// number exists (grids of more than 10 000 patches need more of them).
fn highest_ratio(patches: usize) -> f64 {
    let mut ratio = 1.0 - 1.0 / patches as f64;
    while len_keep(patches, ratio) == 0 {
        ratio = ratio.next_down();
    }
    let steps = (ratio * 1e4).floor();
    // One step further down where the product above was rounded up: at 400 patches 0.9975 keeps none.
    let rounded = [steps / 1e4, (steps - 1.0) / 1e4];
    rounded
        .into_iter()
        .find(|&r| (1..patches).contains(&len_keep(patches, r)))
        .unwrap_or(ratio)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(rows: usize, cols: usize, mask_ratio: f64) -> Result<(), MaskError> {
        MaskConfig::random(mask_ratio).validate(&PatchGrid { rows, cols })
    }

    #[test]
    fn ordinary_ratios_pass() {
        for ratio in [0.001, 0.5, 0.6, 0.75, 0.9, 0.97] {
            assert_eq!(check(7, 7, ratio), Ok(()), "{ratio}");
        }
        assert_eq!(check(1, 2, 0.5), Ok(()));
    }

    #[test]
    fn refusals_name_key_and_range() {
        assert_eq!(
            check(7, 7, 0.99).unwrap_err().to_string(),
            "`mask.mask_ratio` = 0.99 would hide 49 of the 49 patches (7×7); one patch must be hidden and one \
             visible: use a value above 0 and at most 0.9795"
        );
        assert!(
            check(7, 7, 0.0)
                .unwrap_err()
                .to_string()
                .contains("would hide 0 of the 49")
        );
        assert!(
            check(2, 2, 0.8)
                .unwrap_err()
                .to_string()
                .ends_with("at most 0.75")
        );
        for ratio in [1.0, 1.5, -0.2, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(
                matches!(check(7, 7, ratio), Err(MaskError::MaskRatio { .. })),
                "{ratio}"
            );
        }
    }

    #[test]
    fn a_single_patch_cannot_be_masked() {
        assert!(
            check(1, 1, 0.5)
                .unwrap_err()
                .to_string()
                .contains("larger images or a smaller patch size")
        );
    }

    #[test]
    fn the_highest_ratio_is_permitted_on_every_grid() {
        for patches in 2..20_000 {
            assert_eq!(check(1, patches, highest_ratio(patches)), Ok(()), "{patches}");
        }
    }

    proptest! {
        #[test]
        fn the_named_range_is_true(patches in 2_usize..20_000, share in 0.0_f64..=1.0) {
            let highest = highest_ratio(patches);
            prop_assert!(check(1, patches, highest).is_ok());
            prop_assert!(check(1, patches, (highest * share).max(1e-9)).is_ok());
            prop_assert!(patches > 9_000 || check(1, patches, highest + 2e-4).is_err());
        }
    }
}
