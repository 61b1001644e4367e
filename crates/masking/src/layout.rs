//! The numbering of what is visible: which packed row is which patch of which image.

use std::sync::Arc;

use crate::grid::PatchGrid;
use crate::mask::PatchMask;

/// Numbers the `V = N·K` visible patches of a batch: packed row `n·K + k` is the `k`-th visible patch of
/// image `n`, patches ascending.
///
/// Cloning is cheap (a shared pointer), so autograd nodes can keep a layout for their backward pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleLayout {
    tables: Arc<Tables>,
}

#[derive(Debug, PartialEq, Eq)]
struct Tables {
    grid: PatchGrid,
    images: usize,
    visible_per_image: usize,
    visible: Vec<u32>,
    hidden: Vec<u32>,
    slots: Vec<i32>,
}

impl From<&PatchMask> for VisibleLayout {
    fn from(mask: &PatchMask) -> VisibleLayout {
        let mut visible = Vec::with_capacity(mask.images() * mask.visible_per_image());
        let mut hidden = Vec::with_capacity(mask.images() * mask.hidden_per_image());
        let mut slots = Vec::with_capacity(mask.as_slice().len());
        for (flat, &is_hidden) in mask.as_slice().iter().enumerate() {
            slots.push(if is_hidden { -1 } else { index(visible.len()) });
            if is_hidden { &mut hidden } else { &mut visible }.push(index(flat) as u32);
        }
        let (grid, images, visible_per_image) = (mask.grid(), mask.images(), mask.visible_per_image());
        let tables = Tables {
            grid,
            images,
            visible_per_image,
            visible,
            hidden,
            slots,
        };
        VisibleLayout {
            tables: Arc::new(tables),
        }
    }
}

impl VisibleLayout {
    /// The layout of the dense network: every patch of `images` images is visible.
    #[must_use]
    pub fn full(images: usize, grid: PatchGrid) -> VisibleLayout {
        VisibleLayout::from(&PatchMask::none_hidden(grid, images))
    }

    /// `N`, the number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.tables.images
    }

    /// The grid of every image.
    #[must_use]
    pub fn grid(&self) -> PatchGrid {
        self.tables.grid
    }

    /// `K`, the visible patches of each image.
    #[must_use]
    pub fn visible_per_image(&self) -> usize {
        self.tables.visible_per_image
    }

    /// `L − K`, the hidden patches of each image.
    #[must_use]
    pub fn hidden_per_image(&self) -> usize {
        self.tables.grid.patches() - self.tables.visible_per_image
    }

    /// `V = N·K`, the number of packed rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.tables.visible.len()
    }

    /// `[V]`: the flat index `n·L + patch` of each packed row, ascending.
    #[must_use]
    pub fn visible(&self) -> &[u32] {
        &self.tables.visible
    }

    /// `[N·(L − K)]`: the flat index `n·L + patch` of each hidden patch, ascending.
    #[must_use]
    pub fn hidden(&self) -> &[u32] {
        &self.tables.hidden
    }

    /// `[N·L]`: the packed row of each patch, or −1 where it is hidden. The inverse of
    /// [`visible`](VisibleLayout::visible).
    #[must_use]
    pub fn slots(&self) -> &[i32] {
        &self.tables.slots
    }

    /// Whether nothing is hidden: packed rows are then the patches themselves, in their order.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tables.hidden.is_empty()
    }

    /// The image that a packed row belongs to, `row / K`.
    ///
    /// # Panics
    /// When `row` is not below [`rows`](VisibleLayout::rows).
    #[must_use]
    pub fn image_of(&self, row: usize) -> usize {
        assert!(
            row < self.rows(),
            "there is no packed row {row}: the layout has {}",
            self.rows()
        );
        row / self.tables.visible_per_image
    }
}

/// Row and patch numbers fit 32 bits, because the features of 2³¹ patches fit no memory.
fn index(value: usize) -> i32 {
    i32::try_from(value)
        .expect("a batch has fewer than 2³¹ patches: one of their features would take terabytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MaskConfig, RandomMask};
    use proptest::prelude::*;

    #[test]
    fn a_small_layout_by_hand() {
        let grid = PatchGrid { rows: 1, cols: 3 };
        let mask =
            PatchMask::from_hidden(grid, vec![vec![false, true, false], vec![true, false, false]]).unwrap();
        let layout = VisibleLayout::from(&mask);
        assert_eq!(layout.visible(), [0, 2, 4, 5]);
        assert_eq!(layout.hidden(), [1, 3]);
        assert_eq!(layout.slots(), [0, -1, 1, -1, 2, 3]);
        assert_eq!(
            (0..4).map(|row| layout.image_of(row)).collect::<Vec<_>>(),
            [0, 0, 1, 1]
        );
        assert_eq!(
            (
                layout.images(),
                layout.visible_per_image(),
                layout.hidden_per_image()
            ),
            (2, 2, 1)
        );
        assert!(!layout.is_full());
    }

    #[test]
    fn the_full_layout_is_the_identity() {
        let layout = VisibleLayout::full(3, PatchGrid { rows: 2, cols: 2 });
        assert!(layout.is_full() && layout.hidden().is_empty());
        assert_eq!(layout.visible(), (0..12).collect::<Vec<u32>>());
        assert_eq!(layout.slots(), (0..12).collect::<Vec<i32>>());
    }

    #[test]
    #[should_panic(expected = "there is no packed row 4")]
    fn a_row_beyond_the_end_is_a_callers_mistake() {
        let _ = VisibleLayout::full(1, PatchGrid { rows: 2, cols: 2 }).image_of(4);
    }

    proptest! {
        #[test]
        fn tables_are_inverse_and_complete(
            seed: u64, images in 0_usize..5, rows in 1_usize..9, cols in 2_usize..9, mask_ratio in 0.01_f64..0.5,
        ) {
            let grid = PatchGrid { rows, cols };
            let ids: Vec<u64> = (0..images as u64).collect();
            let mask = RandomMask::new(MaskConfig::random(mask_ratio)).sample(grid, seed, 0, &ids).unwrap();
            let layout = VisibleLayout::from(&mask);
            let (l, k) = (grid.patches(), layout.visible_per_image());

            prop_assert_eq!(layout.rows() + layout.hidden().len(), images * l);
            for (row, &flat) in layout.visible().iter().enumerate() {
                prop_assert_eq!(layout.slots()[flat as usize], row as i32);
                prop_assert_eq!(layout.image_of(row), flat as usize / l);
                prop_assert_eq!(row / k, flat as usize / l);
            }
            for &flat in layout.hidden() {
                prop_assert_eq!(layout.slots()[flat as usize], -1);
            }
            prop_assert!(layout.visible().is_sorted() && layout.hidden().is_sorted());
            let hidden: Vec<bool> = layout.slots().iter().map(|&slot| slot < 0).collect();
            prop_assert_eq!(hidden, mask.as_slice());
        }
    }
}
