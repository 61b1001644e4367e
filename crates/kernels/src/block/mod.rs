//! One whole ConvNeXt block as one call: the seam between the model and its fast kernels.

mod reference;
#[cfg(test)]
pub(crate) mod tests;

use fcmae_masking::VisibleLayout;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::grn::GrnScope;
use crate::path::on_path;
use crate::profile;

/// The parameters of a block of width `C`, borrowed from whoever owns them.
#[derive(Debug)]
pub struct BlockParams<'a> {
    /// Depthwise weight `[C, 1, 7, 7]`.
    pub dwconv_weight: &'a Tensor,
    /// Depthwise bias `[C]`.
    pub dwconv_bias: &'a Tensor,
    /// LayerNorm weight `[C]`.
    pub norm_weight: &'a Tensor,
    /// LayerNorm bias `[C]`.
    pub norm_bias: &'a Tensor,
    /// First linear map `[4C, C]`.
    pub pwconv1_weight: &'a Tensor,
    /// Its bias `[4C]`.
    pub pwconv1_bias: &'a Tensor,
    /// What stands between GELU and the second linear map.
    pub middle: Middle<'a>,
    /// Second linear map `[C, 4C]`.
    pub pwconv2_weight: &'a Tensor,
    /// Its bias `[C]`.
    pub pwconv2_bias: &'a Tensor,
    /// What stands between the second linear map and the residual.
    pub end: End<'a>,
}

/// What stands between GELU and the second linear map.
#[derive(Debug)]
pub enum Middle<'a> {
    /// Nothing (ConvNeXt V1).
    Nothing,
    /// Global Response Normalization (V2), parameters of `4C` elements.
    Grn {
        /// Scale of the normalised response.
        gamma: &'a Tensor,
        /// Shift.
        beta: &'a Tensor,
    },
}

/// What stands between the second linear map and the residual.
#[derive(Debug)]
pub enum End<'a> {
    /// Nothing (ConvNeXt V2).
    Nothing,
    /// LayerScale (V1): `gamma [C]`.
    LayerScale {
        /// Scale of each channel.
        gamma: &'a Tensor,
    },
}

/// How a block is computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockOptions<'a> {
    /// Over which sites GRN's norm runs.
    pub grn_scope: GrnScope,
    /// DropPath: one factor per image, 0 (dropped) or `1 / keep`; `None`: nothing is dropped.
    pub drop_path: Option<&'a [f32]>,
    /// What the fast kernels keep for the backward pass.
    pub activation: Activation,
}

/// What becomes of the hidden layer (`4C` wide) between the forward and the backward pass of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Kept: fastest.
    #[default]
    Keep,
    /// Computed again in the backward pass: a fifth of the memory beside the block's input, one product more. The
    /// result is the same, bit for bit. The reference path keeps everything.
    Recompute,
}

/// A whole block: `y = x + DropPath(LayerScale(W₂·GRN(GELU(W₁·LN(dw(x))))))`; `x`, `y`: `[V, p, p, C]`
/// (ConvNeXt V2 §4, Fig. 5). V2 has GRN and no LayerScale, V1 the reverse. Differentiable in `x` and every parameter.
pub fn block(x: &Tensor, params: &BlockParams, layout: &VisibleLayout, options: &BlockOptions) -> Tensor {
    profile::span(
        || format!("block {}, forward", x.size()[3]),
        || {
            on_path(
                |isa| crate::cpu::block(isa, x, params, layout, options),
                || reference::block(x, params, layout, options),
            )
        },
    )
}
