//! One whole ConvNeXt block as one call: the seam between the model and its fast kernels.

mod reference;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use fcmae_masking::VisibleLayout;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::cpu::Isa;
use crate::grn::GrnScope;
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
    /// Computed again in the backward pass: a fifth to a quarter of the memory, one product more. The result is the
    /// same, bit for bit. The reference path keeps everything.
    Recompute,
}

/// A whole block: `y = x + DropPath(LayerScale(W₂·GRN(GELU(W₁·LN(dw(x))))))`; `x`, `y`: `[V, p, p, C]`
/// (ConvNeXt V2 §4, Fig. 5). V2 has GRN and no LayerScale, V1 the reverse. Differentiable in `x` and every parameter.
pub fn block(x: &Tensor, params: &BlockParams, layout: &VisibleLayout, options: &BlockOptions) -> Tensor {
    profile::span(
        || format!("block {}, forward", x.size()[3]),
        || {
            match path() {
                Path::Cpu(isa) => crate::cpu::block(isa, x, params, layout, options),
                Path::Reference => None,
            }
            .unwrap_or_else(|| reference::block(x, params, layout, options))
        },
    )
}

/// How [`block`] is computed where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    Reference,
    Cpu(Isa),
}

/// The path of this process: the best instruction set, or what `FCMAE_KERNELS` names.
fn path() -> Path {
    static PATH: OnceLock<Path> = OnceLock::new();
    *PATH.get_or_init(|| {
        let forced = std::env::var(FORCED).unwrap_or_default();
        named(&forced).unwrap_or_else(|| Path::Cpu(Isa::best()))
    })
}

/// The environment variable that forces a path.
const FORCED: &str = "FCMAE_KERNELS";

/// The path of a name, if there is one on this CPU; the empty name is the best path.
fn named(name: &str) -> Option<Path> {
    match name {
        "" => Some(Path::Cpu(Isa::best())),
        "reference" => Some(Path::Reference),
        _ => Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == name && isa.is_available())
            .map(Path::Cpu),
    }
}

/// Checks the environment variable `FCMAE_KERNELS`; a program calls it before it computes.
///
/// # Errors
/// The value, when it names no path or one that this CPU does not have, with the names that can be used. [`block`]
/// itself takes the best path then.
pub fn check_forced() -> Result<(), String> {
    let forced = std::env::var(FORCED).unwrap_or_default();
    if named(&forced).is_some() {
        return Ok(());
    }
    let here = Isa::ALL
        .into_iter()
        .filter(|isa| isa.is_available())
        .map(Isa::name);
    let names: Vec<&str> = std::iter::once("reference").chain(here).collect();
    Err(format!(
        "{forced:?} names no kernels of this CPU; use one of {}, or unset it",
        names.join(", ")
    ))
}

/// The back end that [`block`] uses on this machine for activations of `kind` on `device`, in words, for a run's
/// first line.
pub fn backend(device: tch::Device, kind: tch::Kind) -> &'static str {
    match path() {
        Path::Cpu(isa) if device == tch::Device::Cpu && kind == tch::Kind::Float => match isa {
            Isa::Portable => "packed, portable",
            Isa::Avx2 => "packed, AVX2",
            Isa::Avx512 | Isa::Avx512Bf16 => "packed, AVX-512",
        },
        Path::Cpu(isa) if device == tch::Device::Cpu && kind == tch::Kind::BFloat16 => match isa {
            Isa::Portable => "packed, portable, bf16 by conversion",
            Isa::Avx2 => "packed, AVX2, bf16 by conversion",
            Isa::Avx512 => "packed, AVX-512, bf16 by conversion",
            Isa::Avx512Bf16 => "packed, AVX-512 bf16",
        },
        _ => "reference (libtorch operations on packed tiles)",
    }
}
