//! The grid of patches that an image is cut into.

use crate::error::MaskError;

/// `rows × cols` patches, numbered row by row: patch `r·cols + c` is in row `r`, column `c`.
///
/// Grids need not be square. Both sides are at least 1 when made by [`PatchGrid::for_image`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PatchGrid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl PatchGrid {
    /// The grid of an image of `height × width` pixels cut into square patches of `patch` pixels.
    ///
    /// # Errors
    /// [`MaskError::ImageSize`] when a side is 0 or no multiple of `patch`; it names both neighbours.
    pub fn for_image(height: usize, width: usize, patch: usize) -> Result<PatchGrid, MaskError> {
        Ok(PatchGrid {
            rows: divide("height", height, patch)?,
            cols: divide("width", width, patch)?,
        })
    }

    /// `L`, the number of patches.
    #[must_use]
    pub fn patches(self) -> usize {
        self.rows.saturating_mul(self.cols) // of any size that a config may name
    }

    /// `(row, column)` of a patch.
    #[must_use]
    pub fn position(self, patch: usize) -> (usize, usize) {
        (patch / self.cols, patch % self.cols)
    }
}

fn divide(side: &'static str, pixels: usize, patch: usize) -> Result<usize, MaskError> {
    if patch == 0 {
        return Err(MaskError::PatchSize);
    }
    let below = pixels - pixels % patch;
    if pixels == 0 || below != pixels {
        return Err(MaskError::ImageSize {
            side,
            got: pixels,
            patch,
            below,
            above: below.saturating_add(patch),
        });
    }
    Ok(pixels / patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_keep_their_orientation() {
        let grid = PatchGrid::for_image(96, 160, 32).unwrap();
        assert_eq!((grid.rows, grid.cols, grid.patches()), (3, 5, 15));
        assert_eq!(grid.position(7), (1, 2));
    }

    #[test]
    fn a_small_image_with_small_patches_has_a_grid() {
        assert_eq!(PatchGrid::for_image(32, 32, 8).unwrap().patches(), 16);
    }

    #[test]
    fn errors_suggest_both_neighbours() {
        let message = |h, w, p| PatchGrid::for_image(h, w, p).unwrap_err().to_string();
        assert_eq!(
            message(225, 224, 32),
            "image height 225 is not a multiple of the patch size 32 (the network's total stride); try 224 or 256"
        );
        assert!(message(224, 250, 32).starts_with("image width 250"));
        assert!(message(31, 32, 32).ends_with("try 32"));
        assert!(message(32, 0, 32).ends_with("try 32"));
        assert_eq!(
            message(32, 32, 0),
            "the patch size is 0 pixels; it must be at least 1"
        );
    }
}
