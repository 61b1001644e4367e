//! Weights packed for the right side of a product.

use std::mem::MaybeUninit;

use fcmae_torch_ext::parallel_for;

use super::buffer::Buffer;
use super::gemm::panel_width;
use super::isa::{Isa, Kernel, enter};
use super::lanes::Lanes;
use super::number::Number;
use super::plan::Shared;
use super::rows::vectors;

/// A `k × cols` matrix of weights and factors of its rows and columns.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    numbers: &'a [f32],
    /// Whether the numbers are the transpose: `cols` rows of `k` numbers, as linear maps store their weights.
    is_transposed: bool,
    /// `[k]`.
    row_scale: Option<&'a [f32]>,
    /// `[cols]`.
    col_scale: Option<&'a [f32]>,
    /// `[k]`: what the unscaled columns of a transposed matrix are multiplied with on the way.
    vector: Option<&'a [f32]>,
}

impl<'a> Matrix<'a> {
    /// Row-major numbers `[k, cols]`.
    pub(super) fn new(numbers: &'a [f32]) -> Matrix<'a> {
        Matrix {
            numbers,
            is_transposed: false,
            row_scale: None,
            col_scale: None,
            vector: None,
        }
    }

    /// The transpose of row-major numbers `[cols, k]`: `x·Wᵀ`.
    pub(super) fn transposed(numbers: &'a [f32]) -> Matrix<'a> {
        Matrix {
            is_transposed: true,
            ..Matrix::new(numbers)
        }
    }

    /// With a factor for each row, if there are any.
    pub(super) fn scale_rows(self, row_scale: Option<&'a [f32]>) -> Matrix<'a> {
        Matrix { row_scale, ..self }
    }

    /// With a vector whose products with the unscaled columns are wanted too; the matrix must be a transposed one.
    pub(super) fn times(self, vector: Option<&'a [f32]>) -> Matrix<'a> {
        assert!(self.is_transposed, "products are taken column by column");
        Matrix { vector, ..self }
    }

    /// With a factor for each column, if there are any.
    pub(super) fn scale_columns(self, col_scale: Option<&'a [f32]>) -> Matrix<'a> {
        Matrix { col_scale, ..self }
    }
}

/// Panels of three vectors; columns beyond the matrix are zero, and so are rows up to a whole word.
pub(super) struct Packed {
    numbers: Buffer<f32>,
    /// Rows of words.
    pub(super) words: usize,
    /// Products of the unscaled columns with the matrix's vector, zero without one; padded to whole panels.
    pub(super) products: Vec<f32>,
}

impl Packed {
    /// Packs the first `k` rows and `cols` columns, in parallel; `rows ≥ k` rows of numbers are there afterwards, the
    /// last ones zero.
    pub(super) fn new<T: Number>(isa: Isa, k: usize, rows: usize, cols: usize, matrix: Matrix) -> Packed {
        assert_eq!(matrix.numbers.len(), k * cols, "numbers of a {k} × {cols} matrix");
        assert!(
            matrix.vector.is_none_or(|vector| vector.len() == k),
            "a vector of {k} rows"
        );
        assert!(
            matrix.row_scale.is_none_or(|scale| scale.len() == k),
            "factors of {k} rows"
        );
        assert!(
            matrix.col_scale.is_none_or(|scale| scale.len() == cols),
            "factors of {cols} columns"
        );
        let words = rows.div_ceil(T::PER_WORD);
        let width = 3 * isa.lanes();
        let panels = cols.div_ceil(width);
        let mut numbers = Buffer::new(panels * words * width);
        let mut products = vec![0.0; panels * width];
        let (start, sums) = (Shared::new(&mut numbers), Shared::new(&mut products));
        parallel_for(panels, |panel| {
            // SAFETY: panel `panel` is `words·width` numbers of `numbers`, `width` of `products`, and no other task's.
            let (to, products) = unsafe {
                (
                    std::slice::from_raw_parts_mut(start.at(panel * words * width), words * width),
                    std::slice::from_raw_parts_mut(sums.at(panel * width), width),
                )
            };
            enter(
                isa,
                PackPanel::<T> {
                    to,
                    products,
                    panel,
                    k,
                    cols,
                    matrix,
                    kind: std::marker::PhantomData,
                },
            );
        });
        Packed {
            numbers,
            words,
            products,
        }
    }

    /// The first word.
    pub(super) fn start(&self) -> *const f32 {
        self.numbers.as_ptr()
    }
}

struct PackPanel<'a, T> {
    to: &'a mut [f32],
    products: &'a mut [f32],
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
        let first = self.panel * width;
        let used = width.min(self.cols - first);
        let words = self.k.div_ceil(T::PER_WORD);
        let (matrix, padding) = self.to.split_at_mut(words * width);
        padding.fill(0.0);
        if used < width {
            matrix.fill(0.0);
        }
        let panel = Panel::<T> {
            to: matrix.as_mut_ptr(),
            width,
            first,
            used,
            k: self.k,
            cols: self.cols,
            matrix: self.matrix,
            kind: std::marker::PhantomData,
        };
        // SAFETY: the panel is `words` rows of `width`; `Packed::new` checked the matrix.
        unsafe {
            if self.matrix.is_transposed {
                panel.pack_columns::<L>(self.products);
            } else {
                panel.pack_rows::<L>();
            }
        }
    }
}

/// Columns `first .. first + used` of a matrix on their way to a panel.
struct Panel<'a, T> {
    to: *mut f32,
    width: usize,
    first: usize,
    used: usize,
    k: usize,
    cols: usize,
    matrix: Matrix<'a>,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number> Panel<'_, T> {
    /// Row by row: both sides are contiguous.
    #[inline(always)]
    unsafe fn pack_rows<L: Lanes>(&self) {
        let m = &self.matrix;
        for word in 0..self.k.div_ceil(T::PER_WORD) {
            for (at, n) in vectors::<L>(self.used) {
                // SAFETY: the caller's; a vector of a panel is whole.
                unsafe {
                    let col = self.first + at;
                    let scale = match m.col_scale {
                        Some(scale) => f32::load_n::<L>(scale.as_ptr().add(col), n),
                        None => L::splat(1.0),
                    };
                    let mut both = [L::splat(0.0); 2];
                    let row = word * T::PER_WORD;
                    for (i, values) in both.iter_mut().enumerate().take(T::PER_WORD.min(self.k - row)) {
                        let from = m.numbers.as_ptr().add((row + i) * self.cols + col);
                        let factor = m.row_scale.map_or(1.0, |scale| scale[row + i]);
                        *values = L::mul(L::mul(f32::load_n::<L>(from, n), scale), L::splat(factor));
                    }
                    T::store_words::<L>(self.to.add(word * self.width + at), both);
                }
            }
        }
    }

    /// Column by column: a vector along `k`, rounded, is a run of words, one for each row of the panel.
    #[inline(always)]
    unsafe fn pack_columns<L: Lanes>(&self, products: &mut [f32]) {
        /// Vectors along `k` whose rows of the panel stay in the first cache while columns pass.
        const BLOCK: usize = 4;
        for block in (0..self.k).step_by(BLOCK * L::N) {
            let len = (BLOCK * L::N).min(self.k - block);
            for (j, product) in products.iter_mut().enumerate().take(self.used) {
                // SAFETY: the caller's.
                unsafe {
                    let mut sum = L::splat(0.0);
                    for (at, n) in vectors::<L>(len) {
                        sum = self.pack_column::<L>(j, block + at, n, sum);
                    }
                    *product += L::sum(sum);
                }
            }
        }
    }

    /// Rows `at .. at + n` of column `j`; returns `sum` and their product with the vector.
    #[inline(always)]
    unsafe fn pack_column<L: Lanes>(&self, j: usize, at: usize, n: usize, sum: L::V) -> L::V {
        let m = &self.matrix;
        let col = self.first + j;
        // SAFETY: the caller's; 16 words hold a vector of every `L`.
        unsafe {
            let scale = match m.row_scale {
                Some(scale) => f32::load_n::<L>(scale.as_ptr().add(at), n),
                None => L::splat(1.0),
            };
            let factor = match m.col_scale {
                Some(scale) => L::splat(*scale.as_ptr().add(col)),
                None => L::splat(1.0),
            };
            let values = f32::load_n::<L>(m.numbers.as_ptr().add(col * self.k + at), n);
            let sum = match m.vector {
                Some(vector) => L::fma(f32::load_n::<L>(vector.as_ptr().add(at), n), values, sum),
                None => sum,
            };
            let values = L::mul(L::mul(values, scale), factor);
            let mut words = MaybeUninit::<[f32; 16]>::uninit();
            T::store::<L>(words.as_mut_ptr().cast(), values);
            let words = words.as_ptr().cast::<f32>();
            let to = self.to.add(at / T::PER_WORD * self.width + j);
            if n == L::N {
                for word in 0..L::N / T::PER_WORD {
                    *to.add(word * self.width) = *words.add(word);
                }
            } else {
                for word in 0..n.div_ceil(T::PER_WORD) {
                    *to.add(word * self.width) = *words.add(word);
                }
            }
            sum
        }
    }
}
