//! One whole ConvNeXt block as one call: the seam between the model and its fast kernels.

mod reference;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use fcmae_masking::VisibleLayout;
use tch::Tensor;

use crate::cpu::Isa;
use crate::grn::GrnScope;

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
}

/// A whole block: `y = x + DropPath(LayerScale(W₂·GRN(GELU(W₁·LN(dw(x))))))`; `x`, `y`: `[V, p, p, C]`
/// (ConvNeXt V2 §4, Fig. 5). V2 has GRN and no LayerScale, V1 the reverse. Differentiable in `x` and every parameter.
pub fn block(x: &Tensor, params: &BlockParams, layout: &VisibleLayout, options: &BlockOptions) -> Tensor {
    match path() {
        Path::Cpu(isa) => crate::cpu::block(isa, x, params, layout, options),
        Path::Reference => None,
    }
    .unwrap_or_else(|| reference::block(x, params, layout, options))
}

/// How [`block`] is computed where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Reference,
    Cpu(Isa),
}

/// The path of this process: the best instruction set, or what `FCMAE_KERNELS` names (`reference`, `portable`,
/// `avx2`, `avx512`). A name that is unknown or that this CPU does not have means the best one.
fn path() -> Path {
    static PATH: OnceLock<Path> = OnceLock::new();
    *PATH.get_or_init(|| {
        let forced = std::env::var("FCMAE_KERNELS").unwrap_or_default();
        if forced == "reference" {
            return Path::Reference;
        }
        let named = Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == forced && isa.is_available());
        Path::Cpu(named.unwrap_or_else(Isa::best))
    })
}

/// The back end that [`block`] uses on this machine for activations of `kind` on `device`, in words, for a run's
/// first line.
pub fn backend(device: tch::Device, kind: tch::Kind) -> &'static str {
    match path() {
        Path::Cpu(isa) if device == tch::Device::Cpu && kind == tch::Kind::Float => match isa {
            Isa::Portable => "packed, portable",
            Isa::Avx2 => "packed, AVX2",
            Isa::Avx512 => "packed, AVX-512",
        },
        _ => "reference (libtorch operations on packed tiles)",
    }
}
