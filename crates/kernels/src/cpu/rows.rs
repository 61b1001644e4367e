//! Small loops over rows: LayerNorm forward and backward, sums, and rows in pairs for products over rows.

use super::lanes::Lanes;
use super::number::Number;
use crate::pointwise::LAYER_NORM_EPS;

/// The vectors of a row of `n` numbers: offset and length (`L::N`, or less at the end).
///
/// An iterator and no closure: a closure is a function of its own, compiled without the kernel's instructions.
#[inline(always)]
pub(super) fn vectors<L: Lanes>(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).step_by(L::N).map(move |at| (at, L::N.min(n - at)))
}

/// Mean and `1 / √(var + 1e-6)` of `c` numbers.
///
/// # Safety
/// The CPU must have `L`; pointers must hold the numbers named. So for all functions here.
#[inline(always)]
pub(super) unsafe fn statistics<T: Number, L: Lanes>(x: *const T, c: usize) -> (f32, f32) {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = L::splat(0.0);
        for (at, n) in vectors::<L>(c) {
            sum = L::add(sum, T::load_n::<L>(x.add(at), n));
        }
        let mean = L::sum(sum) / c as f32;
        let mut squares = L::splat(0.0);
        for at in (0..c - c % L::N).step_by(L::N) {
            let centred = L::sub(T::load::<L>(x.add(at)), L::splat(mean));
            squares = L::fma(centred, centred, squares);
        }
        let mut square_sum = L::sum(squares);
        for i in c - c % L::N..c {
            square_sum += ((*x.add(i)).to_f32() - mean).powi(2);
        }
        (mean, 1.0 / (square_sum / c as f32 + LAYER_NORM_EPS as f32).sqrt())
    }
}

/// `to = (x − mean)·rstd` over `c` numbers; returns `rstd = 1 / √(var + 1e-6)`.
#[inline(always)]
pub(super) unsafe fn normalise<X: Number, T: Number, L: Lanes>(x: *const X, to: *mut T, c: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let (mean, rstd) = statistics::<X, L>(x, c);
        for (at, n) in vectors::<L>(c) {
            let centred = L::sub(X::load_n::<L>(x.add(at), n), L::splat(mean));
            T::store_n::<L>(to.add(at), L::mul(centred, L::splat(rstd)), n);
        }
        rstd
    }
}

/// LayerNorm backward: `to = rstd·(g − mean(g) − x̂·mean(g·x̂))`; `to` may be `g`.
#[inline(always)]
pub(super) unsafe fn normalise_backward<T: Number, Y: Number, L: Lanes>(
    g: *const f32,
    normalised: *const T,
    rstd: f32,
    to: *mut Y,
    c: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let (mut sum, mut dot) = (L::splat(0.0), L::splat(0.0));
        for (at, n) in vectors::<L>(c) {
            let v = f32::load_n::<L>(g.add(at), n);
            sum = L::add(sum, v);
            dot = L::fma(v, T::load_n::<L>(normalised.add(at), n), dot);
        }
        let mean = L::splat(L::sum(sum) / c as f32);
        let slope = L::splat(-L::sum(dot) / c as f32);
        for (at, n) in vectors::<L>(c) {
            let v = L::sub(f32::load_n::<L>(g.add(at), n), mean);
            let v = L::fma(T::load_n::<L>(normalised.add(at), n), slope, v);
            Y::store_n::<L>(to.add(at), L::mul(v, L::splat(rstd)), n);
        }
    }
}

/// `sums[c] += Σ_rows x[row, c]`, rows of `stride` numbers.
#[inline(always)]
pub(super) unsafe fn add_rows<T: Number, L: Lanes>(
    x: *const T,
    stride: usize,
    rows: usize,
    c: usize,
    sums: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        for (at, n) in vectors::<L>(c) {
            let mut sum = f32::load_n::<L>(sums.add(at), n);
            for row in 0..rows {
                sum = L::add(sum, T::load_n::<L>(x.add(row * stride + at), n));
            }
            f32::store_n::<L>(sums.add(at), sum, n);
        }
    }
}

/// `to[row] = factor·from[row]` for rows of `c` numbers, written with `stride ≥ c` and zeros in between.
#[inline(always)]
pub(super) unsafe fn scale_rows<T: Number, L: Lanes>(
    from: *const T,
    factor: f32,
    to: *mut T,
    stride: usize,
    rows: usize,
    c: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        for row in 0..rows {
            let (from, to) = (from.add(row * c), to.add(row * stride));
            for (at, n) in vectors::<L>(c) {
                let v = L::mul(T::load_n::<L>(from.add(at), n), L::splat(factor));
                T::store_n::<L>(to.add(at), v, n);
            }
            pad::<T>(to, c, stride);
        }
    }
}

/// Zeros from `c` up to `stride`.
#[inline(always)]
pub(super) unsafe fn pad<T: Number>(row: *mut T, c: usize, stride: usize) {
    for i in c..stride {
        // SAFETY: the caller's: the row holds `stride` numbers.
        unsafe { *row.add(i) = T::ZERO };
    }
}

/// Rows of `stride` numbers → words that hold the same column of `PER_WORD` rows, `to_stride` words per row of words;
/// a missing last row is zero. A product can then sum over rows.
#[inline(always)]
pub(super) unsafe fn pair_rows<T: Number, L: Lanes>(
    from: *const T,
    stride: usize,
    rows: usize,
    c: usize,
    to: *mut f32,
    to_stride: usize,
) {
    // SAFETY: the caller's: rows of words hold whole vectors.
    unsafe {
        for word in 0..rows.div_ceil(T::PER_WORD) {
            for (at, n) in vectors::<L>(c) {
                let both = word_rows::<T, L>(from.add(at), stride, rows, word, n);
                T::store_words::<L>(to.add(word * to_stride + at), both);
            }
        }
    }
}

/// A vector of columns of the rows of a word; a missing row is zero.
#[inline(always)]
pub(super) unsafe fn word_rows<T: Number, L: Lanes>(
    from: *const T,
    stride: usize,
    rows: usize,
    word: usize,
    n: usize,
) -> [L::V; 2] {
    // SAFETY: the caller's.
    unsafe {
        let first = word * T::PER_WORD;
        let mut both = [L::splat(0.0); 2];
        both[0] = T::load_n::<L>(from.add(first * stride), n);
        if T::PER_WORD == 2 && first + 1 < rows {
            both[1] = T::load_n::<L>(from.add((first + 1) * stride), n);
        }
        both
    }
}
