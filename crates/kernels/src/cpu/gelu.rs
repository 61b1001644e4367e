//! GELU and its derivative together: they share one exponential.

use super::lanes::Lanes;
use super::number::Number;

/// What Φ is computed with, as accurate as the numbers that are stored.
struct Coefficients {
    /// `2ʳ` for `r` in `[0, 1)`, lowest power first (minimax of the relative error).
    exp2: &'static [f32],
    /// `t = 1 / (1 + reach·|x|)` in `1 − Φ(|x|) = P(t)·e^{−x²/2}` (Abramowitz and Stegun, with `x/√2` for their `x`).
    reach: f32,
    /// `P`, from `t¹` on.
    tail: &'static [f32],
}

/// For f32: A&S 7.1.26, and `2ʳ` to 8e-8.
const FINE: Coefficients = Coefficients {
    exp2: &[
        1.0,
        0.693_153_1,
        0.240_153_61,
        0.055_826_318,
        0.008_989_34,
        0.001_877_576_7,
    ],
    reach: 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2,
    tail: &[0.127_414_8, -0.142_248_37, 0.710_706_9, -0.726_576, 0.530_702_7],
};

/// For bf16, whose numbers have 8 bits: A&S 7.1.25, and `2ʳ` to 8e-5.
const ROUGH: Coefficients = Coefficients {
    exp2: &[0.999_925_2, 0.695_833_56, 0.226_067_16, 0.078_024_52],
    reach: 0.470_47 * std::f32::consts::FRAC_1_SQRT_2,
    tail: &[0.174_012_1, -0.047_939_9, 0.373_927_8],
};

/// A polynomial, lowest power first.
#[inline(always)]
unsafe fn polynomial<L: Lanes>(coefficients: &[f32], x: L::V) -> L::V {
    let (last, others) = coefficients.split_last().expect("a constant polynomial at least");
    // SAFETY: the caller's CPU has `L`.
    unsafe {
        let mut p = L::splat(*last);
        for c in others.iter().rev() {
            p = L::fma(p, x, L::splat(*c));
        }
        p
    }
}

/// `(x·Φ(x), Φ(x) + x·φ(x))`; absolute error below 6e-7, in bf16 below 1.5e-4.
#[inline(always)]
pub(super) unsafe fn gelu_with_derivative<T: Number, L: Lanes>(x: L::V) -> (L::V, L::V) {
    let c = if T::PER_WORD == 1 { FINE } else { ROUGH };
    // SAFETY: the caller's CPU has `L`.
    unsafe {
        let exponent = L::mul(L::mul(x, x), L::splat(-0.5 * std::f32::consts::LOG2_E));
        let e = L::scale(polynomial::<L>(c.exp2, L::fraction(exponent)), exponent); // e^{−x²/2}
        let size = L::abs(x);
        let t = L::fma(size, L::splat(c.reach), L::splat(1.0));
        let t = if T::PER_WORD == 1 {
            L::reciprocal(t)
        } else {
            L::rough_reciprocal(t)
        };
        let tail = L::mul(L::mul(polynomial::<L>(c.tail, t), t), e); // 1 − Φ(|x|)
        let gelu = L::sub(L::max(x, L::splat(0.0)), L::mul(size, tail));
        let phi = L::add(L::splat(0.5), L::copysign(L::sub(L::splat(0.5), tail), x));
        let density = L::mul(e, L::splat(0.398_942_3));
        (gelu, L::fma(x, density, phi))
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Isa, Kernel, enter};
    use super::super::number::Bf16;
    use super::*;

    struct Apply<'a, T>(&'a [f32], &'a mut Vec<(f32, f32)>, std::marker::PhantomData<T>);

    impl<T: Number> Kernel for Apply<'_, T> {
        const HAS_PAIRS: bool = false;

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            for x in self.0 {
                let (mut a, mut d) = ([0.0; 16], [0.0; 16]);
                // SAFETY: both arrays hold a vector of every `L`.
                unsafe {
                    let (va, vd) = gelu_with_derivative::<T, L>(L::splat(*x));
                    L::store(a.as_mut_ptr(), va);
                    L::store(d.as_mut_ptr(), vd);
                }
                self.1.push((a[0], d[0]));
            }
        }
    }

    #[test]
    fn equals_libtorch_over_the_whole_range() {
        compare::<f32>(6e-7);
        compare::<Bf16>(1.5e-4);
    }

    fn compare<T: Number>(tolerance: f64) {
        let mut xs: Vec<f32> = (-12_000..12_000).map(|i| i as f32 * 1e-3).collect();
        xs.extend([
            0.0, -0.0, 1e-30, -1e-30, 1e-42, 50.0, -50.0, 1e4, -1e4, 1e18, -1e18, 1e30, -1e30,
        ]);
        let x = tch::Tensor::from_slice(&xs)
            .to_kind(tch::Kind::Double)
            .set_requires_grad(true);
        let y = x.gelu("none");
        y.sum(tch::Kind::Double).backward();
        let (y, d) = (
            Vec::<f64>::try_from(y.detach()).unwrap(),
            Vec::<f64>::try_from(x.grad()).unwrap(),
        );
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let mut got = Vec::new();
            enter(isa, Apply::<T>(&xs, &mut got, std::marker::PhantomData));
            for (i, (a, b)) in got.iter().enumerate() {
                let scale = y[i].abs().max(1.0);
                assert!(
                    (f64::from(*a) - y[i]).abs() <= tolerance * scale,
                    "{isa:?} gelu({}) = {a}, not {}",
                    xs[i],
                    y[i]
                );
                assert!(
                    (f64::from(*b) - d[i]).abs() <= tolerance,
                    "{isa:?} gelu'({}) = {b}, not {}",
                    xs[i],
                    d[i]
                );
            }
        }
    }
}
