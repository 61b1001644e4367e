//! The beta distribution, as the share of one of two gamma draws.

use crate::normal::ln;
use crate::stream::Stream;

/// A draw from Beta(a, b): `x / (x + y)` of two gamma draws, whose logarithms are compared so that tiny
/// shapes neither vanish nor divide zero by zero.
pub(crate) fn beta(stream: &mut Stream, a: f64, b: f64) -> f64 {
    let (x, y) = (ln_gamma_draw(stream, a), ln_gamma_draw(stream, b));
    1.0 / (1.0 + libm::exp(y - x))
}

/// The logarithm of a draw from the gamma distribution of this shape and scale 1 (Marsaglia & Tsang 2000).
fn ln_gamma_draw(stream: &mut Stream, shape: f64) -> f64 {
    if shape < 1.0 {
        // Gamma(a) = Gamma(a + 1) · U^(1/a)
        let above = ln_gamma_draw(stream, shape + 1.0);
        return above + ln(stream.open_uniform()) / shape;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = stream.normal();
        let cube = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
        let u = stream.open_uniform();
        if cube > 0.0 && ln(u) < 0.5 * x * x + d * (1.0 - cube + ln(cube)) {
            return ln(d) + ln(cube);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Purpose, Stream};
    use proptest::prelude::*;

    /// Largest distance between the empirical and the true distribution function (Kolmogorov–Smirnov).
    fn distance(a: f64, b: f64, cdf: impl Fn(f64) -> f64) -> f64 {
        let n = 20_000;
        let mut stream = Stream::new(11, Purpose::Verify, 0, (a * 64.0) as u64);
        let mut draws: Vec<f64> = (0..n).map(|_| stream.beta(a, b)).collect();
        draws.sort_by(f64::total_cmp);
        let place = |i: usize| i as f64 / n as f64;
        draws
            .iter()
            .enumerate()
            .map(|(i, &x)| (cdf(x) - place(i)).abs().max((cdf(x) - place(i + 1)).abs()))
            .fold(0.0, f64::max)
    }

    #[test]
    fn the_distribution_is_beta() {
        // 2.2 / √n is exceeded once in 8 000 draws of such samples; these are fixed.
        let most = 2.2 / 20_000_f64.sqrt();
        let arcsine = |x: f64| 2.0 / std::f64::consts::PI * x.sqrt().asin();
        let check = |a, b, cdf: &dyn Fn(f64) -> f64| {
            let found = distance(a, b, cdf);
            assert!(found < most, "Beta({a}, {b}): {found} for at most {most}");
        };
        check(1.0, 1.0, &|x| x);
        check(2.0, 2.0, &|x| x * x * (3.0 - 2.0 * x));
        check(0.5, 0.5, &arcsine);
        check(3.0, 1.0, &|x| x.powi(3));
        check(0.3, 1.0, &|x| x.powf(0.3));
    }

    #[test]
    fn draws_are_pinned() {
        // An old run can be repeated only while these stay.
        let mut stream = Stream::new(42, Purpose::Mixup, 1, 0);
        assert_eq!(
            [
                stream.beta(0.8, 0.8),
                stream.beta(1.0, 1.0),
                stream.beta(0.3, 0.3)
            ],
            [
                0.440_243_229_306_461_87,
                0.021_493_803_383_597_35,
                0.030_037_736_054_802_956
            ]
        );
    }

    #[test]
    #[should_panic(expected = "beta(0, 1)")]
    fn shapes_of_zero_are_a_callers_mistake() {
        Stream::new(0, Purpose::Verify, 0, 0).beta(0.0, 1.0);
    }

    proptest! {
        #[test]
        fn draws_stay_in_the_unit_interval(seed: u64, a in 1e-3_f64..1e3, b in 1e-3_f64..1e3) {
            let draw = Stream::new(seed, Purpose::Verify, 0, 0).beta(a, b);
            prop_assert!((0.0..=1.0).contains(&draw), "{draw}");
        }
    }
}
