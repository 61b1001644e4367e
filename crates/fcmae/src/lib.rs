//! Masked pre-training of ConvNeXt V2 (FCMAE, arXiv 2301.00808) with a really sparse encoder, on libtorch.
//!
//! An image batch flows **[data] → [masking] → [encoder] → [decoder] → loss**, and the [trainer] turns the crank.
//! This crate is the facade: each module is a crate of its own with its own front page. The program `fcmae` is a
//! thin shell over it.
//!
//! | module | what |
//! |---|---|
//! | [config] | TOML with `extends`, overrides, nearest-name errors |
//! | [random] | keyed random streams |
//! | [checkpoint] | safetensors, atomic checkpoint folders |
//! | [data] | images from disk to batches |
//! | [masking] | patch grids, masks, the layout of what is visible |
//! | [kernels] | compute on packed tiles |
//! | [blocks], [encoder], [decoder], [model] | the network, floor by floor |
//! | [analysis] | reconstructions, the proof of the masking, measures of a classifier and of features |
//! | [plot] | line charts as SVG, for files and pages |
//! | [report] | run folders and matrices as HTML |
//! | [trainer] | the run: recipe, loop, checkpoints, exact resume; weights in use |
//! | [torch_ext] | what libtorch can do and `tch` does not bind |
//!
//! Pre-training a small network on a folder of grey images (the same as `fcmae pretrain` with a file):
//!
//! ```
//! use fcmae::data::{Color, DataConfig};
//! use fcmae::encoder::EncoderConfig;
//! use fcmae::trainer::*;
//!
//! # let folder = tempfile::tempdir()?;
//! # let images = folder.path().join("images");
//! # std::fs::create_dir(&images)?;
//! # for i in 0..10u32 {
//! #     let bars = image::GrayImage::from_fn(40, 40, |x, y| image::Luma([((x + i) % 8 * 20 + y) as u8]));
//! #     bars.save(images.join(format!("{i}.png")))?;
//! # }
//! let config = PretrainConfig {
//!     name: "cells".into(),
//!     # output_dir: folder.path().join("runs"),
//!     # device: "cpu".into(),
//!     model: EncoderConfig { depths: vec![1, 1, 1], dims: vec![4, 8, 16], in_chans: 1, ..Default::default() },
//!     data: DataConfig {
//!         path: Some(images),
//!         image_size: [32, 32], // a multiple of the total stride, 4·2²
//!         color: Color::Grey,
//!         mean: vec![0.5],
//!         std: vec![0.25],
//!         val_fraction: 0.2,
//!         ..Default::default()
//!     },
//!     optimizer: OptimizerConfig { lr: Some(1e-3), ..Default::default() },
//!     schedule: ScheduleConfig { epochs: 2, warmup_epochs: 0.5, min_lr: 0.0 },
//!     train: TrainConfig { batch_size: 4, accumulate: 1 },
//!     ..Default::default()
//! };
//! let summary = pretrain(&config, &RunOptions { verbosity: Verbosity::Quiet, ..Default::default() })?;
//! assert_eq!((summary.ending, summary.step), (Ending::Finished, 4));
//!
//! // What it left can be opened again: here, to hide two patches of an image and look at the loss.
//! let trained = Pretrained::open(&summary.run, tch::Device::Cpu)?;
//! let files = trained.image_files(&trained.config.data.path.clone().expect("set above"))?;
//! let rows = trained.reconstruct(&files[..1], &Hide::Patches(vec![0, 3]))?;
//! assert!(rows[0].loss.is_finite());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use fcmae_analysis as analysis;
pub use fcmae_blocks as blocks;
pub use fcmae_checkpoint as checkpoint;
pub use fcmae_config as config;
pub use fcmae_data as data;
pub use fcmae_decoder as decoder;
pub use fcmae_encoder as encoder;
pub use fcmae_kernels as kernels;
pub use fcmae_masking as masking;
pub use fcmae_model as model;
pub use fcmae_plot as plot;
pub use fcmae_random as random;
pub use fcmae_report as report;
pub use fcmae_torch_ext as torch_ext;
pub use fcmae_trainer as trainer;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
