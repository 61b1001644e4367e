//! In how many directions representations spread.

use tch::{Kind, Tensor};

use super::numbers;

/// The effective rank of representations `[N, D]` (RankMe: Garrido et al. 2023, arXiv 2210.02885, Eq. 1 and 2): the
/// exponential of the entropy of their singular values, from 1 (all on one line) to min(N, D).
///
/// Only `ZᵀZ` is kept, `[D, D]` in f64, whose eigenvalues are the squares of those values: memory does not grow with N.
#[derive(Debug)]
pub struct EffectiveRank {
    gram: Tensor,
    rows: i64,
}

impl EffectiveRank {
    /// Added to each share, as the authors do.
    const EPS: f64 = 1e-7;

    /// Of representations with `width` numbers, none so far.
    #[must_use]
    pub fn new(width: i64) -> EffectiveRank {
        EffectiveRank {
            gram: Tensor::zeros([width, width], (Kind::Double, tch::Device::Cpu)),
            rows: 0,
        }
    }

    /// Adds representations `[N, D]`.
    pub fn add(&mut self, representations: &Tensor) {
        let z = representations.to_device(tch::Device::Cpu).to_kind(Kind::Double);
        self.gram += z.tr().matmul(&z);
        self.rows += z.size()[0];
    }

    /// The largest that it can be so far, min(N, D).
    #[must_use]
    pub fn bound(&self) -> i64 {
        self.rows.min(self.gram.size()[0])
    }

    /// The effective rank; 0 where everything is zero, NaN where something is not finite.
    #[must_use]
    pub fn value(&self) -> f64 {
        if self.gram.isfinite().all().int64_value(&[]) == 0 {
            return f64::NAN;
        }
        let mut values = numbers(&self.gram.linalg_eigvalsh("L")); // ascending
        let values = values.split_off(values.len() - self.bound() as usize);
        let values: Vec<f64> = values.iter().map(|value| value.max(0.0).sqrt()).collect();
        let sum: f64 = values.iter().sum();
        if sum == 0.0 {
            return 0.0;
        }
        let shares = values.iter().map(|value| value / sum + Self::EPS);
        shares.map(|share| -share * share.ln()).sum::<f64>().exp()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn of(z: &Tensor) -> f64 {
        let mut rank = EffectiveRank::new(z.size()[1]);
        z.split(4, 0).iter().for_each(|rows| rank.add(rows));
        rank.value()
    }

    #[test]
    fn equal_directions_count_one_each_and_a_line_counts_one() {
        let eye = Tensor::eye(5, (Kind::Double, Device::Cpu));
        assert!((of(&eye) - 5.0).abs() < 1e-4);
        let line = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([12, 1])
            * Tensor::from_slice(&[1.0f32, -2.0, 3.0]);
        assert!((of(&line) - 1.0).abs() < 1e-3, "{}", of(&line));
        assert_eq!(of(&Tensor::zeros([3, 2], (Kind::Float, Device::Cpu))), 0.0);
    }

    /// With more images than numbers, and with fewer.
    #[test]
    fn it_is_that_of_the_singular_values() {
        for shape in [[40, 12], [7, 12]] {
            let z = Tensor::arange(shape[0] * shape[1], (Kind::Double, Device::Cpu))
                .square()
                .sin()
                .view(shape);
            let values = numbers(&z.svd(true, true).1);
            let sum: f64 = values.iter().sum();
            let entropy: f64 = values.iter().map(|v| v / sum + 1e-7).map(|p| -p * p.ln()).sum();
            assert!(
                (of(&z) - entropy.exp()).abs() < 1e-6,
                "{} {}",
                of(&z),
                entropy.exp()
            );
        }
    }

    #[test]
    fn what_is_not_finite_is_no_panic() {
        assert!(of(&Tensor::from_slice(&[1.0f32, f32::NAN]).view([1, 2])).is_nan());
    }
}
