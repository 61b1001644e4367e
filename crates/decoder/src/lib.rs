//! The FCMAE decoder: mask token, a light stack of blocks, pixel prediction (paper §3).
//!
//! [`Decoder`] takes the encoder's features of the visible patches, puts a learned token where patches are hidden, runs
//! blocks over all patches, and predicts pixels: of every patch, or, while training, of the hidden ones alone. In the
//! paper the blocks are ordinary dense ConvNeXt V2 blocks of width `D` on the grid of patches; the kinds that it was
//! compared with (Table 1) are here too: a UNet that climbs back to the stem's resolution, and MAE's transformer.
//!
//! | symbol | meaning |
//! |---|---|
//! | `N`, `L`, `K` | images, patches per image, visible patches per image (`V = N·K`) |
//! | `D` | width of the decoder, 512 in the paper |
//! | `P`, `C_in` | side of a patch in pixels, channels of the images |
//!
//! It knows neither the encoder, but for the [`Ends`] it stands between, nor the loss.
//!
//! ```
//! use fcmae_decoder::{Decoder, DecoderConfig, Ends, Pass};
//! use fcmae_masking::{PatchGrid, PatchMask, VisibleLayout};
//! use tch::{Device, Kind, Tensor, nn};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let config = DecoderConfig { dim: 16, ..DecoderConfig::default() };
//! let ends = Ends { dims: &[24], stem_stride: 8, in_chans: 3, has_hidden: true };
//! let decoder = Decoder::new(&vs.root(), &config, &ends)?;
//! let grid = PatchGrid { rows: 2, cols: 2 };
//! let layout = VisibleLayout::from(&PatchMask::from_hidden_indices(grid, &[vec![0, 1, 3]])?);
//! let encoded = Tensor::zeros([1, 1, 1, 24], (Kind::Float, Device::Cpu)); // the one visible patch
//! let tokens = decoder.forward(vec![encoded], &layout, &Pass::default());
//! assert_eq!(decoder.predict_hidden(&tokens, &layout).size(), [3, 192]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod convnext;
mod decoder;
mod entrance;
mod transformer;
mod unet;

pub use config::{DecoderConfig, DecoderError, DecoderKind};
pub use decoder::{Decoder, Ends};
pub use fcmae_blocks::{Activation, Pass};
