//! The parts with one vector or two: affine maps, LayerNorm, LayerScale.

use fcmae_kernels::{layer_norm, linear};
use tch::{Tensor, nn};

/// A weight, of a linear map or a convolution, and a bias.
#[derive(Debug)]
pub struct Affine {
    /// Weight, `[out, …]`.
    pub weight: Tensor,
    /// Bias `[out]`.
    pub bias: Tensor,
}

impl Affine {
    /// Creates `weight` of this shape and `bias` under `path`, zero until the store is initialised or filled.
    #[must_use]
    pub fn new(path: &nn::Path, weight: &[i64]) -> Affine {
        Affine {
            weight: path.zeros("weight", weight),
            bias: path.zeros("bias", &weight[..1]),
        }
    }

    /// The linear map `[…, in]` → `[…, out]`; a weight with more axes (a 1 × 1 convolution) is taken as `[out, in]`.
    pub fn linear(&self, x: &Tensor) -> Tensor {
        match self.weight.dim() {
            2 => linear(x, &self.weight, &self.bias),
            _ => linear(x, &self.weight.flatten(1, -1), &self.bias),
        }
    }
}

/// LayerNorm over channels, eps 1e-6: `weight [C]` (starts at 1), `bias [C]` (0).
#[derive(Debug)]
pub struct LayerNorm {
    /// Scale `[C]`.
    pub weight: Tensor,
    /// Shift `[C]`.
    pub bias: Tensor,
}

impl LayerNorm {
    /// Creates the parameters under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64) -> LayerNorm {
        LayerNorm {
            weight: path.ones("weight", &[channels]),
            bias: path.zeros("bias", &[channels]),
        }
    }

    /// `[…, C]` → `[…, C]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        layer_norm(x, &self.weight, &self.bias)
    }
}

/// LayerScale of ConvNeXt V1: `gamma [C]`, starts at a small constant.
#[derive(Debug)]
pub struct LayerScale {
    /// Scale of each channel.
    pub gamma: Tensor,
}

impl LayerScale {
    /// Creates `gamma` directly under `path` (the reference calls it `…stages.0.0.gamma`).
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64, start: f64) -> LayerScale {
        LayerScale {
            gamma: path.var("gamma", &[channels], nn::Init::Const(start)),
        }
    }

    /// `[…, C]` → `[…, C]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x * self.gamma.to_kind(x.kind())
    }
}
