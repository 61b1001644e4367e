//! What happens to a finished tile of each matrix product.

use std::mem::MaybeUninit;

use super::gelu::gelu_with_derivative;
use super::gemm::Epilogue;
use super::lanes::Lanes;
use super::number::Number;

/// A finished tile in memory.
///
/// Epilogues with branches or long bodies are not unrolled over a tile; indexed in a loop, the sums would live in memory
/// from the product's first step on. So such an epilogue moves them there itself.
struct Tile<L: Lanes, const M: usize, const W: usize>([[MaybeUninit<L::V>; W]; M]);

impl<L: Lanes, const M: usize, const W: usize> Tile<L, M, W> {
    #[inline(always)]
    unsafe fn new(acc: &[[L::V; W]; M]) -> Tile<L, M, W> {
        let mut tile = [[MaybeUninit::<L::V>::uninit(); W]; M];
        for (to, from) in tile.iter_mut().zip(acc) {
            for (to, from) in to.iter_mut().zip(from) {
                // SAFETY: room for a vector; the CPU has `L`.
                unsafe { L::store(to.as_mut_ptr().cast(), *from) };
            }
        }
        Tile(tile)
    }

    #[inline(always)]
    unsafe fn at(&self, row: usize, vector: usize) -> L::V {
        // SAFETY: `new` wrote all of them.
        unsafe { L::load(self.0[row][vector].as_ptr().cast()) }
    }
}

/// First product: `h = acc + bias` if it is kept, `a = GELU(h)`, and `Σ a²` per column.
pub(super) struct Hidden<T> {
    /// `[H]`.
    pub(super) bias: *const f32,
    /// `[rows, H]`, or null.
    pub(super) h: *mut T,
    /// `[rows, H]`.
    pub(super) a: *mut T,
    /// `[H]`, added to.
    pub(super) squares: *mut f32,
    /// Numbers per row, `H`.
    pub(super) stride: usize,
}

impl<T: Number, L: Lanes> Epilogue<L> for Hidden<T> {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: rows and columns are inside the buffers, whose rows are padded to whole vectors.
        unsafe {
            let tile = Tile::<L, M, W>::new(acc);
            for w in 0..W {
                let at = col + w * L::N;
                let bias = L::load(self.bias.add(at));
                let mut squares = L::load(self.squares.add(at));
                for i in 0..M {
                    let place = (row + i) * self.stride + at;
                    let h = T::rounded::<L>(L::add(tile.at(i, w), bias));
                    if !self.h.is_null() {
                        T::store::<L>(self.h.add(place), h);
                    }
                    let (a, _) = gelu_with_derivative::<T, L>(h);
                    T::store::<L>(self.a.add(place), a);
                    squares = L::fma(a, a, squares);
                }
                L::store(self.squares.add(at), squares);
            }
        }
    }
}

/// Second product: `y = x + factor·(acc + bias)`.
pub(super) struct Residual<T> {
    /// `[C]`.
    pub(super) bias: *const f32,
    /// `[rows, C]`.
    pub(super) x: *const T,
    /// `[rows, C]`.
    pub(super) y: *mut T,
    /// DropPath's factor of this image.
    pub(super) factor: f32,
    /// Numbers per row, `C`.
    pub(super) stride: usize,
}

impl<T: Number, L: Lanes> Epilogue<L> for Residual<T> {
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
            let tile = Tile::<L, M, W>::new(acc);
            for w in 0..W {
                let at = col + w * L::N;
                let n = L::N.min(self.stride - at);
                let bias = f32::load_n::<L>(self.bias.add(at), n);
                for i in 0..M {
                    let place = (row + i) * self.stride + at;
                    let x = T::load_n::<L>(self.x.add(place), n);
                    let y = L::fma(L::add(tile.at(i, w), bias), L::splat(factor), x);
                    T::store_n::<L>(self.y.add(place), y, n);
                }
            }
        }
    }
}

/// Gradient of the calibrated hidden layer: stores it, GELU and its derivative, and adds `Σ dz·a` per column.
pub(super) struct HiddenGradient<T> {
    /// `[rows, dz_stride]`.
    pub(super) dz: *mut T,
    /// Numbers per row of `dz`.
    pub(super) dz_stride: usize,
    /// What GELU was taken of, `[rows, H]`.
    pub(super) h: *const T,
    /// `[rows, H]`.
    pub(super) a: *mut T,
    /// GELU's derivative, `[rows, H]`.
    pub(super) slope: *mut T,
    /// `[H]`, added to.
    pub(super) dots: *mut f32,
    /// Numbers per row of the hidden layer, `H`.
    pub(super) stride: usize,
}

impl<T: Number, L: Lanes> Epilogue<L> for HiddenGradient<T> {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: as above.
        unsafe {
            let tile = Tile::<L, M, W>::new(acc);
            for w in 0..W {
                let at = col + w * L::N;
                let mut dots = L::load(self.dots.add(at));
                for i in 0..M {
                    let dz = tile.at(i, w);
                    T::store::<L>(self.dz.add((row + i) * self.dz_stride + at), dz);
                    let place = (row + i) * self.stride + at;
                    let (a, slope) = gelu_with_derivative::<T, L>(T::load::<L>(self.h.add(place)));
                    T::store::<L>(self.a.add(place), a);
                    T::store::<L>(self.slope.add(place), slope);
                    dots = L::fma(dz, a, dots);
                }
                L::store(self.dots.add(at), dots);
            }
        }
    }
}

/// `c = acc + bias`, rows of `stride` numbers.
pub(super) struct Store<T> {
    /// `[rows, stride]`.
    pub(super) c: *mut T,
    /// `[stride]`, or null.
    pub(super) bias: *const f32,
    /// Numbers per row.
    pub(super) stride: usize,
}

impl<T: Number, L: Lanes> Epilogue<L> for Store<T> {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: as above; the last vector of a row is partial.
        unsafe {
            let tile = Tile::<L, M, W>::new(acc);
            for w in 0..W {
                let at = col + w * L::N;
                let n = L::N.min(self.stride - at);
                let bias = if self.bias.is_null() {
                    L::splat(0.0)
                } else {
                    f32::load_n::<L>(self.bias.add(at), n)
                };
                for i in 0..M {
                    let to = self.c.add((row + i) * self.stride + at);
                    T::store_n::<L>(to, L::add(tile.at(i, w), bias), n);
                }
            }
        }
    }
}

/// `c += acc`, or `c = acc` the first time; rows of `stride` numbers.
pub(super) struct Accumulate {
    /// `[rows, stride]`.
    pub(super) c: *mut f32,
    /// Numbers per row.
    pub(super) stride: usize,
    /// Whether nothing is in `c` yet.
    pub(super) is_first: bool,
}

impl<L: Lanes> Epilogue<L> for Accumulate {
    #[inline(always)]
    unsafe fn finish<const M: usize, const W: usize>(
        &mut self,
        row: usize,
        col: usize,
        acc: &[[L::V; W]; M],
    ) {
        // SAFETY: as above; the last vector of a row is partial.
        unsafe {
            let tile = Tile::<L, M, W>::new(acc);
            for i in 0..M {
                for w in 0..W {
                    let at = col + w * L::N;
                    let n = L::N.min(self.stride - at);
                    let to = self.c.add((row + i) * self.stride + at);
                    let sum = if self.is_first {
                        tile.at(i, w)
                    } else {
                        L::add(f32::load_n::<L>(to, n), tile.at(i, w))
                    };
                    f32::store_n::<L>(to, sum, n);
                }
            }
        }
    }
}
