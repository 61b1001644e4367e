//! Depthwise 7×7 convolution on packed tiles: the only operation that looks beyond its tile.

use fcmae_masking::VisibleLayout;
use tch::{Kind, Tensor};

use crate::path::on_path;
use crate::tiles::{pack_tiles, unpack_tiles};
use crate::{cpu, profile};

/// `y[c] = Σ_k w[c, k]·x[c + offset(k)] + b[c]` over *visible* neighbours (submanifold; paper §3, fact sheet §2.4).
///
/// `x`, result: `[V, p, p, C]`; `weight`: `[C, 1, 7, 7]`; `bias`: `[C]`. A neighbour that is hidden or outside
/// the image contributes zero; there is no renormalisation.
pub fn depthwise(x: &Tensor, weight: &Tensor, bias: &Tensor, layout: &VisibleLayout) -> Tensor {
    profile::span(
        || format!("depthwise {}, forward", weight.size()[0]),
        || {
            on_path(
                |isa| cpu::depthwise(isa, x, weight, bias, layout),
                || depthwise_reference(x, weight, bias, layout),
            )
        },
    )
}

/// [`depthwise`] by libtorch.
///
/// It goes through the whole map, channels last, in which libtorch trains it several times faster than in NCHW; but on
/// a GPU in f32 the reverse is true (2 times), and cuDNN, which NCHW does without, would round to TF32.
pub(crate) fn depthwise_reference(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    layout: &VisibleLayout,
) -> Tensor {
    let (weight, bias) = (weight.to_kind(x.kind()), bias.to_kind(x.kind()));
    let channels = weight.size()[0];
    let padding = (weight.size()[2] - 1) / 2;
    let map = unpack_tiles(x, layout).permute([0, 3, 1, 2]); // [N, C, H, W] whose memory is [N, H, W, C]
    let map = if x.device().is_cuda() && x.kind() != Kind::BFloat16 {
        map.contiguous()
    } else {
        map
    };
    let out = map.conv2d(&weight, Some(&bias), [1, 1], [padding, padding], [1, 1], channels);
    pack_tiles(&out.permute([0, 2, 3, 1]).contiguous(), layout)
}
