//! The CPU back ends: every kernel written once over [`Lanes`](lanes::Lanes), compiled for four instruction sets, and
//! over [`Number`](number::Number), for f32 and bf16.

mod backward;
mod buffer;
mod depthwise;
mod epilogue;
mod forward;
mod gelu;
mod gemm;
mod isa;
mod lanes;
mod node;
mod number;
mod pack;
mod plan;
mod rows;
mod tensor;
mod unfold;

pub use isa::Isa;
pub(crate) use node::block;
