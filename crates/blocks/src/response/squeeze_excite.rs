//! Squeeze-and-excitation: gates for the channels of an image, from their means.

use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

use super::{by_image, exact};
use crate::parts::Affine;

/// How much narrower the bottleneck is. It gives ConvNeXt-B the 109 M parameters of Table 2e.
const REDUCTION: i64 = 16;

/// `W₂·relu(W₁·x + b₁) + b₂`, a sixteenth as wide in its middle: what SE and CBAM gate channels with.
#[derive(Debug)]
pub struct Bottleneck {
    /// `[C/16, C]`, at least one row.
    pub fc1: Affine,
    /// `[C, C/16]`.
    pub fc2: Affine,
}

impl Bottleneck {
    /// Creates `fc1` and `fc2` under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64) -> Bottleneck {
        let narrow = (channels / REDUCTION).max(1);
        Bottleneck {
            fc1: Affine::new(&(path / "fc1"), &[narrow, channels]),
            fc2: Affine::new(&(path / "fc2"), &[channels, narrow]),
        }
    }

    /// `[…, C]` → `[…, C]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.fc2.linear(&self.fc1.linear(x).relu())
    }
}

/// Squeeze-and-excitation (arXiv 1709.01507): `x · σ(bottleneck(mean of x over the visible sites of its image))`.
#[derive(Debug)]
pub struct SqueezeExcite {
    /// From means to gates.
    pub bottleneck: Bottleneck,
}

impl SqueezeExcite {
    /// Creates the parameters under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64) -> SqueezeExcite {
        SqueezeExcite {
            bottleneck: Bottleneck::new(path, channels),
        }
    }

    /// Packed `[V, p, p, C]` → the same.
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout) -> Tensor {
        let sites = by_image(&exact(x), layout);
        let mean = sites.mean_dim([1i64].as_slice(), true, None::<tch::Kind>); // [N, 1, C]
        let gates = self.bottleneck.forward(&mean).sigmoid();
        (sites * gates).view_as(x).to_kind(x.kind())
    }
}
