//! The FCMAE decoder: mask token, a light stack of ConvNeXt blocks, pixel prediction (paper §3).
//!
//! [`ConvNextDecoder`] takes the encoder's features of the visible patches, `[V, 1, 1, C]`, puts a learned token
//! where patches are hidden, runs ordinary dense ConvNeXt V2 blocks of width `D` over all patches, and predicts
//! pixels: of every patch, or, while training, of the hidden ones alone.
//!
//! | symbol | meaning |
//! |---|---|
//! | `N`, `L`, `K` | images, patches per image, visible patches per image (`V = N·K`) |
//! | `D` | width of the decoder, 512 in the paper |
//! | `P`, `C_in` | side of a patch in pixels, channels of the images |
//!
//! It knows neither the encoder nor the loss.
//!
//! ```
//! use fcmae_decoder::{ConvNextDecoder, DecoderConfig, Pass};
//! use fcmae_masking::{PatchGrid, PatchMask, VisibleLayout};
//! use tch::{Device, Kind, Tensor, nn};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let config = DecoderConfig { depth: 1, dim: 16 };
//! let decoder = ConvNextDecoder::new(&vs.root(), &config, 24, 8 * 8 * 3)?;
//! let grid = PatchGrid { rows: 2, cols: 2 };
//! let layout = VisibleLayout::from(&PatchMask::from_hidden_indices(grid, &[vec![0, 1, 3]])?);
//! let encoded = Tensor::zeros([1, 1, 1, 24], (Kind::Float, Device::Cpu)); // the one visible patch
//! let tokens = decoder.forward(&encoded, &layout, &Pass::default());
//! assert_eq!(decoder.predict_hidden(&tokens, &layout).size(), [3, 192]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod convnext;

pub use config::{DecoderConfig, DecoderError};
pub use convnext::ConvNextDecoder;
pub use fcmae_blocks::{Activation, Pass};
