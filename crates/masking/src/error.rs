//! What can be wrong with a grid or a mask.

/// Why a grid or mask cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// A patch of no pixels.
    #[error("the patch size is 0 pixels; it must be at least 1")]
    PatchSize,

    /// An image that patches do not tile.
    #[error(
        "image {side} {got} is not a multiple of the patch size {patch} (the network's total stride); try {}",
        neighbours(*below, *above)
    )]
    ImageSize {
        /// `height` or `width`.
        side: &'static str,
        /// Pixels given.
        got: usize,
        /// Side of a patch in pixels.
        patch: usize,
        /// The largest multiple below `got`; 0 when there is none.
        below: usize,
        /// The smallest multiple above `got`.
        above: usize,
    },

    /// A grid that has nothing to choose from.
    #[error(
        "a grid with {patches} patch(es) cannot be masked: one patch must be hidden and another one visible; \
         use larger images or a smaller patch size"
    )]
    GridTooSmall {
        /// Patches of the grid.
        patches: usize,
    },

    /// A mask ratio that hides everything or nothing.
    #[error(
        "`mask.mask_ratio` = {got} would hide {hidden} of the {patches} patches ({rows}×{cols}); one patch must be \
         hidden and one visible: use a value above 0 and at most {highest}"
    )]
    MaskRatio {
        /// The value given.
        got: f64,
        /// How many patches it would hide.
        hidden: usize,
        /// Patches of the grid.
        patches: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
        /// The highest permitted ratio for this grid, rounded down to four decimals.
        highest: f64,
    },

    /// A mask of another length than the grid.
    #[error("image {image}: the mask has {got} values, but the grid of {rows}×{cols} has {patches} patches")]
    Length {
        /// Index of the image in the batch.
        image: usize,
        /// Values given.
        got: usize,
        /// Patches of the grid.
        patches: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
    },

    /// A patch number that the grid does not have.
    #[error(
        "image {image}: there is no patch {got} to hide; the grid of {rows}×{cols} has the patches 0 to {last}, row by row"
    )]
    PatchIndex {
        /// Index of the image in the batch.
        image: usize,
        /// The number given.
        got: u32,
        /// The highest patch number.
        last: usize,
        /// Rows of the grid.
        rows: usize,
        /// Columns of the grid.
        cols: usize,
    },

    /// A list of hidden patches that names none, or every one.
    #[error(
        "image {image}: {hidden} of {patches} patches would be hidden; at least one must be hidden and one visible"
    )]
    Degenerate {
        /// Index of the image in the batch.
        image: usize,
        /// How many patches would be hidden.
        hidden: usize,
        /// Patches of the grid.
        patches: usize,
    },

    /// Images of a batch with different numbers of visible patches.
    #[error(
        "image {image} has {got} visible patches, image 0 has {expected}; \
         all images of a batch must have the same number"
    )]
    UnevenVisible {
        /// Index of the image in the batch.
        image: usize,
        /// Its visible patches.
        got: usize,
        /// The visible patches of image 0.
        expected: usize,
    },
}

fn neighbours(below: usize, above: usize) -> String {
    if below == 0 {
        above.to_string()
    } else {
        format!("{below} or {above}")
    }
}
