//! The CPU back ends: every kernel written once over [`Lanes`](lanes::Lanes), compiled for three instruction sets.

mod backward;
mod depthwise;
mod epilogue;
mod forward;
mod gelu;
mod gemm;
mod isa;
mod lanes;
mod node;
mod plan;
mod rows;

pub use isa::Isa;
pub(crate) use node::block;
