//! GRN between GELU and the second product: its factor forward, its gradient and GELU's backward.

use super::lanes::Lanes;
use super::number::Number;
use super::rows::vectors;
use crate::grn::GRN_EPS;

/// `γ·G / (mean G + eps) + 1` per channel.
pub(super) fn grn_scale(norms: &[f32], gamma: &[f32], h: usize, scale: &mut [f32]) {
    let divisor = norms.iter().sum::<f32>() / h as f32 + GRN_EPS as f32;
    for ((scale, g), gamma) in scale.iter_mut().zip(norms).zip(gamma) {
        *scale = gamma * (g / divisor) + 1.0;
    }
}

/// How the gradient passes through GRN's norm: `da = dz·scale + a·slope`, `slope = dG / G` (0 where `G` is 0).
pub(super) fn grn_slope(norms: &[f32], gamma: &[f32], dots: &[f32], h: usize, slope: &mut [f32]) {
    let divisor = norms.iter().sum::<f32>() / h as f32 + GRN_EPS as f32;
    let through_mean: f32 = dots
        .iter()
        .zip(gamma)
        .zip(norms)
        .map(|((dot, gamma), g)| dot * gamma * g)
        .sum();
    let through_mean = through_mean / (h as f32 * divisor * divisor);
    for (k, slope) in slope.iter_mut().enumerate() {
        let dg = dots[k] * gamma[k] / divisor - through_mean;
        *slope = if norms[k] > 0.0 { dg / norms[k] } else { 0.0 };
    }
}

/// The hidden layer of one image in a group.
pub(super) struct HiddenRows<T> {
    pub(super) rows: usize,
    pub(super) width: usize,
    /// Numbers per row of `dz`, words per row of the others.
    pub(super) spread: usize,
    pub(super) a: *const T,
    /// GELU's derivative.
    pub(super) gelu: *const T,
    /// In: `dz`; out: `dh`.
    pub(super) dz: *mut T,
    /// `dh` in words; null in f32.
    pub(super) dh_words: *mut f32,
    /// `a·factor` in words.
    pub(super) calibrated: *mut f32,
}

impl<T: Number> HiddenRows<T> {
    /// `dh = (dz·factor + a·slope)·gelu'`; `sums += Σ dh`.
    #[inline(always)]
    pub(super) unsafe fn backward<L: Lanes>(&self, factor: *const f32, slope: *const f32, sums: *mut f32) {
        /// Rows that stay in the first cache while columns pass.
        const BLOCK: usize = 32;
        for first in (0..self.rows).step_by(BLOCK) {
            let rows = BLOCK.min(self.rows - first);
            for (at, _) in vectors::<L>(self.width) {
                // SAFETY: the caller's: rows of `width` numbers, a multiple of the vector's.
                unsafe {
                    let (factor, slope) = (L::load(factor.add(at)), L::load(slope.add(at)));
                    let mut sum = L::load(sums.add(at));
                    let words = rows / T::PER_WORD;
                    for word in 0..words {
                        let row = first + word * T::PER_WORD;
                        sum = match T::PER_WORD {
                            1 => self.word::<L, 1>(row, at, factor, slope, sum),
                            _ => self.word::<L, 2>(row, at, factor, slope, sum),
                        };
                    }
                    if words * T::PER_WORD < rows {
                        let row = first + words * T::PER_WORD;
                        sum = self.word::<L, 1>(row, at, factor, slope, sum);
                    }
                    L::store(sums.add(at), sum);
                }
            }
        }
    }

    /// The `ROWS` rows of a word from `row` on, a vector of columns from `at` on; returns `sum + Σ dh`.
    #[inline(always)]
    unsafe fn word<L: Lanes, const ROWS: usize>(
        &self,
        row: usize,
        at: usize,
        factor: L::V,
        slope: L::V,
        mut sum: L::V,
    ) -> L::V {
        // SAFETY: the caller's.
        unsafe {
            let (mut dh, mut calibrated) = ([L::splat(0.0); 2], [L::splat(0.0); 2]);
            for i in 0..ROWS {
                let place = (row + i) * self.width + at;
                let a = T::load::<L>(self.a.add(place));
                calibrated[i] = L::mul(a, factor);
                let dz = self.dz.add((row + i) * self.spread + at);
                let da = L::fma(a, slope, L::mul(T::load::<L>(dz), factor));
                dh[i] = L::mul(da, T::load::<L>(self.gelu.add(place)));
                T::store::<L>(dz, dh[i]);
                sum = L::add(sum, dh[i]);
            }
            let place = row / T::PER_WORD * self.spread + at;
            T::store_words::<L>(self.calibrated.add(place), calibrated);
            if !self.dh_words.is_null() {
                T::store_words::<L>(self.dh_words.add(place), dh);
            }
            sum
        }
    }
}
