//! Images from disk to batches: sources, decoding, augmentation, deterministic order, prefetch.
//!
//! A [`Dataset`] lists the images of a folder, a manifest, tar shards or a named data set and decodes them to 8-bit
//! grey or RGB by declared rules ([`decode`]); a [`Transform`] brings each to the size the network sees, to
//! the byte as Pillow and torchvision do; a [`Loader`] makes normalised [`Batch`]es of them on threads of
//! its own. What a batch holds depends on the data, the options and its [`Position`] only.
//!
//! For learning from labels, [`Dataset::open_labelled`] wants every image labelled as a [`LabelConfig`] says,
//! [`LoaderOptions::finetune`] augments as a [`FinetuneAugmentConfig`] says ([`RandAugment`] to the byte as
//! Pillow, [`RandomErasing`]) and mixes as a [`MixConfig`] says; a batch's [`Targets`] are then soft rows.
//!
//! | symbol | meaning |
//! |---|---|
//! | N, C, H, W | images of a batch, channels (1 or 3), rows, columns |
//! | `image_size` | `[H, W]`: height first, everywhere |
//! | id | position in the source's list: the key of all randomness |
//!
//! The crate knows neither tensors nor masks nor models. It reads files, and ranges of shards over HTTP.
//!
//! ```
//! use fcmae_data::{AugmentConfig, Image, Transform, Normalize};
//! use fcmae_random::{Purpose, Stream};
//!
//! let image = Image::new(60, 40, 1, vec![51; 60 * 40]);
//! let transform = Transform::train(&AugmentConfig::default(), [32, 32]);
//! let crop = transform.apply(&image, &mut Stream::new(7, Purpose::Augment, 0, 0));
//! let mut numbers = vec![0.0; 32 * 32];
//! Normalize::new(&[0.1], &[0.5]).write(&crop, &mut numbers);
//! assert!(numbers.iter().all(|x| (x - 0.2).abs() < 1e-6)); // (51 / 255 - 0.1) / 0.5
//! ```

mod augment;
mod cache;
mod config;
mod dataset;
mod decode;
mod erase;
mod error;
mod finetune;
mod image;
mod labels;
mod loader;
mod mix;
mod ops;
mod pack;
mod rand_augment;
mod resize;
mod source;
mod stats;
mod storage;
mod threads;
mod transform;

pub use augment::AugmentConfig;
pub use config::{Cache, DataConfig, OnError};
pub use dataset::{Dataset, Sample};
pub use decode::{DecodeOptions, JpegDecoder, decode, decode_with, is_decoding, read_image};
pub use erase::{EraseMode, RandomErasing};
pub use error::DataError;
pub use finetune::{CropMode, FinetuneAugment, FinetuneAugmentConfig};
pub use image::{Color, Image, Rect};
pub use labels::{LabelConfig, LabelKind, Targets};
pub use loader::{Batch, Loader, LoaderOptions, Pixels, Position, Report, StageTimes};
pub use mix::{CutmixBox, MixConfig, MixMode, Mixed};
pub use ops::ImageOp;
pub use pack::{PackNews, PackOptions, Packed, pack};
pub use rand_augment::{Kind as RandAugmentKind, RandAugment};
pub use resize::resize_bicubic;
pub use source::{IMAGE_EXTENSIONS, data_home, is_collection, tell_of_listing};
pub use stats::{Survey, channel_stats, survey};
pub use storage::{Location, Reads};
pub use transform::{Normalize, Transform};
