//! The normal distribution: its quantile function, and draws from a part of it.

use crate::stream::Stream;

/// The standard normal quantile `Φ⁻¹(p)` for `0 < p < 1` (Wichura 1988, AS 241, PPND16): relative error
/// about 1e-16, and only `+ − × ÷ √`, so that every machine draws the same bits.
pub(crate) fn quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&CENTRE_TOP, r) / polynomial(&CENTRE_BOTTOM, r);
    }
    let r = (-ln(if q < 0.0 { p } else { 1.0 - p })).sqrt();
    let x = if r <= 5.0 {
        polynomial(&TAIL_TOP, r - 1.6) / polynomial(&TAIL_BOTTOM, r - 1.6)
    } else {
        polynomial(&FAR_TOP, r - 5.0) / polynomial(&FAR_BOTTOM, r - 5.0)
    };
    x.copysign(q)
}

/// A standard normal draw given that it lies in `[a, b]`, `a < b`; both may be infinite.
pub(crate) fn truncated(stream: &mut Stream, a: f64, b: f64) -> f64 {
    if a > 0.0 {
        upper_tail(stream, a, b)
    } else if b < 0.0 {
        -upper_tail(stream, -b, -a)
    } else if b - a > 2.0 {
        reject(|| Some(stream.normal()).filter(|x| (a..=b).contains(x)))
    } else {
        uniform_proposal(stream, a, b, 0.0)
    }
}

/// `0 < a < b`: exponential proposals (Robert 1995), or uniform ones where the interval is narrow.
fn upper_tail(stream: &mut Stream, a: f64, b: f64) -> f64 {
    let rate = 0.5 * (a + (a * a + 4.0).sqrt());
    if b - a < 1.0 / rate {
        return uniform_proposal(stream, a, b, a);
    }
    reject(|| {
        let x = a - ln(stream.open_uniform()) / rate;
        let accepted = stream.uniform() < (-0.5 * (x - rate).powi(2)).exp();
        Some(x).filter(|x| accepted && *x <= b)
    })
}

/// Uniform proposals on `[a, b]`, taken with the density relative to that at `mode`.
fn uniform_proposal(stream: &mut Stream, a: f64, b: f64, mode: f64) -> f64 {
    reject(|| {
        let x = stream.uniform_in(a, b);
        // (mode − x)(mode + x), not mode² − x²: far out the squares would swallow the difference.
        let accepted = stream.uniform() < (0.5 * (mode - x) * (mode + x)).exp();
        Some(x).filter(|_| accepted)
    })
}

/// Repeats `draw` until it gives a value. Every caller's proposals are taken at least once in five times.
fn reject(mut draw: impl FnMut() -> Option<f64>) -> f64 {
    loop {
        if let Some(x) = draw() {
            return x;
        }
    }
}

/// `c[0] + c[1] x + … + c[7] x⁷` by Horner's rule.
fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, &c| sum * x + c)
}

/// The natural logarithm of a positive, normal number (after FreeBSD's `e_log.c`, error about one unit in
/// the last place). The standard library's `ln` is the platform's, whose last bit differs between systems.
pub(crate) fn ln(x: f64) -> f64 {
    const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const EVEN: [f64; 3] = [
        3.999_999_999_940_942e-1,
        2.222_219_843_214_978_4e-1,
        1.531_383_769_920_937_3e-1,
    ];
    const ODD: [f64; 4] = [
        6.666_666_666_666_735e-1,
        2.857_142_874_366_239e-1,
        1.818_357_216_161_805e-1,
        1.479_819_860_511_658_6e-1,
    ];
    // x = 2^exponent · m with √½ ≤ m < √2.
    let shifted = x.to_bits() + (0x3ff0_0000_0000_0000 - SQRT_HALF_BITS);
    let exponent = (shifted >> 52) as i32 - 0x3ff;
    let mantissa = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff) + SQRT_HALF_BITS);
    let f = mantissa - 1.0;
    let half_square = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (EVEN[0] + w * (EVEN[1] + w * EVEN[2]));
    let odd = z * (ODD[0] + w * (ODD[1] + w * (ODD[2] + w * ODD[3])));
    let k = f64::from(exponent);
    s * (half_square + even + odd) + k * LN2_LOW - half_square + f + k * LN2_HIGH
}

/// √½ with an empty low word, as the original cuts it.
const SQRT_HALF_BITS: u64 = 0x3fe6_a09e_0000_0000;

// Coefficients of AS 241, constant term first: |p − ½| ≤ 0.425, then √(−ln p) ≤ 5, then beyond.
const CENTRE_TOP: [f64; 8] = [
    3.3871328727963665,
    133.14166789178438,
    1971.5909503065513,
    13731.69376550946,
    45921.95393154987,
    67265.7709270087,
    33430.57558358813,
    2509.0809287301227,
];
const CENTRE_BOTTOM: [f64; 8] = [
    1.0,
    42.31333070160091,
    687.1870074920579,
    5394.196021424751,
    21213.794301586597,
    39307.89580009271,
    28729.085735721943,
    5226.495278852854,
];
const TAIL_TOP: [f64; 8] = [
    1.4234371107496835,
    4.630337846156546,
    5.769497221460691,
    3.6478483247632045,
    1.2704582524523684,
    0.2417807251774506,
    0.022723844989269184,
    0.0007745450142783414,
];
const TAIL_BOTTOM: [f64; 8] = [
    1.0,
    2.053191626637759,
    1.6763848301838038,
    0.6897673349851,
    0.14810397642748008,
    0.015198666563616457,
    0.0005475938084995345,
    1.0507500716444169e-09,
];
const FAR_TOP: [f64; 8] = [
    6.657904643501103,
    5.463784911164114,
    1.7848265399172913,
    0.29656057182850487,
    0.026532189526576124,
    0.0012426609473880784,
    2.7115555687434876e-05,
    2.0103343992922881e-07,
];
const FAR_BOTTOM: [f64; 8] = [
    1.0,
    0.599832206555888,
    0.1369298809227358,
    0.014875361290850615,
    0.0007868691311456133,
    1.8463183175100548e-05,
    1.421511758316446e-07,
    2.0442631033899397e-15,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Purpose;

    fn stream() -> Stream {
        Stream::new(5, Purpose::Verify, 0, 0)
    }

    /// Mean and variance of `n` draws.
    fn moments(n: usize, mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let xs: Vec<f64> = (0..n).map(|_| draw()).collect();
        let mean = xs.iter().sum::<f64>() / n as f64;
        (
            mean,
            xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64,
        )
    }

    #[test]
    fn quantile_meets_values_of_forty_digits() {
        // √2 · erfinv(2p − 1) by mpmath at 40 digits, rounded.
        let cases = [
            (0.3, -0.5244005127080408),
            (0.1, -1.2815515655446004),
            (0.08, -1.4050715603096327),
            (0.07, -1.4757910281791706),
            (0.025, -1.9599639845400543),
            (0.001, -3.0902323061678136),
            (1e-06, -4.753424308822899),
            (1e-11, -6.706023155495136),
            (1.2e-11, -6.679352656501522),
            (1e-15, -7.941345326170997),
            (0.6, 0.2533471031357997),
            (0.95, 1.6448536269514722),
            (0.975, 1.9599639845400538),
            (0.9999, 3.7190164854557084),
        ];
        for (p, expected) in cases {
            let got = quantile(p);
            assert!(
                (got - expected).abs() <= 5e-16 * expected.abs(),
                "{p}: {got} for {expected}"
            );
        }
        assert_eq!(quantile(0.5), 0.0);
        assert_eq!(quantile(0.75), -quantile(0.25));
    }

    #[test]
    fn ln_is_the_logarithm() {
        let mut s = stream();
        for _ in 0..20_000 {
            let x = s.open_uniform() * 2_f64.powi(-(s.below(900) as i32));
            let (got, expected) = (ln(x), x.ln());
            assert!(
                (got - expected).abs() <= 2.3e-16 * expected.abs(),
                "ln {x:e}: {got} for {expected}"
            );
        }
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut s = stream();
        let (mean, variance) = moments(200_000, || s.normal());
        assert!(
            mean.abs() < 0.01 && (variance - 1.0).abs() < 0.015,
            "{mean} {variance}"
        );
    }

    #[test]
    fn truncated_draws_have_the_moments_of_their_interval() {
        // (a, b, mean, variance): all four regimes; moments from φ and Φ by mpmath.
        let cases = [
            (-1.0, 3.0, 0.282786111, 0.616141735),
            (-0.5, 0.25, -0.119250559, 0.045982521),
            (0.0, 2.5, 0.772420911, 0.314622298),
            (0.5, 8.0, 1.141077770, 0.268480407),
            (4.0, 9.0, 4.225607144, 0.046672838),
            (3.0, 3.1, 3.047463109, 0.000829197),
            (-0.2, -0.1, -0.149875042, 0.000833046),
            (-30.0, -6.0, -6.158482605, 0.023987637),
        ];
        for (a, b, mean, variance) in cases {
            let mut s = stream();
            let n = 100_000;
            let (m, v) = moments(n, || {
                let x = truncated(&mut s, a, b);
                assert!((a..=b).contains(&x), "{x} outside [{a}, {b}]");
                x
            });
            // Six standard errors of the mean; 5 % on the variance.
            let tolerance = 6.0 * (variance / n as f64).sqrt();
            assert!((m - mean).abs() < tolerance, "[{a}, {b}]: mean {m} for {mean}");
            assert!(
                (v / variance - 1.0).abs() < 0.05,
                "[{a}, {b}]: variance {v} for {variance}"
            );
        }
    }

    #[test]
    fn absolute_bounds_are_not_multiples_of_the_deviation() {
        let mut s = stream();
        let (_, variance) = moments(100_000, || s.truncated_normal(0.02, -2.0, 2.0));
        assert!((variance.sqrt() / 0.02 - 1.0).abs() < 0.01, "{variance}");
        assert!((0..1000).all(|_| (-0.03..=0.01).contains(&s.truncated_normal(0.02, -0.03, 0.01))));
    }
}
