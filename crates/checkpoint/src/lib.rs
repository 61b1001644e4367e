//! Checkpoints without running pickles and without libtorch: read in every layout, written atomically.
//!
//! A tensor here is [`TensorData`]: a [`Dtype`], a shape and little-endian bytes; [`Tensors`] maps names to
//! them. [`read_safetensors`] and [`write_safetensors`] move such maps from and to files,
//! [`check_names`] compares a map with what a network expects, and [`CheckpointFolder`] keeps the newest
//! few checkpoints of a run so that a process killed at any moment leaves the last complete one intact:
//!
//! ```text
//! checkpoints/
//!   last                    link to the newest
//!   step-00001234/
//!     model.safetensors …   whatever was put into the Staging folder
//!     checksums             SHA-256 of each file, as `sha256sum -c` reads it
//! ```
//!
//! Every file is written beside its place under a temporary name, synced and renamed; what is read is
//! checked against its length and header first, so a damaged file is an error that names it, never a
//! crash and never a huge allocation. The same tensors and metadata always give the same bytes, so equal
//! checksums mean equal weights.
//!
//! [`read_weights`] takes a ConvNeXt from other programs too (the reference, timm, transformers; safetensors,
//! `.pt`, `.pth`, `.bin`), tells by content what it has before it, and gives [`Weights`] under one set of names
//! with the [`Architecture`] that their shapes tell; [`export_weights`] writes them for each of those programs.
//! [`read_contents`] and [`read_tensors`] look at any file.
//!
//! The crate does not know what training state means (which files a checkpoint has is its caller's
//! choice), and runs no code found in a file: pickles are read by the crate `pytorch-reader`, for which an
//! object that is no tensor is a name and nothing more.
//!
//! ```
//! use fcmae_checkpoint::{TensorData, Tensors, read_safetensors, write_safetensors};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let file = folder.path().join("model.safetensors");
//! let mut tensors = Tensors::new();
//! tensors.insert("norm.weight".into(), TensorData::from_f32(vec![3], &[1.0, 2.0, 3.0])?);
//! write_safetensors(&file, &tensors, &[("epoch".into(), "4".into())].into())?;
//!
//! let (back, metadata) = read_safetensors(&file)?;
//! assert_eq!(back["norm.weight"].to_f32()?, [1.0, 2.0, 3.0]);
//! assert_eq!(metadata["epoch"], "4");
//! # Ok(())
//! # }
//! ```

mod atomic;
mod checksums;
mod error;
mod folder;
mod foreign;
mod hints;
mod json;
mod names;
mod read;
mod source;
mod staging;
mod tensor;
mod torch;
mod torch_write;
mod weights;
mod write;

pub use atomic::{Sink, replace_file};
pub use checksums::{sha256_file, verify};
pub use error::CheckpointError;
pub use folder::{CheckpointFolder, StoredCheckpoint, ValidCheckpoint};
pub use json::{read_json, write_json};
pub use names::{HasShape, Misshapen, NameReport, check_names, matches_any};
pub use read::{TensorInfo, read_safetensors, read_safetensors_header};
pub use source::{Contents, Format, read_contents, read_tensors};
pub use staging::Staging;
pub use tensor::{Dtype, Metadata, TensorData, Tensors};
pub use weights::{
    Architecture, BlockVersion, DecoderShape, Exported, Naming, Preprocessing, ReadOptions, Target, Weights,
    export_weights, find_weights_file, read_weights, read_weights_with, recognise_weights,
};
pub use write::{write_listed, write_safetensors};
