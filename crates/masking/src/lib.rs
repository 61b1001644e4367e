//! Which patches the encoder may see. Masks only: no features, no weights, no libtorch.
//!
//! [`PatchGrid`] cuts an image into `L = rows·cols` patches, numbered row by row; [`RandomMask`] draws a
//! [`PatchMask`] for a batch, of a [`MaskKind`]; [`VisibleLayout`] numbers what is left, and is what the sparse encoder's
//! kernels are given.
//!
//! **Sense of a mask, everywhere: `true` (1) = hidden, `false` (0) = visible.**
//!
//! | symbol | meaning | at 224 px, 32 px patches, ratio 0.6 |
//! |---|---|---|
//! | `N` | images of the batch | |
//! | `L` | patches of an image | 49 |
//! | `K` | visible patches of an image, [`len_keep`]`(L, mask_ratio)`; equal in all images of a batch | 19 |
//! | `V` | packed rows, `N·K`: row `n·K + k` is the `k`-th visible patch of image `n` | `19 N` |
//!
//! What is drawn for an image depends on seed, epoch and the sample's id only: not on the batch it came
//! in, nor on the number of workers.
//!
//! The crate does not cut pixels into patches, holds no tensor, and never decides what happens at a
//! hidden place; that is the kernels' business.
//!
//! ```
//! use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
//!
//! let grid = PatchGrid::for_image(224, 224, 32)?;
//! let sampler = RandomMask::new(MaskConfig::random(0.6));
//! let mask = sampler.sample(grid, 7, 0, &[100, 101])?;
//! let layout = VisibleLayout::from(&mask);
//! assert_eq!((grid.patches(), layout.visible_per_image(), layout.rows()), (49, 19, 38));
//!
//! let patch = layout.visible()[20]; // second visible patch of image 1, counted over the batch
//! assert_eq!(layout.slots()[patch as usize], 20);
//! assert!(!mask.hidden(1)[patch as usize - 49]);
//! # Ok::<(), fcmae_masking::MaskError>(())
//! ```

mod config;
mod error;
mod grid;
mod kind;
mod layout;
mod mask;
mod sampler;

pub use config::{MaskConfig, len_keep};
pub use error::MaskError;
pub use grid::PatchGrid;
pub use kind::MaskKind;
pub use layout::VisibleLayout;
pub use mask::PatchMask;
pub use sampler::RandomMask;
