//! Matrix products with an epilogue: `C[rows, cols] = A[rows, k]·B[k, cols]`, and what is done with a finished tile.
//!
//! A tile is `ROWS × 3` vectors and stays in registers over the whole of `k`. `A` is read in place, one broadcast
//! per number, through two strides, so that a transposed `A` costs nothing. `B` is either packed into panels of
//! three vectors (weights) or read in place row by row (activations, in weight gradients).

use super::lanes::Lanes;

/// Vectors per row of a tile.
const WIDTH: usize = 3;

/// Columns of a panel.
pub(super) const fn panel_width<L: Lanes>() -> usize {
    WIDTH * L::N
}

/// The left operand, read in place: element `(i, k)` is at `i·row + k·col`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) start: *const f32,
    pub(super) row: usize,
    pub(super) col: usize,
}

/// The right operand: column `j` of row `k` is at `(j / panel)·panel_stride + k·row + j % panel`.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub(super) start: *const f32,
    pub(super) panel: usize,
    pub(super) row: usize,
}

impl Right {
    /// A matrix packed by [`pack_panel`] with `k` rows.
    pub(super) fn packed<L: Lanes>(start: *const f32, k: usize) -> Right {
        Right {
            start,
            panel: k * panel_width::<L>(),
            row: panel_width::<L>(),
        }
    }

    /// A row-major matrix with `stride` numbers per row, a multiple of the vector length.
    pub(super) fn in_place<L: Lanes>(start: *const f32, stride: usize) -> Right {
        Right {
            start,
            panel: panel_width::<L>(),
            row: stride,
        }
    }
}

/// What happens to a finished tile.
pub(super) trait Epilogue<L: Lanes> {
    /// Takes `M` rows from `row` and `W` vectors from column `col`.
    ///
    /// # Safety
    /// The CPU must have `L`; the implementor's pointers must hold these rows and columns.
    unsafe fn finish<const M: usize, const W: usize>(&mut self, row: usize, col: usize, acc: &[[L::V; W]; M]);
}

/// `A[rows, k]·B[k, cols]`, rows `from .. from + rows` of `A`, given to the epilogue under their own numbers.
///
/// # Safety
/// The CPU must have `L`; `a` and `b` must hold what is read: `rows × k` and `k × cols` (rounded up to vectors).
#[expect(
    clippy::too_many_arguments,
    reason = "a kernel loop: everything it touches, by name"
)]
#[inline(always)]
pub(super) unsafe fn gemm<L: Lanes, E: Epilogue<L>>(
    from: usize,
    rows: usize,
    k: usize,
    cols: usize,
    a: Left,
    b: Right,
    panels: std::ops::Range<usize>,
    epilogue: &mut E,
) {
    for panel in panels {
        let col = panel * panel_width::<L>();
        let vectors = (cols - col).div_ceil(L::N).min(WIDTH);
        // SAFETY: the caller's; panel `panel` begins there.
        unsafe {
            let start = b.start.add(panel * b.panel);
            match vectors {
                3 => panel_rows::<L, 3, E>(from, rows, k, a, start, b.row, col, epilogue),
                2 => panel_rows::<L, 2, E>(from, rows, k, a, start, b.row, col, epilogue),
                _ => panel_rows::<L, 1, E>(from, rows, k, a, start, b.row, col, epilogue),
            }
        }
    }
}

/// Number of panels that cover `cols` columns.
pub(super) fn panels<L: Lanes>(cols: usize) -> usize {
    cols.div_ceil(panel_width::<L>())
}

#[expect(
    clippy::too_many_arguments,
    reason = "a kernel loop: everything it touches, by name"
)]
#[inline(always)]
unsafe fn panel_rows<L: Lanes, const W: usize, E: Epilogue<L>>(
    from: usize,
    rows: usize,
    k: usize,
    a: Left,
    b: *const f32,
    b_row: usize,
    col: usize,
    epilogue: &mut E,
) {
    let (mut row, end) = (from, from + rows);
    // SAFETY: the caller's; every tile lies within `rows`.
    unsafe {
        while L::ROWS >= 8 && end - row >= 8 {
            tile::<L, 8, W, E>(row, k, a, b, b_row, col, epilogue);
            row += 8;
        }
        while end - row >= 4 {
            tile::<L, 4, W, E>(row, k, a, b, b_row, col, epilogue);
            row += 4;
        }
        if end - row >= 2 {
            tile::<L, 2, W, E>(row, k, a, b, b_row, col, epilogue);
            row += 2;
        }
        if end > row {
            tile::<L, 1, W, E>(row, k, a, b, b_row, col, epilogue);
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, const M: usize, const W: usize, E: Epilogue<L>>(
    row: usize,
    k: usize,
    a: Left,
    b: *const f32,
    b_row: usize,
    col: usize,
    epilogue: &mut E,
) {
    // SAFETY: the caller's: rows `row .. row + M` of `a` and `k` rows of `b` with `W` vectors each are readable.
    unsafe {
        let mut acc = [[L::splat(0.0); W]; M];
        let mut left = a.start.add(row * a.row);
        let mut right = b;
        for _ in 0..k {
            let mut values = [L::splat(0.0); W];
            for (w, value) in values.iter_mut().enumerate() {
                *value = L::load(right.add(w * L::N));
            }
            for (i, sums) in acc.iter_mut().enumerate() {
                let factor = L::splat(*left.add(i * a.row));
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum = L::fma(factor, value, *sum);
                }
            }
            left = left.add(a.col);
            right = right.add(b_row);
        }
        epilogue.finish::<M, W>(row, col, &acc);
    }
}

/// Packs panel number `panel` of a `k × cols` matrix, whose element is `value(k, col)`, into `k` rows of three
/// vectors; columns beyond `cols` are zero.
#[inline(always)]
pub(super) fn pack_panel<L: Lanes>(
    to: &mut [f32],
    panel: usize,
    k: usize,
    cols: usize,
    value: impl Fn(usize, usize) -> f32,
) {
    let width = panel_width::<L>();
    let first = panel * width;
    let used = width.min(cols - first);
    for (row, to) in to.chunks_exact_mut(width).enumerate().take(k) {
        for (j, to) in to.iter_mut().enumerate() {
            *to = if j < used { value(row, first + j) } else { 0.0 };
        }
    }
}
