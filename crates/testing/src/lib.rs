//! For tests only: golden tensors, and deviations that say whose they are.
//!
//! [`Golden`] reads a reference file; [`assert_close`] compares with it. A deviation is `max|a − b| / max|b|` of
//! one tensor. The named tolerances are what rounding leaves: the reference was computed in f64 and stored as
//! f64, or as f32 for size.
//!
//! [`guarded`] moves a tensor before a page that may not be touched: kernels that read beyond a buffer crash in the
//! test instead of reading a neighbour.
//!
//! ```
//! use fcmae_testing::deviation;
//! use tch::Tensor;
//! let (a, b) = (Tensor::from_slice(&[1.0, 3.0]), Tensor::from_slice(&[1.0, 4.0]));
//! assert_eq!(deviation(&a, &b), 0.25);
//! ```

mod golden;
mod guard;

pub use golden::{F32, F64, F64_STORED_AS_F32, Golden, Tolerance, assert_close, deviation};
pub use guard::guarded;
