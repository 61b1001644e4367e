//! What happens to a finished tile of each of the block's six matrix products.

use super::gelu::gelu_with_derivative;
use super::gemm::Epilogue;
use super::lanes::Lanes;

/// First product: `a = GELU(acc + bias)`, `gelu' `, and `Σ a²` per column.
pub(super) struct Hidden {
    /// `[H]`.
    pub(super) bias: *const f32,
    /// `[rows, H]`.
    pub(super) a: *mut f32,
    /// `[rows, H]`.
    pub(super) slope: *mut f32,
    /// `[H]`, added to.
    pub(super) squares: *mut f32,
    /// Numbers per row, `H`.
    pub(super) stride: usize,
}

impl<L: Lanes> Epilogue<L> for Hidden {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: rows and columns are inside the buffers, whose rows are padded to whole vectors.
        unsafe {
            for w in 0..W {
                let at = col + w * L::N;
                let bias = L::load(self.bias.add(at));
                let mut squares = L::load(self.squares.add(at));
                for (i, sums) in acc.iter().enumerate() {
                    let (a, slope) = gelu_with_derivative::<L>(L::add(sums[w], bias));
                    let place = (row + i) * self.stride + at;
                    L::store(self.a.add(place), a);
                    L::store(self.slope.add(place), slope);
                    squares = L::fma(a, a, squares);
                }
                L::store(self.squares.add(at), squares);
            }
        }
    }
}

/// Second product: `y = x + factor·(acc + bias)`.
pub(super) struct Residual {
    /// `[C]`.
    pub(super) bias: *const f32,
    /// `[rows, C]`.
    pub(super) x: *const f32,
    /// `[rows, C]`.
    pub(super) y: *mut f32,
    /// DropPath's factor of this image.
    pub(super) factor: f32,
    /// Numbers per row, `C`.
    pub(super) stride: usize,
}

impl<L: Lanes> Epilogue<L> for Residual {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        let factor = self.factor;
        // SAFETY: as above; the last vector of a row is partial.
        unsafe {
            for w in 0..W {
                let at = col + w * L::N;
                let n = L::N.min(self.stride - at);
                let bias = L::load_part_or_all(self.bias.add(at), n);
                for (i, sums) in acc.iter().enumerate() {
                    let place = (row + i) * self.stride + at;
                    let x = L::load_part_or_all(self.x.add(place), n);
                    let y = L::fma(L::add(sums[w], bias), L::splat(factor), x);
                    L::store_part_or_all(self.y.add(place), y, n);
                }
            }
        }
    }
}

/// Gradient of the calibrated hidden layer: stores it and adds `Σ dz·a` per column.
pub(super) struct HiddenGradient {
    /// `[rows, H]`.
    pub(super) dz: *mut f32,
    /// `[rows, H]`.
    pub(super) a: *const f32,
    /// `[H]`, added to.
    pub(super) dots: *mut f32,
    /// Numbers per row, `H`.
    pub(super) stride: usize,
}

impl<L: Lanes> Epilogue<L> for HiddenGradient {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: as above.
        unsafe {
            for w in 0..W {
                let at = col + w * L::N;
                let mut dots = L::load(self.dots.add(at));
                for (i, sums) in acc.iter().enumerate() {
                    let place = (row + i) * self.stride + at;
                    L::store(self.dz.add(place), sums[w]);
                    dots = L::fma(sums[w], L::load(self.a.add(place)), dots);
                }
                L::store(self.dots.add(at), dots);
            }
        }
    }
}

/// `c = acc`, rows of `stride` numbers.
pub(super) struct Store {
    /// `[rows, stride]`.
    pub(super) c: *mut f32,
    /// Numbers per row.
    pub(super) stride: usize,
}

impl<L: Lanes> Epilogue<L> for Store {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: as above; the last vector of a row is partial.
        unsafe {
            for (i, sums) in acc.iter().enumerate() {
                for (w, sum) in sums.iter().enumerate() {
                    let at = col + w * L::N;
                    let n = L::N.min(self.stride - at);
                    L::store_part_or_all(self.c.add((row + i) * self.stride + at), *sum, n);
                }
            }
        }
    }
}

/// `c += acc`, rows of `stride` numbers, a multiple of the vector length.
pub(super) struct Accumulate {
    /// `[rows, stride]`.
    pub(super) c: *mut f32,
    /// Numbers per row.
    pub(super) stride: usize,
}

impl<L: Lanes> Epilogue<L> for Accumulate {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: as above.
        unsafe {
            for (i, sums) in acc.iter().enumerate() {
                for (w, sum) in sums.iter().enumerate() {
                    let to = self.c.add((row + i) * self.stride + col + w * L::N);
                    L::store(to, L::add(L::load(to), *sum));
                }
            }
        }
    }
}
