//! What libtorch can do and `tch` does not bind, as safe functions.
//!
//! - [`fused_adamw`]: one AdamW step over many tensors in one call. The optimizer state stays with the caller.
//! - [`clear_gradient`]: takes a gradient away, so that the next backward pass hands its own over.
//! - [`attach`], [`records`] and [`Backward`]: autograd nodes whose backward pass is Rust.
//! - [`parallel_for`]: libtorch's own threads for Rust closures.
//! - [`load_cuda`]: makes the GPU back end of a full PyTorch install available to a program that was linked
//!   to the CPU libtorch alone.
//! - [`libtorch_version`]: which libtorch this is, for the record of a run.
//! - [`first_line`]: libtorch's error texts without their C++ backtrace.
//!
//! C++ lives only here, in `cpp/`, and has no logic. This crate knows nothing about ConvNeXt.
//!
//! ```
//! use fcmae_torch_ext::{AdamW, fused_adamw};
//! use tch::{Device, Kind, Tensor};
//!
//! let w = Tensor::ones([2], (Kind::Float, Device::Cpu));
//! let (grad, m, v) = (w.ones_like(), w.zeros_like(), w.zeros_like());
//! let adamw = AdamW { beta1: 0.9, beta2: 0.95, eps: 1e-8 };
//! fused_adamw(&[&w], &[&grad], &[&m], &[&v], 1, 0.1, 0.0, &adamw)?;
//! assert!((w.double_value(&[0]) - 0.9).abs() < 1e-6); // the first step has length lr
//! # Ok::<(), fcmae_torch_ext::TorchError>(())
//! ```

mod adamw;
mod cuda;
mod error;
mod gradient;
mod node;
mod parallel;
mod version;

pub use adamw::{AdamW, fused_adamw};
pub use cuda::load_cuda;
pub use error::{TorchError, first_line};
pub use gradient::clear_gradient;
pub use node::{Backward, attach, records};
pub use parallel::parallel_for;
pub use version::libtorch_version;
