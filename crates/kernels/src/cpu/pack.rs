//! Weights packed for the right side of a product.

use fcmae_torch_ext::parallel_for;

use super::buffer::Buffer;
use super::gemm::panel_width;
use super::isa::{Isa, Kernel, enter};
use super::lanes::Lanes;
use super::number::Number;
use super::plan::Shared;

/// A `k × cols` matrix inside a slice: element `(k, col)` is at `k·row + col·stride`, times the scales.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) numbers: &'a [f32],
    /// Distance between two rows.
    pub(super) row: usize,
    /// Distance between two columns.
    pub(super) col: usize,
    /// A factor per row, `[k]`.
    pub(super) row_scale: Option<&'a [f32]>,
    /// A factor per column, `[cols]`.
    pub(super) col_scale: Option<&'a [f32]>,
}

impl<'a> Matrix<'a> {
    /// A row-major `k × cols` matrix.
    pub(super) fn new(numbers: &'a [f32], cols: usize) -> Matrix<'a> {
        Matrix {
            numbers,
            row: cols,
            col: 1,
            row_scale: None,
            col_scale: None,
        }
    }

    /// The transpose of a row-major `cols × k` matrix: `x·Wᵀ`, as linear maps store their weights.
    pub(super) fn transposed(numbers: &'a [f32], k: usize) -> Matrix<'a> {
        Matrix {
            row: 1,
            col: k,
            ..Matrix::new(numbers, k)
        }
    }
}

impl Matrix<'_> {
    /// Row `k` from column `first` on.
    #[inline(always)]
    fn part(&self, k: usize, first: usize) -> Row<'_> {
        Row {
            numbers: &self.numbers[k * self.row + first * self.col..],
            stride: self.col,
            factor: self.row_scale.map_or(1.0, |scale| scale[k]),
            scale: self.col_scale.map(|scale| &scale[first..]),
        }
    }
}

/// Panels of three vectors; columns beyond the matrix are zero, and so are rows up to a whole word.
pub(super) struct Packed {
    numbers: Buffer<f32>,
    /// Rows of words.
    pub(super) words: usize,
}

impl Packed {
    /// Packs the first `k` rows and `cols` columns, in parallel; `rows ≥ k` rows of numbers are there afterwards, the
    /// last ones zero.
    pub(super) fn new<T: Number>(isa: Isa, k: usize, rows: usize, cols: usize, matrix: Matrix) -> Packed {
        let words = rows.div_ceil(T::PER_WORD);
        let width = 3 * isa.lanes();
        let panels = cols.div_ceil(width);
        let mut numbers = Buffer::new(panels * words * width);
        let start = Shared::new(&mut numbers);
        parallel_for(panels, |panel| {
            // SAFETY: panel `panel` is `words·width` numbers of `numbers`, and no other task's.
            let to =
                unsafe { std::slice::from_raw_parts_mut(start.at(panel * words * width), words * width) };
            enter(
                isa,
                PackPanel::<T> {
                    to,
                    panel,
                    k,
                    cols,
                    matrix,
                    kind: std::marker::PhantomData,
                },
            );
        });
        Packed { numbers, words }
    }

    /// The first word.
    pub(super) fn start(&self) -> *const f32 {
        self.numbers.as_ptr()
    }
}

struct PackPanel<'a, T> {
    to: &'a mut [f32],
    panel: usize,
    k: usize,
    cols: usize,
    matrix: Matrix<'a>,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number> Kernel for PackPanel<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let width = panel_width::<L>();
        let PackPanel { to, k, matrix, .. } = self;
        let first = self.panel * width;
        let used = width.min(self.cols - first);
        for (word, to) in to.chunks_exact_mut(width).enumerate() {
            let row = word * T::PER_WORD;
            let (to, padding) = to.split_at_mut(used);
            padding.fill(0.0);
            if row >= k {
                to.fill(0.0);
            } else if T::PER_WORD == 2 && row + 1 < k {
                let (even, odd) = (matrix.part(row, first), matrix.part(row + 1, first));
                for (j, to) in to.iter_mut().enumerate() {
                    *to = T::word(even.at(j), odd.at(j));
                }
            } else {
                let row = matrix.part(row, first);
                for (j, to) in to.iter_mut().enumerate() {
                    *to = T::word(row.at(j), 0.0);
                }
            }
        }
    }
}

/// Part of a row of a [`Matrix`].
struct Row<'a> {
    numbers: &'a [f32],
    stride: usize,
    factor: f32,
    scale: Option<&'a [f32]>,
}

impl Row<'_> {
    #[inline(always)]
    fn at(&self, j: usize) -> f32 {
        self.numbers[j * self.stride] * self.factor * self.scale.map_or(1.0, |scale| scale[j])
    }
}
