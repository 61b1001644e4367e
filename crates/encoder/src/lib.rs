//! The ConvNeXt V2 encoder on visible patches only, its masked-dense twin, and the dense classifier.
//!
//! [`SparseEncoder`] takes images and a [`VisibleLayout`](fcmae_masking::VisibleLayout) and computes the four
//! stages on the visible patches alone (paper §3). With every patch visible it is the ordinary dense network,
//! with the same weights under the same names: nothing is converted after pre-training. [`Classifier`] adds
//! pooling, norm and head; [`FeaturePyramid`] gives the maps of all stages to other heads.
//! [`SparseEncoder::forward_observed`] shows the features inside every block, [`Place`] by place. [`masked_dense`]
//! computes the same function as every dense port should, with masks on whole maps: it proves the encoder right,
//! alternatives included, and costs what hidden pixels cost. [`EncoderKind`] names what a pre-training can use.
//!
//! | stage | packed features of a 224 px image, 32 px patches, ratio 0.6 |
//! |---|---|
//! | images | `[N, C, H, W]` = `[N, 3, 224, 224]`, L = 49, K = 19 |
//! | 0 … 3 | `[V, p, p, dims[s]]` with V = 19·N and p = 8, 4, 2, 1 |
//!
//! Sizes are data: [`EncoderConfig`] holds depths, widths, channels and the stem's stride; the side of a patch is
//! the total stride. There is no decoder and no loss here.
//!
//! ```
//! use fcmae_encoder::{EncoderConfig, Pass, SparseEncoder};
//! use fcmae_masking::{PatchGrid, PatchMask, VisibleLayout};
//! use tch::{Device, Kind, Tensor, nn};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let config = EncoderConfig { depths: vec![1, 1, 1, 1], dims: vec![4, 8, 8, 16], ..EncoderConfig::default() };
//! let encoder = SparseEncoder::new(&vs.root(), &config)?;
//! let grid = PatchGrid::for_image(64, 96, config.total_stride())?; // 2 × 3 patches of 32 px
//! let layout = VisibleLayout::from(&PatchMask::from_hidden_indices(grid, &[vec![0, 2, 3, 5]])?);
//! let images = Tensor::zeros([1, 3, 64, 96], (Kind::Float, Device::Cpu));
//! assert_eq!(encoder.forward(&images, &layout, &Pass::default()).size(), [2, 1, 1, 16]); // two visible patches
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod classifier;
mod config;
mod encoder;
mod masked_dense;
mod observed;
mod pyramid;

pub use classifier::Classifier;
pub use config::{DenseFill, EncoderConfig, EncoderError, EncoderKind};
pub use encoder::SparseEncoder;
pub use fcmae_blocks::{Activation, Pass, ResponseConfig, ResponseKind, Site};
pub use masked_dense::masked_dense;
pub use observed::Place;
pub use pyramid::FeaturePyramid;
