//! The ConvNeXt block of V1 and V2.

use fcmae_kernels::{BlockOptions, BlockParams, End, GrnScope, Middle};
use fcmae_masking::VisibleLayout;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::drop_path::DropPath;
use crate::norm::{Grn, LayerNorm, LayerScale};
use crate::pass::Pass;

/// Which generation of ConvNeXt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// LayerScale after the second linear map, no GRN (arXiv 2201.03545).
    V1,
    /// GRN after GELU, no LayerScale (arXiv 2301.00808).
    #[default]
    V2,
}

/// What a block is made of and how it behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// V1 or V2.
    pub kind: BlockKind,
    /// Over which sites GRN's norm runs (V2).
    pub grn_scope: GrnScope,
    /// Start of LayerScale's `gamma` (V1; the reference uses 1e-6).
    pub layer_scale_init: f64,
    /// Stochastic depth.
    pub drop_path: DropPath,
}

impl Default for BlockConfig {
    fn default() -> BlockConfig {
        BlockConfig {
            kind: BlockKind::V2,
            grn_scope: GrnScope::Sample,
            layer_scale_init: 1e-6,
            drop_path: DropPath { rate: 0.0, index: 0 },
        }
    }
}

/// `y = x + DropPath(W₂·GRN(GELU(W₁·LN(dw(x)))))` (V2 §4, Fig. 5; V1: LayerScale instead of GRN).
#[derive(Debug)]
pub struct Block {
    dwconv: Affine,
    norm: LayerNorm,
    pwconv1: Affine,
    grn: Option<Grn>,
    pwconv2: Affine,
    layer_scale: Option<LayerScale>,
    grn_scope: GrnScope,
    pub(crate) drop_path: DropPath,
}

/// A weight and a bias.
#[derive(Debug)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Affine {
    /// Zeros, until the store is initialised.
    fn new(path: &nn::Path, weight: &[i64]) -> Affine {
        Affine {
            weight: path.zeros("weight", weight),
            bias: path.zeros("bias", &weight[..1]),
        }
    }
}

impl Block {
    /// Creates the parameters of a block of width `channels` under `path`, with the reference's names and shapes
    /// (fact sheet §1.6). Weights are zero until [`initialise`](crate::initialise) draws them or a file fills them.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64, config: &BlockConfig) -> Block {
        let c = channels;
        Block {
            dwconv: Affine::new(&(path / "dwconv"), &[c, 1, 7, 7]),
            norm: LayerNorm::new(&(path / "norm"), c),
            pwconv1: Affine::new(&(path / "pwconv1"), &[4 * c, c]),
            grn: (config.kind == BlockKind::V2).then(|| Grn::new(&(path / "grn"), 4 * c)),
            pwconv2: Affine::new(&(path / "pwconv2"), &[c, 4 * c]),
            layer_scale: (config.kind == BlockKind::V1)
                .then(|| LayerScale::new(path, c, config.layer_scale_init)),
            grn_scope: config.grn_scope,
            drop_path: config.drop_path,
        }
    }

    /// Packed `[V, p, p, C]` → the same.
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        let factors = self.drop_path.factors(pass.draws);
        let options = BlockOptions {
            grn_scope: self.grn_scope,
            drop_path: factors.as_deref(),
            activation: pass.activation,
        };
        fcmae_kernels::block(x, &self.params(), layout, &options)
    }

    /// The parameters, borrowed, as the kernels take them.
    #[must_use]
    pub fn params(&self) -> BlockParams<'_> {
        BlockParams {
            dwconv_weight: &self.dwconv.weight,
            dwconv_bias: &self.dwconv.bias,
            norm_weight: &self.norm.weight,
            norm_bias: &self.norm.bias,
            pwconv1_weight: &self.pwconv1.weight,
            pwconv1_bias: &self.pwconv1.bias,
            middle: match &self.grn {
                Some(Grn { gamma, beta }) => Middle::Grn { gamma, beta },
                None => Middle::Nothing,
            },
            pwconv2_weight: &self.pwconv2.weight,
            pwconv2_bias: &self.pwconv2.bias,
            end: match &self.layer_scale {
                Some(LayerScale { gamma }) => End::LayerScale { gamma },
                None => End::Nothing,
            },
        }
    }

    /// Over which sites this block's GRN runs.
    #[must_use]
    pub fn grn_scope(&self) -> GrnScope {
        self.grn_scope
    }
}
