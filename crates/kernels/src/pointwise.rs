//! Operations on single positions: LayerNorm, linear maps, GELU, and the per-image DropPath.

use tch::Tensor;

use crate::path::on_path;
use crate::{cpu, profile};

/// Added to the variance in every LayerNorm of ConvNeXt.
pub const LAYER_NORM_EPS: f64 = 1e-6;

/// LayerNorm over the last axis: `(x − mean) / √(var + 1e-6) · weight + bias`; statistics in f32 at least.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    profile::span(
        || format!("layer norm {}, forward", weight.numel()),
        || {
            on_path(
                |isa| cpu::layer_norm(isa, x, weight, bias),
                || layer_norm_reference(x, weight, bias),
            )
        },
    )
}

/// [`layer_norm`] by libtorch.
pub(crate) fn layer_norm_reference(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let (weight, bias) = (weight.to_kind(x.kind()), bias.to_kind(x.kind()));
    x.layer_norm(weight.size(), Some(&weight), Some(&bias), LAYER_NORM_EPS, true)
}

/// `x·Wᵀ + b` over the last axis; `weight`: `[out, in]`, `bias`: `[out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    profile::span(
        || format!("linear {}-{}, forward", weight.size()[1], weight.size()[0]),
        || {
            on_path(
                |isa| cpu::linear(isa, x, weight, bias),
                || linear_reference(x, weight, bias),
            )
        },
    )
}

/// [`linear`] by libtorch.
pub(crate) fn linear_reference(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    x.linear(&weight.to_kind(x.kind()), Some(&bias.to_kind(x.kind())))
}

/// GELU in its exact form, `x·Φ(x)`.
pub fn gelu(x: &Tensor) -> Tensor {
    x.gelu("none")
}

/// Multiplies each image's rows by its factor: `x [V, p, p, C]`, one factor per image (0 or `1 / keep`).
pub fn drop_path(x: &Tensor, factors: &[f32]) -> Tensor {
    let n = factors.len() as i64;
    let factors = Tensor::from_slice(factors)
        .to_device(x.device())
        .to_kind(x.kind())
        .view([n, 1]);
    (x.view([n, -1]) * factors).view_as(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_norm_uses_the_population_variance() {
        let x = Tensor::from_slice(&[1.0, 3.0]).view([1, 1, 1, 2]);
        let y = layer_norm(
            &x,
            &Tensor::from_slice(&[1.0, 2.0]),
            &Tensor::from_slice(&[0.0, 0.5]),
        );
        let unit = 1.0 / (1.0f64 + LAYER_NORM_EPS).sqrt();
        assert!((y.double_value(&[0, 0, 0, 0]) + unit).abs() < 1e-15);
        assert!((y.double_value(&[0, 0, 0, 1]) - (2.0 * unit + 0.5)).abs() < 1e-15);
    }

    #[test]
    fn drop_path_is_per_image() {
        let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([4, 1, 1, 1]); // two images of two tiles
        let y: Vec<f32> = Vec::try_from(drop_path(&x, &[0.0, 2.0]).view([-1])).unwrap();
        assert_eq!(y, [0.0, 0.0, 6.0, 8.0]);
    }
}
