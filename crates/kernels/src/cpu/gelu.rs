//! GELU and its derivative together: they share one exponential.

use super::lanes::Lanes;

/// `eˣ` for `x ≤ 0`, relative error about 2e-7; below −87 it is (nearly) zero.
#[inline(always)]
unsafe fn exp_negative<L: Lanes>(x: L::V) -> L::V {
    // SAFETY: the caller's CPU has `L`.
    unsafe {
        let x = L::max(x, L::splat(-87.0));
        let n = L::round(L::mul(x, L::splat(std::f32::consts::LOG2_E)));
        // r = x − n·ln 2 in two parts, |r| ≤ ln 2 / 2
        let r = L::fma(n, L::splat(-0.693_359_4), x);
        let r = L::fma(n, L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.987_569_1e-4);
        for c in [
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_6e-1,
            5.0e-1,
        ] {
            p = L::fma(p, r, L::splat(c));
        }
        let p = L::add(L::fma(p, L::mul(r, r), r), L::splat(1.0));
        L::mul(p, L::pow2(n))
    }
}

/// `(x·Φ(x), Φ(x) + x·φ(x))`, absolute error below 6e-7.
///
/// Φ by Abramowitz and Stegun 7.1.26, whose `e^{−x²/2}` is the one that φ needs.
#[inline(always)]
pub(super) unsafe fn gelu_with_derivative<L: Lanes>(x: L::V) -> (L::V, L::V) {
    // SAFETY: the caller's CPU has `L`.
    unsafe {
        let e = exp_negative::<L>(L::mul(L::mul(x, x), L::splat(-0.5)));
        let z = L::mul(L::abs(x), L::splat(std::f32::consts::FRAC_1_SQRT_2));
        let t = L::reciprocal(L::fma(z, L::splat(0.327_591_1), L::splat(1.0)));
        let mut p = L::splat(1.061_405_4);
        for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
            p = L::fma(p, t, L::splat(c));
        }
        let tail = L::mul(L::mul(L::mul(p, t), e), L::splat(0.5)); // 1 − Φ(|x|)
        let phi = L::add(
            L::splat(0.5),
            L::copysign(L::max(L::sub(L::splat(0.5), tail), L::splat(0.0)), x),
        );
        let density = L::mul(e, L::splat(0.398_942_3));
        (L::mul(x, phi), L::fma(x, density, phi))
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::{Isa, Kernel, enter};
    use super::*;

    struct Apply<'a>(&'a [f32], &'a mut Vec<(f32, f32)>);

    impl Kernel for Apply<'_> {
        const HAS_PAIRS: bool = false;

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            for x in self.0 {
                let (mut a, mut d) = ([0.0; 16], [0.0; 16]);
                // SAFETY: both arrays hold a vector of every `L`.
                unsafe {
                    let (va, vd) = gelu_with_derivative::<L>(L::splat(*x));
                    L::store(a.as_mut_ptr(), va);
                    L::store(d.as_mut_ptr(), vd);
                }
                self.1.push((a[0], d[0]));
            }
        }
    }

    #[test]
    fn equals_libtorch_over_the_whole_range() {
        let mut xs: Vec<f32> = (-12_000..12_000).map(|i| i as f32 * 1e-3).collect();
        xs.extend([
            0.0, -0.0, 1e-30, -1e-30, 1e-42, 50.0, -50.0, 1e4, -1e4, 1e18, -1e18,
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
            enter(isa, Apply(&xs, &mut got));
            for (i, (a, b)) in got.iter().enumerate() {
                let scale = y[i].abs().max(1.0);
                assert!(
                    (f64::from(*a) - y[i]).abs() <= 6e-7 * scale,
                    "{isa:?} gelu({}) = {a}, not {}",
                    xs[i],
                    y[i]
                );
                assert!(
                    (f64::from(*b) - d[i]).abs() <= 6e-7,
                    "{isa:?} gelu'({}) = {b}, not {}",
                    xs[i],
                    d[i]
                );
            }
        }
    }
}
