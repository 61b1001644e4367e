//! The block as a composition of libtorch operations: readable, on any device, the measure of every fast one.

use fcmae_masking::VisibleLayout;
use tch::Tensor;

use super::{BlockOptions, BlockParams, End, Middle};
use crate::depthwise::depthwise_reference as depthwise;
use crate::grn::grn;
use crate::pointwise::{drop_path, gelu, layer_norm_reference as layer_norm, linear_reference as linear};

pub(super) fn block(x: &Tensor, p: &BlockParams, layout: &VisibleLayout, options: &BlockOptions) -> Tensor {
    let h = depthwise(x, p.dwconv_weight, p.dwconv_bias, layout); // [V, p, p, C]
    let h = layer_norm(&h, p.norm_weight, p.norm_bias);
    let h = gelu(&linear(&h, p.pwconv1_weight, p.pwconv1_bias)); // [V, p, p, 4C]
    let h = match p.middle {
        Middle::Nothing => h,
        Middle::Grn { gamma, beta } => grn(&h, gamma, beta, layout, options.grn_scope),
    };
    let h = linear(&h, p.pwconv2_weight, p.pwconv2_bias); // [V, p, p, C]
    let h = match p.end {
        End::Nothing => h,
        End::LayerScale { gamma } => h * gamma.to_kind(x.kind()),
    };
    match options.drop_path {
        None => x + h,
        Some(factors) => x + drop_path(&h, factors),
    }
}
