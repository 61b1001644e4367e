//! Cosine distance between channels: the paper's measure of feature collapse.

use tch::{Kind, Tensor};

use super::sites;

/// A channel whose length over an image is below this is zero everywhere there.
const LEAST_LENGTH: f64 = 1e-30;

/// Mean cosine distance between the channels of each image, `[N]` in f64 (paper §4, Fig. 4; fact sheet §4.9):
/// `(1 / C²) Σᵢ Σⱼ (1 − cos(Xᵢ, Xⱼ)) / 2` over all pairs, i = j included, `Xᵢ` being channel i over the sites.
///
/// 0: all channels say the same (collapsed); ½, the most there is: they have nothing in common, or cancel out. It is
/// computed as `(1 − ‖Σᵢ x̂ᵢ‖² / C²) / 2` with channels x̂ of length 1. A channel that is zero everywhere counts as one
/// that has nothing in common with any, itself included: its x̂ is 0.
///
/// `maps`: `[N, H, W, C]`.
pub fn channel_cosine_distance(maps: &Tensor) -> Tensor {
    let x = sites(maps); // [N, S, C]
    let channels = x.size()[2] as f64;
    let length = x.norm_scalaropt_dim(2.0, [1i64].as_slice(), true); // [N, 1, C]
    let is_zero = length.lt(LEAST_LENGTH);
    let scale = length
        .masked_fill(&is_zero, 1.0)
        .reciprocal()
        .masked_fill(&is_zero, 0.0);
    let sum = x.matmul(&scale.transpose(1, 2)); // Σᵢ x̂ᵢ: [N, S, 1]
    let squared =
        sum.to_kind(Kind::Double)
            .square()
            .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double);
    let distance: Tensor = (1.0 - squared / (channels * channels)) / 2.0;
    distance.clamp_min(0.0) // rounding may end below
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::features::numbers;

    /// The definition, pair by pair.
    fn by_pairs(maps: &Tensor) -> Vec<f64> {
        let (n, h, w, c) = maps.size4().unwrap();
        let channel = |image: i64, i: i64| numbers(&maps.get(image).reshape([h * w, c]).select(1, i));
        let cosine = |a: &[f64], b: &[f64]| {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let lengths = dot(a, a).sqrt() * dot(b, b).sqrt();
            if lengths == 0.0 { 0.0 } else { dot(a, b) / lengths }
        };
        let of_image = |image| {
            let channels: Vec<_> = (0..c).map(|i| channel(image, i)).collect();
            let pairs = channels
                .iter()
                .flat_map(|a| channels.iter().map(move |b| (1.0 - cosine(a, b)) / 2.0));
            pairs.sum::<f64>() / (c * c) as f64
        };
        (0..n).map(of_image).collect()
    }

    #[test]
    fn the_short_form_is_the_mean_over_all_pairs() {
        let x = Tensor::arange(3 * 4 * 5 * 7, (Kind::Double, Device::Cpu))
            .square()
            .sin()
            .view([3, 4, 5, 7]);
        let dead = x.shallow_clone();
        let _ = dead.narrow(3, 2, 1).zero_();
        for (found, expected) in numbers(&channel_cosine_distance(&dead))
            .iter()
            .zip(by_pairs(&dead))
        {
            assert!((found - expected).abs() < 1e-13, "{found} {expected}");
        }
    }

    /// A collapsed map must read 0, not rounding: the channels differ in scale only.
    #[test]
    fn collapsed_is_zero_in_f32_too() {
        let ramp = Tensor::arange(196, (Kind::Float, Device::Cpu)).view([1, 14, 14, 1]);
        let scales = Tensor::from_slice(&[1.0f32, 0.01, 300.0]);
        let distance = numbers(&channel_cosine_distance(&(ramp * scales)))[0];
        assert!(distance.abs() < 1e-6, "{distance}");
    }
}
