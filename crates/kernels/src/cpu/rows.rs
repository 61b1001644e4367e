//! Small loops over rows: LayerNorm forward and backward, sums, scalings.

use super::lanes::Lanes;
use crate::pointwise::LAYER_NORM_EPS;

/// The vectors of a row of `n` numbers: offset and length (`L::N`, or less at the end).
///
/// An iterator and no closure: a closure is a function of its own, compiled without the kernel's instructions.
#[inline(always)]
pub(super) fn vectors<L: Lanes>(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).step_by(L::N).map(move |at| (at, L::N.min(n - at)))
}

/// `(x − mean)·rstd` in place over `c` numbers; returns `rstd = 1 / √(var + 1e-6)`.
///
/// # Safety
/// The CPU must have `L`; `x` must hold `c` numbers. So for all functions here.
#[inline(always)]
pub(super) unsafe fn normalise<L: Lanes>(x: *mut f32, c: usize) -> f32 {
    // SAFETY: the caller's.
    unsafe {
        let mut sum = L::splat(0.0);
        for (at, n) in vectors::<L>(c) {
            sum = L::add(sum, L::load_part_or_all(x.add(at), n));
        }
        let mean = L::sum(sum) / c as f32;
        let mut squares = L::splat(0.0);
        for (at, n) in vectors::<L>(c) {
            if n == L::N {
                let centred = L::sub(L::load(x.add(at)), L::splat(mean));
                squares = L::fma(centred, centred, squares);
            }
        }
        let mut square_sum = L::sum(squares);
        for i in c - c % L::N..c {
            square_sum += (*x.add(i) - mean).powi(2);
        }
        let rstd = 1.0 / (square_sum / c as f32 + LAYER_NORM_EPS as f32).sqrt();
        for (at, n) in vectors::<L>(c) {
            let centred = L::sub(L::load_part_or_all(x.add(at), n), L::splat(mean));
            L::store_part_or_all(x.add(at), L::mul(centred, L::splat(rstd)), n);
        }
        rstd
    }
}

/// LayerNorm backward in place: `g ← rstd·(g − mean(g) − x̂·mean(g·x̂))`.
#[inline(always)]
pub(super) unsafe fn normalise_backward<L: Lanes>(g: *mut f32, normalised: *const f32, rstd: f32, c: usize) {
    // SAFETY: the caller's.
    unsafe {
        let (mut sum, mut dot) = (L::splat(0.0), L::splat(0.0));
        for (at, n) in vectors::<L>(c) {
            let v = L::load_part_or_all(g.add(at), n);
            sum = L::add(sum, v);
            dot = L::fma(v, L::load_part_or_all(normalised.add(at), n), dot);
        }
        let (mean, slope) = (
            L::splat(L::sum(sum) / c as f32),
            L::splat(-L::sum(dot) / c as f32),
        );
        for (at, n) in vectors::<L>(c) {
            let v = L::sub(L::load_part_or_all(g.add(at), n), mean);
            let v = L::fma(L::load_part_or_all(normalised.add(at), n), slope, v);
            L::store_part_or_all(g.add(at), L::mul(v, L::splat(rstd)), n);
        }
    }
}

/// `sums[c] += Σ_rows x[row, c]`.
#[inline(always)]
pub(super) unsafe fn add_rows<L: Lanes>(x: *const f32, rows: usize, c: usize, sums: *mut f32) {
    // SAFETY: the caller's.
    unsafe {
        for (at, n) in vectors::<L>(c) {
            let mut sum = L::load_part_or_all(sums.add(at), n);
            for row in 0..rows {
                sum = L::add(sum, L::load_part_or_all(x.add(row * c + at), n));
            }
            L::store_part_or_all(sums.add(at), sum, n);
        }
    }
}

/// `to = factor·from` over `n` numbers.
#[inline(always)]
pub(super) unsafe fn scale<L: Lanes>(from: *const f32, factor: f32, to: *mut f32, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        for (at, n) in vectors::<L>(n) {
            let v = L::mul(L::load_part_or_all(from.add(at), n), L::splat(factor));
            L::store_part_or_all(to.add(at), v, n);
        }
    }
}
