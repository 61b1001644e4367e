//! FCMAE: encoder, decoder and loss as one model (paper §3).
//!
//! [`Fcmae`] encodes the visible patches of a batch, decodes all of them, and scores the pixels of the hidden
//! ones. [`load`] and [`tensors`] move its parameters between a [`VarStore`](tch::nn::VarStore) and checkpoint
//! files, by name, with every missing, unexpected or misshapen name reported. [`load_allowing`] takes weights from
//! elsewhere, and [`encoder_config`] says which network they need.
//!
//! | step | shape |
//! |---|---|
//! | images, normalised | `[N, C, H, W]` |
//! | encoded visible patches | `[V, 1, 1, dims.last()]`, `V = N·K` |
//! | tokens of all patches | `[N·L, 1, 1, D]`; finer from a UNet |
//! | predictions of hidden patches | `[N·(L−K), P·P·C]` |
//! | loss | scalar, f32 |
//!
//! The paper's alternatives (Tables 1 and 2) are values of [`FcmaeConfig`]: other encoders, decoders and responses in
//! GRN's place. There is no optimizer and no data here.
//!
//! ```
//! use fcmae_model::{Fcmae, FcmaeConfig, Step};
//! use fcmae_decoder::DecoderConfig;
//! use fcmae_encoder::EncoderConfig;
//! use fcmae_masking::{MaskConfig, PatchGrid, RandomMask};
//! use tch::{Device, Kind, Tensor, nn};
//!
//! let config = FcmaeConfig {
//!     encoder: EncoderConfig { depths: vec![1, 1], dims: vec![8, 16], ..EncoderConfig::default() },
//!     decoder: DecoderConfig { dim: 16, ..DecoderConfig::default() },
//!     ..FcmaeConfig::default()
//! };
//! let vs = nn::VarStore::new(Device::Cpu);
//! let model = Fcmae::new(&vs.root(), &config)?;
//! model.initialise(&vs, 0);
//!
//! let grid = PatchGrid::for_image(32, 48, config.patch_size())?; // 4 × 6 patches of 8 px
//! let mask = RandomMask::new(MaskConfig::default()).sample(grid, 0, 0, &[0, 1])?; // true = hidden
//! let images = Tensor::randn([2, 3, 32, 48], (Kind::Float, Device::Cpu));
//! let loss = model.loss(&images, &mask, &Step::default())?;
//! loss.backward();
//! assert!((loss.double_value(&[]) - 1.0).abs() < 0.1); // at the start it predicts nothing: about 1
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod fcmae;
mod import;
mod init;
mod weights;

pub use config::{FcmaeConfig, Init, ModelError};
pub use fcmae::{Fcmae, Step};
pub use fcmae_blocks::{Activation, Pass};
pub use import::{Allow, Imported, encoder_config, fcmae_config, load_allowing};
pub use weights::{from_data, load, shapes, tensors, to_data};
