//! How much channels resemble each other: the paper's measure of feature collapse, and one that signs cannot hide from.

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
    let scale = reciprocal_lengths(&x);
    let sum = x.matmul(&scale.transpose(1, 2)); // Σᵢ x̂ᵢ: [N, S, 1]
    let squared =
        sum.to_kind(Kind::Double)
            .square()
            .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double);
    let distance: Tensor = (1.0 - squared / (channels * channels)) / 2.0;
    distance.clamp_min(0.0) // rounding may end below
}

/// Root mean square of the cosines between the channels of each image, `[N]` in f64:
/// `√((1 / C²) Σᵢ Σⱼ cos²(Xᵢ, Xⱼ))` over all pairs, i = j included. Not in the paper.
///
/// 1: every channel says the same up to its sign; 1/√C: no two have anything in common. Where channels say the same in
/// both signs, [`channel_cosine_distance`] reads ½ as if they had nothing in common. Its inverse square is the number
/// of directions that the channels share out among themselves (their participation ratio).
///
/// `maps`: `[N, H, W, C]`.
pub fn channel_rms_cosine(maps: &Tensor) -> Tensor {
    let x = sites(maps); // [N, S, C]
    let (count, channels) = (x.size()[1], x.size()[2]);
    let unit = &x * reciprocal_lengths(&x);
    let turned = unit.transpose(1, 2);
    // Both products have the same sum of squares.
    let product = if count < channels {
        unit.matmul(&turned)
    } else {
        turned.matmul(&unit)
    };
    let squared =
        product
            .to_kind(Kind::Double)
            .square()
            .sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Double);
    squared.sqrt() / channels as f64
}

/// `1 / ‖Xᵢ‖` of every channel, `[N, 1, C]`; 0 for one that is zero everywhere.
fn reciprocal_lengths(x: &Tensor) -> Tensor {
    let length = x.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
    let is_zero = length.lt(LEAST_LENGTH);
    length
        .masked_fill(&is_zero, 1.0)
        .reciprocal()
        .masked_fill(&is_zero, 0.0)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::features::numbers;

    /// The mean of `of(cos)` over all pairs, by definition.
    fn by_pairs(maps: &Tensor, of: impl Fn(f64) -> f64) -> Vec<f64> {
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
                .flat_map(|a| channels.iter().map(move |b| cosine(a, b)));
            pairs.map(&of).sum::<f64>() / (c * c) as f64
        };
        (0..n).map(of_image).collect()
    }

    /// More sites than channels, and fewer; one channel is dead.
    fn maps() -> [Tensor; 2] {
        [[3, 4, 5, 7], [3, 1, 2, 7]].map(|size: [i64; 4]| {
            let count = size.iter().product::<i64>();
            let x = Tensor::arange(count, (Kind::Double, Device::Cpu)).square().sin();
            let x = x.view(size);
            let _ = x.narrow(3, 2, 1).zero_();
            x
        })
    }

    #[test]
    fn the_short_forms_are_means_over_all_pairs() {
        for maps in maps() {
            let distance = numbers(&channel_cosine_distance(&maps));
            let rms = numbers(&channel_rms_cosine(&maps));
            let expected = by_pairs(&maps, |cosine| (1.0 - cosine) / 2.0);
            let squares = by_pairs(&maps, |cosine| cosine * cosine);
            for (image, found) in distance.iter().enumerate() {
                assert!(
                    (found - expected[image]).abs() < 1e-13,
                    "{found} {}",
                    expected[image]
                );
                assert!(
                    (rms[image].powi(2) - squares[image]).abs() < 1e-13,
                    "{}",
                    rms[image]
                );
            }
        }
    }

    #[test]
    fn signs_hide_a_collapse_from_the_distance_alone() {
        let ramp = Tensor::arange(9, (Kind::Double, Device::Cpu)).view([1, 3, 3, 1]);
        let both = ramp * Tensor::from_slice(&[1.0f64, -2.0, 3.0, -4.0]);
        assert!((numbers(&channel_cosine_distance(&both))[0] - 0.5).abs() < 1e-12);
        assert!((numbers(&channel_rms_cosine(&both))[0] - 1.0).abs() < 1e-12);
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
