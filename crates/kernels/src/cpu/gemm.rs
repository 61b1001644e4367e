//! Matrix products with an epilogue: `C[rows, cols] = A[rows, k]·B[k, cols]`, and what is done with a finished tile.
//!
//! A tile is `ROWS × 3` vectors and stays in registers over the whole of `k`. `A` is read one broadcast per word: in
//! place, or where its columns are the rows of the product, as [`columns`](super::columns) laid them out. `B` is either packed into
//! panels of three vectors (weights) or read in place row by row (activations, in weight gradients).
//!
//! Everything is counted in words (see [`Number`]): with bf16, `k` is half as long and each step adds two products.
//!
//! Where the CPU multiplies whole tiles of bf16 numbers (AMX) and `A` is read in rows, 16 rows at a time go there as far
//! as `k` has whole tiles, and what is left of `k` is added here: a tile may begin with sums.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::lanes::{Lanes, TILE};
use super::number::Number;

/// Vectors per row of a tile.
const WIDTH: usize = 3;

/// Columns of a panel.
pub(super) const fn panel_width<L: Lanes>() -> usize {
    WIDTH * L::N
}

/// Rows of the largest tile, and of a bundle: columns that [`Columns`](super::columns::Columns) brings together.
pub(super) const BUNDLE: usize = 8;

/// The left operand: word `(i, k)` is at `(i / 8)·bundle + (i % 8)·row + k·col`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    start: *const f32,
    bundle: usize,
    row: usize,
    col: usize,
}

impl Left {
    /// Rows of `width` numbers, a whole number of words, read in place.
    pub(super) fn rows<T: Number>(start: *const T, width: usize) -> Left {
        let row = width / T::PER_WORD;
        Left {
            start: start.cast(),
            bundle: BUNDLE * row,
            row,
            col: 1,
        }
    }

    /// Bundles of eight rows of `k` words, `[⌈rows / 8⌉, k, 8]`.
    pub(super) fn bundles(start: *const f32, k: usize) -> Left {
        Left {
            start,
            bundle: BUNDLE * k,
            row: 1,
            col: BUNDLE,
        }
    }
}

/// The right operand: column `j` of row `k` is at `(j / panel)·panel_stride + k·row + j % panel`.
#[derive(Clone, Copy)]
pub(super) struct Right {
    start: *const f32,
    panel: usize,
    row: usize,
}

impl Right {
    /// A matrix packed by `Packed` with `k` rows of words.
    pub(super) fn packed<L: Lanes>(start: *const f32, k: usize) -> Right {
        Right {
            start,
            panel: k * panel_width::<L>(),
            row: panel_width::<L>(),
        }
    }

    /// A row-major matrix of words with `stride` per row; whole vectors of each row must be readable.
    pub(super) fn in_place<L: Lanes>(start: *const f32, stride: usize) -> Right {
        Right {
            start,
            panel: panel_width::<L>(),
            row: stride,
        }
    }
}

/// Words per row for a matrix of `width` that [`Right::in_place`] will read: an odd number of cache lines, so that the
/// rows of a panel do not compete for the same places in the caches.
pub(super) fn spread(width: usize) -> usize {
    const LINE: usize = 16; // words
    let lines = width.div_ceil(LINE);
    (lines | 1) * LINE
}

/// What happens to a finished tile.
pub(super) trait Epilogue<L: Lanes> {
    /// Takes `M` rows from `row` and `W` vectors from column `col`.
    ///
    /// # Safety
    /// The CPU must have `L`; the implementor's pointers must hold these rows and columns.
    unsafe fn finish<const M: usize, const W: usize>(&mut self, row: usize, col: usize, acc: &[[L::V; W]; M]);
}

/// The extent of a product: rows of `A`, words summed over, columns of `B`.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) rows: usize,
    pub(super) k: usize,
    pub(super) cols: usize,
}

/// Panels `panels` of `A·B`; rows from `first` on, given to the epilogue under their own numbers.
///
/// # Safety
/// The CPU must have `L`; `a` and `b` must hold what is read: rows `first .. first + rows` of `k` words, and `k` rows
/// of `cols` (rounded up to vectors).
#[inline(always)]
pub(super) unsafe fn gemm<T: Number, L: Lanes, E: Epilogue<L>>(
    extent: Extent,
    first: usize,
    a: Left,
    b: Right,
    panels: Range<usize>,
    epilogue: &mut E,
) {
    for panel in panels {
        let col = panel * panel_width::<L>();
        let vectors = (extent.cols - col).div_ceil(L::N).min(WIDTH);
        // SAFETY: the caller's; panel `panel` begins there.
        unsafe {
            let start = b.start.add(panel * b.panel);
            match vectors {
                3 => panel_rows::<T, L, 3, E>(extent, first, a, start, b.row, col, epilogue),
                2 => panel_rows::<T, L, 2, E>(extent, first, a, start, b.row, col, epilogue),
                _ => panel_rows::<T, L, 1, E>(extent, first, a, start, b.row, col, epilogue),
            }
        }
    }
}

/// All panels of `A·B`.
///
/// # Safety
/// As [`gemm`].
#[inline(always)]
pub(super) unsafe fn whole<T: Number, L: Lanes, E: Epilogue<L>>(
    extent: Extent,
    a: Left,
    b: Right,
    epilogue: &mut E,
) {
    // SAFETY: the caller's.
    unsafe { gemm::<T, L, E>(extent, 0, a, b, 0..panels::<L>(extent.cols), epilogue) }
}

/// Number of panels that cover `cols` columns.
pub(super) fn panels<L: Lanes>(cols: usize) -> usize {
    cols.div_ceil(panel_width::<L>())
}

#[inline(always)]
unsafe fn panel_rows<T: Number, L: Lanes, const W: usize, E: Epilogue<L>>(
    extent: Extent,
    first: usize,
    a: Left,
    b: *const f32,
    b_row: usize,
    col: usize,
    epilogue: &mut E,
) {
    let (mut row, end) = (first, first + extent.rows);
    let place = Place {
        k: extent.k,
        a,
        b,
        b_row,
        col,
    };
    // SAFETY: the caller's; every tile lies within the rows.
    unsafe {
        if L::HAS_TILES && T::PER_WORD == 2 && a.col == 1 && extent.k >= TILE && extent.rows >= TILE {
            L::open_tiles();
            while end - row >= TILE {
                unit_tile::<T, L, W, E>(row, &place, epilogue);
                row += TILE;
            }
            L::close_tiles();
        }
        while L::ROWS >= 8 && end - row >= 8 {
            tile::<T, L, 8, W, E>(row, &place, Begun::NOTHING, epilogue);
            row += 8;
        }
        while end - row >= 4 {
            tile::<T, L, 4, W, E>(row, &place, Begun::NOTHING, epilogue);
            row += 4;
        }
        if end - row >= 2 {
            tile::<T, L, 2, W, E>(row, &place, Begun::NOTHING, epilogue);
            row += 2;
        }
        if end > row {
            tile::<T, L, 1, W, E>(row, &place, Begun::NOTHING, epilogue);
        }
    }
}

/// Where the operands of a panel's tiles lie.
struct Place {
    k: usize,
    a: Left,
    b: *const f32,
    b_row: usize,
    col: usize,
}

impl Place {
    /// The first word of a row of `A`.
    #[inline(always)]
    unsafe fn left(&self, row: usize) -> *const f32 {
        // SAFETY: the caller's: the row exists.
        unsafe {
            self.a
                .start
                .add(row / BUNDLE * self.a.bundle + row % BUNDLE * self.a.row)
        }
    }
}

/// Sums that a tile begins with, `[M, W]` vectors, and how many words they are over.
#[derive(Clone, Copy)]
struct Begun {
    words: usize,
    sums: *const f32,
}

impl Begun {
    const NOTHING: Begun = Begun {
        words: 0,
        sums: std::ptr::null(),
    };
}

/// `TILE` rows: whole tiles of `k` by the CPU's unit for them, the rest and the epilogue as always.
#[inline(always)]
unsafe fn unit_tile<T: Number, L: Lanes, const W: usize, E: Epilogue<L>>(
    row: usize,
    place: &Place,
    epilogue: &mut E,
) {
    const HALF: usize = TILE / 2;
    let mut sums = MaybeUninit::<[f32; TILE * TILE * WIDTH]>::uninit();
    let sums = sums.as_mut_ptr().cast::<f32>();
    let steps = place.k / TILE;
    // SAFETY: the caller's; `sums` has room for `W` tiles, and holds them after the product.
    unsafe {
        L::multiply_tiles::<W>(steps, place.left(row), place.a.row, place.b, place.b_row, sums);
        for half in 0..2 {
            let begun = Begun {
                words: steps * TILE,
                sums: sums.add(half * HALF * W * TILE),
            };
            tile::<T, L, HALF, W, E>(row + half * HALF, place, begun, epilogue);
        }
    }
}

#[inline(always)]
unsafe fn tile<T: Number, L: Lanes, const M: usize, const W: usize, E: Epilogue<L>>(
    row: usize,
    place: &Place,
    begun: Begun,
    epilogue: &mut E,
) {
    let (a, b_row) = (place.a, place.b_row);
    // SAFETY: the caller's: rows `row .. row + M` of `a` and `k` rows of `b` with `W` vectors each are readable.
    unsafe {
        let mut acc = [[L::splat(0.0); W]; M];
        if begun.words > 0 {
            for (i, sums) in acc.iter_mut().enumerate() {
                for (w, sum) in sums.iter_mut().enumerate() {
                    *sum = L::load(begun.sums.add((i * W + w) * L::N));
                }
            }
        }
        let mut left = place.left(row).add(begun.words * a.col);
        let mut right = place.b.add(begun.words * b_row);
        for _ in begun.words..place.k {
            let mut values = [L::splat(0.0); W];
            for (w, value) in values.iter_mut().enumerate() {
                *value = L::load(right.add(w * L::N));
            }
            for (i, sums) in acc.iter_mut().enumerate() {
                let factor = L::splat(left.add(i * a.row).read_unaligned());
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = T::fma::<L>(factor, value, *sum);
                }
            }
            left = left.add(a.col);
            right = right.add(b_row);
        }
        epilogue.finish::<M, W>(row, place.col, &acc);
    }
}
