//! The CPU back ends: every kernel written once over [`Lanes`](lanes::Lanes), compiled for four instruction sets, and
//! over [`Number`](number::Number), for f32 and bf16.

mod backward;
mod buffer;
mod columns;
mod convolution;
mod depthwise;
mod epilogue;
mod forward;
mod gelu;
mod gemm;
mod grn;
mod isa;
mod lanes;
mod linear;
mod loss;
mod node;
mod norm;
mod number;
mod pack;
mod places;
mod plan;
mod rows;
mod tensor;
#[cfg(test)]
mod tests;
mod unfold;

pub(crate) use convolution::depthwise;
pub use isa::Isa;
pub(crate) use loss::masked_loss;
pub(crate) use node::block;
pub(crate) use norm::layer_norm;
pub(crate) use places::{downsample, linear, stem};
