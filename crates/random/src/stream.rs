//! A stream of draws keyed by seed, purpose, epoch and sample.

use crate::beta;
use crate::normal;
use crate::philox::{philox4x32_10, split};
use crate::purpose::Purpose;

/// A Philox4x32-10 stream: 48 bytes, no allocation, cheap to make (one block) and to clone.
///
/// **How the four values fill key and counter.** Seed, purpose, epoch and sample are 224 bits, and the
/// place in the stream comes on top; key and counter hold 192. So the key is derived in one Philox block
/// and the rest is counted:
///
/// ```text
/// derived = philox(counter = [epoch low, epoch high, purpose, 0], key = [seed low, seed high])
/// block b = philox(counter = [b low, b high, sample low, sample high], key = [derived[0], derived[1]])
/// ```
///
/// For one (seed, purpose, epoch), different samples and different places never share a counter: their
/// streams cannot overlap. Two different (seed, purpose, epoch) share a derived key with probability
/// 2⁻⁶⁴. Words of a block are used from first to last; 64-bit draws take the low word first.
#[derive(Debug, Clone)]
pub struct Stream {
    key: [u32; 2],
    sample: u64,
    next_block: u64,
    block: [u32; 4],
    used: usize,
}

impl Stream {
    /// The stream of draws for one decision; see the type for what the four values mean.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose, epoch: u64, sample: u64) -> Stream {
        let (seed_high, seed_low) = split(seed);
        let (epoch_high, epoch_low) = split(epoch);
        let derived = philox4x32_10(
            [epoch_low, epoch_high, purpose.number(), 0],
            [seed_low, seed_high],
        );
        Stream {
            key: [derived[0], derived[1]],
            sample,
            next_block: 0,
            block: [0; 4],
            used: 4,
        }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.refill();
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        let high = u64::from(self.next_u32());
        high << 32 | low
    }

    /// Uniform in `[0, 1)`, a multiple of 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * UNIT
    }

    /// Uniform in `[lo, hi)`; `lo` when the two are equal.
    pub fn uniform_in(&mut self, lo: f64, hi: f64) -> f64 {
        let value = lo + (hi - lo) * self.uniform();
        // The product can round up to the bound itself, which does not belong to the interval.
        if value >= hi && hi > lo {
            hi.next_down()
        } else {
            value
        }
    }

    /// Uniform in `0..n`, without bias (Lemire 2019).
    ///
    /// # Panics
    /// When `n` is 0: there is nothing to draw from.
    pub fn below(&mut self, n: u32) -> u32 {
        assert!(n > 0, "below(0): an empty range has no element");
        let threshold = n.wrapping_neg() % n;
        loop {
            let (high, low) = split(u64::from(self.next_u32()) * u64::from(n));
            if low >= threshold {
                return high;
            }
        }
    }

    /// A draw from the standard normal distribution, by the inverse of its cumulative distribution (one
    /// [`next_u64`](Stream::next_u64) per draw; values reach ±8.2).
    pub fn normal(&mut self) -> f64 {
        normal::quantile(self.open_uniform())
    }

    /// A draw from the normal distribution of mean 0 and deviation `std`, given that it lies in
    /// `[lo, hi]` (absolute bounds, as in `trunc_normal_`: not multiples of `std`).
    ///
    /// By rejection: with the usual bounds (±2, deviation 0.02) the first draw is taken. Only where the
    /// interval is narrow or lies in a tail is the platform's `exp` compared with.
    ///
    /// # Panics
    /// When `std` is not positive or `lo < hi` does not hold.
    pub fn truncated_normal(&mut self, std: f64, lo: f64, hi: f64) -> f64 {
        assert!(
            std > 0.0 && lo < hi,
            "truncated_normal({std}, {lo}, {hi}): needs std > 0 and lo < hi"
        );
        (std * normal::truncated(self, lo / std, hi / std)).clamp(lo, hi)
    }

    /// A draw from Beta(a, b), in `[0, 1]`.
    ///
    /// # Panics
    /// When a shape is not positive and finite.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let valid = |shape: f64| shape > 0.0 && shape.is_finite();
        assert!(valid(a) && valid(b), "beta({a}, {b}): shapes must be above 0");
        beta::beta(self, a, b)
    }

    /// `true` with probability `p` (never for `p ≤ 0`, always for `p ≥ 1`).
    pub fn bernoulli(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A uniform permutation of `0..n` (Fisher–Yates).
    ///
    /// # Panics
    /// When `n` exceeds `u32::MAX`.
    pub fn permutation(&mut self, n: usize) -> Vec<u32> {
        let n = u32::try_from(n).expect("permutation: at most u32::MAX elements, as its doc says");
        let mut order: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i as usize, self.below(i + 1) as usize);
        }
        order
    }

    /// Uniform in the open interval `(0, 1)`, symmetric about one half.
    pub(crate) fn open_uniform(&mut self) -> f64 {
        // 52 bits and a half: the largest value, 1 − 2⁻⁵³, is still below one when rounded.
        ((self.next_u64() >> 12) as f64 + 0.5) * (2.0 * UNIT)
    }

    fn refill(&mut self) {
        let (block_high, block_low) = split(self.next_block);
        let (sample_high, sample_low) = split(self.sample);
        self.block = philox4x32_10([block_low, block_high, sample_low, sample_high], self.key);
        self.next_block += 1;
        self.used = 0;
    }
}

/// 2⁻⁵³.
const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn stream(sample: u64) -> Stream {
        Stream::new(42, Purpose::Verify, 1, sample)
    }

    /// These draws decide masks, crops and initial weights of every run ever made: never change them.
    /// The values come from an independent implementation of the documented formulas (in Python).
    #[test]
    fn draws_are_pinned() {
        let mut s = Stream::new(0, Purpose::Order, 0, 0);
        let drawn: Vec<u32> = (0..5).map(|_| s.next_u32()).collect();
        assert_eq!(
            drawn,
            [
                351_652_067,
                1_906_269_483,
                3_602_235_307,
                2_240_188_715,
                1_084_134_040
            ]
        );
        let mut s = Stream::new(42, Purpose::Mask, 7, 123_456_789_012);
        assert_eq!(s.next_u64(), 10_542_799_909_394_497_489);
        assert_eq!(s.uniform(), 0.070_981_380_074_872_42);
        assert_eq!(s.below(1000), 198);
        assert_eq!(s.normal(), 0.899_885_873_898_241_8);
        assert_eq!(s.truncated_normal(0.02, -2.0, 2.0), 0.011_454_870_226_376_944);
        assert_eq!(s.permutation(8), [1, 6, 2, 3, 0, 7, 5, 4]);
    }

    #[test]
    fn the_first_block_is_the_documented_formula() {
        let (seed, epoch, sample) = (
            0x1122_3344_5566_7788_u64,
            0x99aa_bbcc_u64 << 20,
            0xdead_beef_0bad_cafe_u64,
        );
        let derived = philox4x32_10(
            [epoch as u32, (epoch >> 32) as u32, Purpose::Init.number(), 0],
            [seed as u32, (seed >> 32) as u32],
        );
        let key = [derived[0], derived[1]];
        let block = |b| philox4x32_10([b, 0, sample as u32, (sample >> 32) as u32], key);
        let mut s = Stream::new(seed, Purpose::Init, epoch, sample);
        let drawn: Vec<u32> = (0..8).map(|_| s.next_u32()).collect();
        assert_eq!(drawn, [block(0), block(1)].concat());
    }

    #[test]
    fn each_of_the_four_values_makes_another_stream() {
        let mut seen = HashSet::new();
        for bit in 0..64 {
            let v = 1_u64 << bit;
            assert!(
                seen.insert(Stream::new(v, Purpose::Order, 0, 0).next_u64()),
                "seed bit {bit}"
            );
            assert!(
                seen.insert(Stream::new(0, Purpose::Order, v, 0).next_u64()),
                "epoch bit {bit}"
            );
            assert!(
                seen.insert(Stream::new(0, Purpose::Order, 0, v).next_u64()),
                "sample bit {bit}"
            );
        }
        assert!(
            seen.insert(Stream::new(0, Purpose::Augment, 0, 0).next_u64()),
            "purpose"
        );
    }

    #[test]
    fn uniform_fills_the_unit_interval() {
        let mut s = stream(0);
        let n = 100_000;
        let mut bins = [0_u32; 10];
        for _ in 0..n {
            bins[(s.uniform() * 10.0) as usize] += 1;
        }
        // Chi-squared with 9 degrees of freedom exceeds 33.7 once in 10 000; the draws are fixed.
        let chi2: f64 = bins.iter().map(|&b| (f64::from(b) - 1e4).powi(2) / 1e4).sum();
        assert!(chi2 < 33.7, "{chi2}");
    }

    #[test]
    fn below_reaches_every_value_equally() {
        let mut s = stream(1);
        let mut counts = [0_u32; 6];
        (0..60_000).for_each(|_| counts[s.below(6) as usize] += 1);
        assert!(counts.iter().all(|&c| (9_500..10_500).contains(&c)), "{counts:?}");
    }

    #[test]
    fn bernoulli_keeps_its_probability() {
        let mut s = stream(2);
        let hits = (0..100_000).filter(|_| s.bernoulli(0.3)).count();
        assert!((29_000..31_000).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| s.bernoulli(0.0)) && (0..1000).all(|_| s.bernoulli(1.0)));
    }

    #[test]
    fn permutations_of_three_are_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        (0..12_000).for_each(|i| *counts.entry(stream(i).permutation(3)).or_insert(0) += 1);
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|c| (1_800..2_200).contains(c)), "{counts:?}");
    }

    #[test]
    fn uniform_in_of_one_point_is_that_point() {
        assert_eq!(stream(3).uniform_in(1.5, 1.5), 1.5);
    }

    #[test]
    #[should_panic(expected = "below(0)")]
    fn below_zero_is_a_callers_mistake() {
        stream(4).below(0);
    }

    proptest! {
        #[test]
        fn permutation_holds_each_index_once(seed: u64, sample: u64, n in 0_usize..300) {
            let mut order = Stream::new(seed, Purpose::Order, 0, sample).permutation(n);
            order.sort_unstable();
            prop_assert_eq!(order, (0..n as u32).collect::<Vec<_>>());
        }

        #[test]
        fn draws_stay_in_range(seed: u64, n in 1_u32.., lo in -1e6_f64..1e6, width in 1e-9_f64..1e6) {
            let mut s = Stream::new(seed, Purpose::Verify, 0, 0);
            prop_assert!(s.below(n) < n);
            let (u, hi) = (s.uniform(), lo + width);
            prop_assert!((0.0..1.0).contains(&u));
            let v = s.uniform_in(lo, hi);
            prop_assert!(lo <= v && (v < hi || lo == hi));
            let open = s.open_uniform();
            prop_assert!(0.0 < open && open < 1.0);
        }
    }
}
