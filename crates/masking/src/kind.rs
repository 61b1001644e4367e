//! How hidden patches lie: at random, in blocks, or on a grid.

use fcmae_random::Stream;
use serde::{Deserialize, Serialize};

use crate::grid::PatchGrid;

/// How the hidden patches of an image lie. Every kind hides the same number of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskKind {
    /// Anywhere, each as likely as any other (the paper's, §3).
    #[default]
    Random,
    /// In rectangles (BEiT, arXiv 2106.08254, Algorithm 1): areas from a twelfth of the image upwards, aspects from
    /// 0.3 to 1/0.3; the last one is cut where enough is hidden.
    Block,
    /// Apart from each other on a lattice: what there is fewer of, visible or hidden patches, is every q-th one. At
    /// ratio 0.75 that is one in 2 × 2 (MAE, arXiv 2111.06377, Fig. 6), at 0.5 a chessboard. Where no lattice has the
    /// share that is asked for, random patches are added to the nearest one, or taken away. Its offset is random.
    Grid,
}

impl MaskKind {
    /// A number for each patch of `grid`, row by row, for a mask that hides `hidden` of them: those with the smallest
    /// numbers stay visible.
    pub(crate) fn scores(self, grid: PatchGrid, hidden: usize, stream: &mut Stream) -> Vec<f64> {
        match self {
            MaskKind::Random => (0..grid.patches()).map(|_| stream.normal()).collect(),
            MaskKind::Block => block(grid, hidden, stream),
            MaskKind::Grid => lattice(grid, hidden, stream),
        }
    }
}

/// Rectangles are given up after so many, for patches at random: the last gaps are hard to hit.
const RECTANGLES: u32 = 64;
/// Share of the patches that a rectangle has at least, and its longest side over its shortest at most (BEiT).
const SMALLEST: f64 = 16.0 / 196.0;
const ASPECT: f64 = 1.0 / 0.3;

/// Patches in rectangles get a number from 1 up, the earlier the higher; all others one in `[0, 1)`.
fn block(grid: PatchGrid, hidden: usize, stream: &mut Stream) -> Vec<f64> {
    let mut scores: Vec<f64> = (0..grid.patches()).map(|_| stream.uniform()).collect();
    let mut missing = hidden;
    for rank in (1..=RECTANGLES).rev() {
        if missing == 0 {
            break;
        }
        let least = (SMALLEST * grid.patches() as f64).max(1.0).min(missing as f64);
        let area = stream.uniform_in(least, missing as f64);
        let aspect = stream.uniform_in(-ASPECT.ln(), ASPECT.ln()).exp();
        let side = |length: f64, most: usize| (length.sqrt().round() as usize).clamp(1, most);
        let (height, width) = (side(area * aspect, grid.rows), side(area / aspect, grid.cols));
        let mut place = |length, most: usize| stream.below((most - length + 1) as u32) as usize;
        let (top, left) = (place(height, grid.rows), place(width, grid.cols));
        let patches = (top..top + height).flat_map(|r| (left..left + width).map(move |c| r * grid.cols + c));
        for patch in patches {
            if missing > 0 && scores[patch] < 1.0 {
                scores[patch] = f64::from(rank);
                missing -= 1;
            }
        }
    }
    scores
}

/// Patches of the lattice get a number one lower than all others where they are to be visible, else one higher.
fn lattice(grid: PatchGrid, hidden: usize, stream: &mut Stream) -> Vec<f64> {
    let visible = grid.patches() - hidden;
    let (fewer, step) = if visible <= hidden {
        (visible, -1.0)
    } else {
        (hidden, 1.0)
    };
    let one_in = one_in(fewer, grid.patches());
    // As square as it can be; rows of a prime number of columns are shifted against each other.
    let down = (1..=one_in)
        .take_while(|d| d * d <= one_in)
        .filter(|d| one_in.is_multiple_of(*d))
        .last()
        .unwrap_or(1);
    let across = one_in / down;
    let shift = if down == 1 { across / 2 } else { 0 };
    let mut offset = |period: usize| stream.below(period as u32) as usize;
    let (first_row, first_col) = (offset(down), offset(across));
    let is_on = |patch: usize| {
        let (row, col) = grid.position(patch);
        (row + first_row).is_multiple_of(down) && (col + first_col + row * shift).is_multiple_of(across)
    };
    (0..grid.patches())
        .map(|patch| stream.uniform() + if is_on(patch) { step } else { 0.0 })
        .collect()
}

/// The `q` whose `1 / q` is nearest to `part / whole`.
fn one_in(part: usize, whole: usize) -> usize {
    let below = whole / part.max(1);
    let distance = |q: usize| (part as f64 / whole as f64 - 1.0 / q as f64).abs();
    if distance(below) <= distance(below + 1) {
        below
    } else {
        below + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MaskConfig, PatchMask, RandomMask, len_keep};

    fn draw(kind: MaskKind, rows: usize, cols: usize, mask_ratio: f64, ids: &[u64]) -> PatchMask {
        let config = MaskConfig { mask_ratio, kind };
        let grid = PatchGrid { rows, cols };
        RandomMask::new(config).sample(grid, 5, 0, ids).unwrap()
    }

    fn picture(mask: &PatchMask) -> Vec<String> {
        let line = |row: &[bool]| row.iter().map(|&h| if h { '#' } else { '.' }).collect();
        mask.hidden(0).chunks(mask.grid().cols).map(line).collect()
    }

    /// Pairs of neighbours of which both are hidden.
    fn hidden_pairs(mask: &PatchMask) -> usize {
        let (grid, images) = (mask.grid(), mask.images());
        let pairs = |n: usize| {
            let is_hidden = |r: usize, c: usize| mask.hidden(n)[r * grid.cols + c];
            let across = (0..grid.rows).flat_map(|r| (1..grid.cols).map(move |c| ((r, c - 1), (r, c))));
            let down = (1..grid.rows).flat_map(|r| (0..grid.cols).map(move |c| ((r - 1, c), (r, c))));
            across
                .chain(down)
                .filter(|&(a, b)| is_hidden(a.0, a.1) && is_hidden(b.0, b.1))
                .count()
        };
        (0..images).map(pairs).sum()
    }

    #[test]
    fn a_grid_at_three_quarters_shows_one_in_two_by_two() {
        let lines = picture(&draw(MaskKind::Grid, 6, 8, 0.75, &[1]));
        let odd = |start: usize| lines.iter().skip(start).step_by(2).all(|line| line == "########");
        assert!(odd(0) != odd(1), "{lines:#?}");
        let with = lines.iter().find(|line| line.contains('.')).unwrap();
        assert!(with == ".#.#.#.#" || with == "#.#.#.#.", "{lines:#?}");
    }

    #[test]
    fn a_grid_at_one_half_is_a_chessboard_and_at_a_fifth_hides_no_neighbours() {
        let half = draw(MaskKind::Grid, 4, 6, 0.5, &[1]);
        assert_eq!(hidden_pairs(&half), 0);
        assert_eq!(half.hidden_per_image(), 12);
        assert_eq!(hidden_pairs(&draw(MaskKind::Grid, 10, 10, 0.2, &[1])), 0);
    }

    #[test]
    fn the_nearest_share_is_taken() {
        for (part, whole, expected) in [(1, 2, 2), (19, 49, 3), (1, 4, 4), (4, 49, 12), (49, 100, 2)] {
            assert_eq!(one_in(part, whole), expected, "{part}/{whole}");
        }
    }

    #[test]
    fn blocks_hang_together_and_grids_do_not() {
        let ids: Vec<u64> = (0..200).collect();
        let pairs = |kind| hidden_pairs(&draw(kind, 8, 8, 0.4, &ids));
        let (random, block, grid) = (
            pairs(MaskKind::Random),
            pairs(MaskKind::Block),
            pairs(MaskKind::Grid),
        );
        assert!(
            block > random * 3 / 2 && grid < random / 2,
            "{random} {block} {grid}"
        );
    }

    #[test]
    fn every_patch_is_hidden_now_and_then() {
        let ids: Vec<u64> = (0..400).collect();
        for kind in [MaskKind::Block, MaskKind::Grid] {
            let mask = draw(kind, 5, 7, 0.6, &ids);
            for patch in 0..35 {
                let hidden = (0..400).filter(|&n| mask.hidden(n)[patch]).count();
                assert!((80..400).contains(&hidden), "{kind:?} patch {patch}: {hidden}");
            }
        }
    }

    proptest! {
        /// As many patches as of the random kind, and the sample alone decides which.
        #[test]
        fn counts_are_exact_and_masks_belong_to_samples(
            rows in 1_usize..12, cols in 2_usize..12, mask_ratio in 0.05_f64..0.95, seed: u64, ids in prop::collection::vec(any::<u64>(), 1..4),
        ) {
            let grid = PatchGrid { rows, cols };
            for kind in [MaskKind::Random, MaskKind::Block, MaskKind::Grid] {
                let config = MaskConfig { mask_ratio, kind };
                prop_assume!(config.validate(&grid).is_ok());
                let sampler = RandomMask::new(config);
                let batch = sampler.sample(grid, seed, 3, &ids).unwrap();
                prop_assert_eq!(batch.visible_per_image(), len_keep(grid.patches(), mask_ratio));
                for (n, &id) in ids.iter().enumerate() {
                    let alone = sampler.sample(grid, seed, 3, &[id]).unwrap();
                    prop_assert_eq!(alone.hidden(0), batch.hidden(n));
                }
            }
        }
    }
}
