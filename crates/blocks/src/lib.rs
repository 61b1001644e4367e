//! The ConvNeXt block, V1, V2 and the paper's alternatives: parameters, their names, and how they start.
//!
//! [`Block`] owns the parameters of one block in a [`VarStore`](tch::nn::VarStore), under the names of the
//! reference (`dwconv.weight`, `grn.gamma`, …), and computes it with [`fcmae_kernels::block`]. [`Affine`],
//! [`LayerNorm`], [`LayerScale`] and a [`Response`] are its parts; [`DropPath`] with [`DropPathDraws`] is stochastic
//! depth from a keyed generator, so that a step is repeatable. A [`Pass`] says how one pass is computed: these draws,
//! and what is kept for the backward pass ([`Activation`]). [`initialise`] draws every weight of a store.
//! [`Block::forward_observed`] shows the features inside, at each [`Site`].
//!
//! What stands between GELU and the second linear map is a [`Response`], as [`ResponseConfig`] says: [`Grn`] in all the
//! forms of Tables 2a–c and 16, nothing, a norm (LRN, BN, LN), or a gate (SE, CBAM). With GRN in the paper's form or
//! nothing the block is one call of the kernels; with anything else it is composed of their operations.
//!
//! | symbol | meaning |
//! |---|---|
//! | `V`, `p` | packed rows, side of a tile (see `fcmae-kernels`) |
//! | `C` | width of the block; the hidden layer has `4·C` channels |
//!
//! This crate never sees a mask: it hands the layout on and does not open it.
//!
//! ```
//! use fcmae_blocks::{Block, BlockConfig, Pass, initialise};
//! use fcmae_masking::{PatchGrid, VisibleLayout};
//! use tch::{Device, Kind, Tensor, nn};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let block = Block::new(&vs.root(), 8, &BlockConfig::default());
//! initialise(&vs, 0);
//! let layout = VisibleLayout::full(1, PatchGrid { rows: 2, cols: 2 });
//! let x = Tensor::ones([4, 2, 2, 8], (Kind::Float, Device::Cpu)); // four tiles of 2 × 2 positions
//! assert_eq!(block.forward(&x, &layout, &Pass::default()).size(), [4, 2, 2, 8]);
//! let parameters: usize = vs.variables().values().map(|t| t.numel()).sum();
//! assert_eq!(parameters, 8 * 8 * 8 + 65 * 8); // 8·C² + 65·C
//! ```

mod block;
mod drop_path;
mod init;
mod observed;
mod parts;
mod pass;
mod response;

pub use block::{Block, BlockConfig, BlockKind};
pub use drop_path::{DropPath, DropPathDraws};
pub use fcmae_kernels::Activation;
pub use init::{Distribution, initialise, redraw};
pub use observed::Site;
pub use parts::{Affine, LayerNorm, LayerScale};
pub use pass::{Flow, Pass, Watch};
pub use response::{
    Aggregation, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, BatchNorm, Bottleneck, Cbam, Components, Grn, GrnForm,
    Normalizer, Placement, Response, ResponseConfig, ResponseError, ResponseKind, SqueezeExcite, lrn,
};
