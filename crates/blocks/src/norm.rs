//! The parts with one vector or two: LayerNorm, GRN, LayerScale.

use fcmae_kernels::{GrnScope, grn, layer_norm};
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

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

/// Global Response Normalization (paper §4): `gamma`, `beta` of shape `[1, 1, 1, C]`, both start at 0, so that
/// it starts as the identity.
#[derive(Debug)]
pub struct Grn {
    /// Scale of the normalised response.
    pub gamma: Tensor,
    /// Shift.
    pub beta: Tensor,
}

impl Grn {
    /// Creates the parameters under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64) -> Grn {
        let shape = [1, 1, 1, channels];
        Grn {
            gamma: path.zeros("gamma", &shape),
            beta: path.zeros("beta", &shape),
        }
    }

    /// Packed `[V, p, p, C]` → the same; see [`fcmae_kernels::grn`].
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout, scope: GrnScope) -> Tensor {
        grn(x, &self.gamma, &self.beta, layout, scope)
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
