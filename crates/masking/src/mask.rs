//! The mask of a batch: which patches of which image are hidden.

use crate::config::len_keep;
use crate::error::MaskError;
use crate::grid::PatchGrid;

/// Which patches are hidden, for `N` images over one grid. **`true` = hidden.**
///
/// Every image has the same number of visible patches; the constructors refuse anything else, so that a
/// [`VisibleLayout`](crate::VisibleLayout) can always be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchMask {
    grid: PatchGrid,
    images: usize,
    visible_per_image: usize,
    /// `[N·L]`, image by image, row by row.
    hidden: Vec<bool>,
}

impl PatchMask {
    /// A mask from one list of `L` flags per image (`true` = hidden).
    ///
    /// # Errors
    /// When a list is not as long as the grid, or the images differ in their number of visible patches.
    pub fn from_hidden(grid: PatchGrid, hidden: Vec<Vec<bool>>) -> Result<PatchMask, MaskError> {
        let patches = grid.patches();
        for (image, flags) in hidden.iter().enumerate() {
            if flags.len() != patches {
                return Err(length_error(grid, image, flags.len()));
            }
        }
        PatchMask::from_flat(grid, hidden.concat())
    }

    /// A mask from the numbers of the patches to hide, one list per image; order and repetition do not
    /// matter.
    ///
    /// # Errors
    /// When a number is outside the grid, when an image would have no hidden or no visible patch, or when
    /// the images differ in their number of visible patches.
    pub fn from_hidden_indices(grid: PatchGrid, hidden: &[Vec<u32>]) -> Result<PatchMask, MaskError> {
        let patches = grid.patches();
        let mut flat = vec![false; patches * hidden.len()];
        for (image, indices) in hidden.iter().enumerate() {
            let flags = &mut flat[image * patches..(image + 1) * patches];
            for &index in indices {
                *flags
                    .get_mut(index as usize)
                    .ok_or_else(|| index_error(grid, image, index))? = true;
            }
            let count = flags.iter().filter(|h| **h).count();
            if count == 0 || count == patches {
                return Err(MaskError::Degenerate {
                    image,
                    hidden: count,
                    patches,
                });
            }
        }
        PatchMask::from_flat(grid, flat)
    }

    /// The reference's rule (§2.2 of its forward pass): of each image the [`len_keep`]`(L, mask_ratio)`
    /// patches with the smallest noise are visible. `noise` is `[N·L]`, image by image; equal values keep
    /// their order.
    ///
    /// The ratio is taken as it is, even where it hides everything: [`MaskConfig::validate`] is what
    /// refuses such a ratio, and [`RandomMask`](crate::RandomMask) calls it.
    ///
    /// # Errors
    /// When the length of `noise` is no multiple of `L`.
    ///
    /// [`MaskConfig::validate`]: crate::MaskConfig::validate
    pub fn from_noise(grid: PatchGrid, noise: &[f64], mask_ratio: f64) -> Result<PatchMask, MaskError> {
        let patches = non_empty(grid)?;
        let keep = len_keep(patches, mask_ratio);
        let mut hidden = vec![true; noise.len()];
        for (image, (noise, hidden)) in noise.chunks(patches).zip(hidden.chunks_mut(patches)).enumerate() {
            if noise.len() != patches {
                return Err(length_error(grid, image, noise.len()));
            }
            let mut order: Vec<usize> = (0..patches).collect();
            order.sort_by(|&a, &b| noise[a].total_cmp(&noise[b]));
            order[..keep].iter().for_each(|&patch| hidden[patch] = false);
        }
        PatchMask::from_flat(grid, hidden)
    }

    /// The mask that hides nothing.
    #[must_use]
    pub fn none_hidden(grid: PatchGrid, images: usize) -> PatchMask {
        let patches = grid.patches();
        PatchMask {
            grid,
            images,
            visible_per_image: patches,
            hidden: vec![false; images * patches],
        }
    }

    /// `hidden`: `[N·L]`, a multiple of the grid's length.
    fn from_flat(grid: PatchGrid, hidden: Vec<bool>) -> Result<PatchMask, MaskError> {
        let patches = non_empty(grid)?;
        let mut counts = hidden
            .chunks(patches)
            .map(|flags| flags.iter().filter(|h| !**h).count());
        let expected = counts.next().unwrap_or(0);
        if let Some((index, got)) = counts.enumerate().find(|(_, got)| *got != expected) {
            return Err(MaskError::UnevenVisible {
                image: index + 1,
                got,
                expected,
            });
        }
        let images = hidden.len() / patches;
        Ok(PatchMask {
            grid,
            images,
            visible_per_image: expected,
            hidden,
        })
    }

    /// `N`, the number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }

    /// The grid of every image.
    #[must_use]
    pub fn grid(&self) -> PatchGrid {
        self.grid
    }

    /// `K`, the visible patches of each image.
    #[must_use]
    pub fn visible_per_image(&self) -> usize {
        self.visible_per_image
    }

    /// `L − K`, the hidden patches of each image.
    #[must_use]
    pub fn hidden_per_image(&self) -> usize {
        self.grid.patches() - self.visible_per_image
    }

    /// The `L` flags of one image, row by row (`true` = hidden).
    ///
    /// # Panics
    /// When `image` is not below [`images`](PatchMask::images).
    #[must_use]
    pub fn hidden(&self, image: usize) -> &[bool] {
        let patches = self.grid.patches();
        &self.hidden[image * patches..(image + 1) * patches]
    }

    /// The flags of all images, `[N·L]` (`true` = hidden).
    #[must_use]
    pub fn as_slice(&self) -> &[bool] {
        &self.hidden
    }

    /// The flags as numbers, `[N·L]`: 1 = hidden, 0 = visible.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        self.hidden
            .iter()
            .map(|&hidden| f32::from(u8::from(hidden)))
            .collect()
    }

    /// The mask at a finer resolution, `[N, rows·factor, cols·factor]`: each flag repeated `factor` times
    /// on both axes (`true` = hidden). This is what a dense network multiplies a stage's features by.
    #[must_use]
    pub fn upsample(&self, factor: usize) -> Vec<bool> {
        let mut fine = Vec::with_capacity(self.hidden.len() * factor * factor);
        for row in self.hidden.chunks(self.grid.cols.max(1)) {
            let wide: Vec<bool> = row.iter().flat_map(|&h| std::iter::repeat_n(h, factor)).collect();
            (0..factor).for_each(|_| fine.extend_from_slice(&wide));
        }
        fine
    }
}

/// `L`, for a grid made by hand that may have no patches at all.
fn non_empty(grid: PatchGrid) -> Result<usize, MaskError> {
    match grid.patches() {
        0 => Err(MaskError::GridTooSmall { patches: 0 }),
        patches => Ok(patches),
    }
}

fn length_error(grid: PatchGrid, image: usize, got: usize) -> MaskError {
    MaskError::Length {
        image,
        got,
        patches: grid.patches(),
        rows: grid.rows,
        cols: grid.cols,
    }
}

fn index_error(grid: PatchGrid, image: usize, got: u32) -> MaskError {
    let last = grid.patches().saturating_sub(1);
    MaskError::PatchIndex {
        image,
        got,
        last,
        rows: grid.rows,
        cols: grid.cols,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: PatchGrid = PatchGrid { rows: 2, cols: 3 };

    #[test]
    fn indices_become_flags() {
        let mask = PatchMask::from_hidden_indices(GRID, &[vec![0, 4, 0], vec![5, 1]]).unwrap();
        assert_eq!(mask.hidden(0), [true, false, false, false, true, false]);
        assert_eq!(mask.hidden(1), [false, true, false, false, false, true]);
        assert_eq!(
            (mask.images(), mask.visible_per_image(), mask.hidden_per_image()),
            (2, 4, 2)
        );
        assert_eq!(mask.to_f32()[..6], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn bad_indices_are_named() {
        let message = |lists: &[Vec<u32>]| {
            PatchMask::from_hidden_indices(GRID, lists)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message(&[vec![1], vec![6]]),
            "image 1: there is no patch 6 to hide; the grid of 2×3 has the patches 0 to 5, row by row"
        );
        assert!(message(&[vec![]]).starts_with("image 0: 0 of 6 patches would be hidden"));
        assert!(message(&[(0..6).collect()]).starts_with("image 0: 6 of 6 patches would be hidden"));
        assert_eq!(
            message(&[vec![0], vec![1, 2]]),
            "image 1 has 4 visible patches, image 0 has 5; all images of a batch must have the same number"
        );
    }

    #[test]
    fn wrong_lengths_are_refused() {
        let flags = vec![vec![false; 6], vec![false; 5]];
        assert_eq!(
            PatchMask::from_hidden(GRID, flags).unwrap_err().to_string(),
            "image 1: the mask has 5 values, but the grid of 2×3 has 6 patches"
        );
        let error = PatchMask::from_noise(GRID, &[0.0; 13], 0.5).unwrap_err();
        assert!(matches!(error, MaskError::Length { image: 2, got: 1, .. }));
    }

    #[test]
    fn equal_noise_keeps_its_order() {
        let mask = PatchMask::from_noise(GRID, &[1.0, 0.0, 0.0, 0.0, 0.0, -0.5], 0.5).unwrap();
        assert_eq!(mask.hidden(0), [true, false, false, true, true, false]);
    }

    #[test]
    fn a_grid_without_patches_is_refused() {
        let grid = PatchGrid { rows: 0, cols: 3 };
        let expected = Err(MaskError::GridTooSmall { patches: 0 });
        assert_eq!(PatchMask::from_noise(grid, &[], 0.5), expected);
        assert_eq!(PatchMask::from_hidden(grid, vec![vec![]]), expected);
    }

    #[test]
    fn an_empty_batch_is_a_mask_too() {
        assert_eq!(PatchMask::from_hidden(GRID, vec![]).unwrap().images(), 0);
    }
}
