//! The compute of ConvNeXt V2 on packed tiles, forward and backward.
//!
//! A mask hides whole patches, so what stays visible is a set of square tiles at every stage. With `N` images,
//! `K` visible patches each and tiles of `p × p` positions, features are one tensor `[V, p, p, C]`, `V = N·K`:
//! hidden sites do not exist, so they can reach no sum and no statistic. [`VisibleLayout`] says which row is
//! which patch of which image. "All visible" is the dense network: the same functions, the same weights.
//!
//! | symbol | meaning |
//! |---|---|
//! | `N`, `L = gh·gw`, `K` | images, patches per image, visible patches per image |
//! | `V = N·K` | packed rows |
//! | `P`, `p` | side of a patch in pixels, side of a tile in positions of the stage |
//!
//! - [`block`] is the seam for speed: one whole ConvNeXt block (V1 or V2) in one differentiable call.
//! - [`stem`] and [`downsample`] change the resolution; they never look beyond a tile.
//! - [`masked_loss`], [`complete`] and [`select_hidden`] are what the decoder needs around its blocks.
//! - [`depthwise`], [`layer_norm`], [`linear`], [`gelu`] and [`grn`] are the operations beneath.
//!
//! All of it is differentiable by libtorch's autograd and runs on any device libtorch has. On the CPU in f32 and bf16
//! [`block`], [`stem`], [`downsample`], [`depthwise`], [`layer_norm`], [`linear`] and [`masked_loss`] are fast nodes
//! ([`backend`] says on which instruction set, `FCMAE_KERNELS` forces one); everything else is the reference, libtorch
//! operations on packed tiles. The kind of the activations decides the precision: with `BFloat16` in, products and stored
//! activations are bf16 while sums and statistics (LayerNorm, GRN, loss) are f32; parameters stay f32. [`profile`] says
//! where the time of a step goes.
//!
//! This crate owns no parameters and knows no model structure.
//!
//! ```
//! use fcmae_kernels::{GrnScope, grn};
//! use fcmae_masking::{PatchGrid, VisibleLayout};
//! use tch::{Kind, Tensor};
//!
//! // GRN on one image of two 1 × 1 tiles with two channels: G = (5, 0), G / mean(G) = (2, 0).
//! let layout = VisibleLayout::full(1, PatchGrid { rows: 1, cols: 2 });
//! let x = Tensor::from_slice(&[3.0f64, 0.0, 4.0, 0.0]).view([2, 1, 1, 2]);
//! let (gamma, beta) = (x.new_ones([2], (Kind::Double, x.device())), x.new_zeros([2], (Kind::Double, x.device())));
//! let y = grn(&x, &gamma, &beta, &layout, GrnScope::Sample);
//! assert!((y.double_value(&[0, 0, 0, 0]) - 9.0).abs() < 1e-5); // γ·x·N(x) + β + x = 3·2 + 3
//! ```
//!
//! [`VisibleLayout`]: fcmae_masking::VisibleLayout

mod block;
mod cpu;
mod depthwise;
mod grn;
mod loss;
mod path;
mod pointwise;
pub mod profile;
mod resolution;
mod tiles;

pub use block::{Activation, BlockOptions, BlockParams, End, Middle, block};
pub use cpu::Isa;
pub use depthwise::depthwise;
pub use grn::{GRN_EPS, GrnScope, grn};
pub use loss::{TARGET_EPS, masked_loss, normalise_target, patchify, target_statistics, unpatchify};
pub use path::{backend, check_forced};
pub use pointwise::{LAYER_NORM_EPS, drop_path, gelu, layer_norm, linear};
pub use resolution::{downsample, stem};
pub use tiles::{complete, pack_tiles, select_hidden, unpack_tiles};
