//! Writes safetensors files: the same tensors and metadata always give the same bytes.

use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::atomic::{parent, replace_file};
use crate::checksums::{remove_list, write_list};
use crate::error::CheckpointError;
use crate::tensor::{Metadata, TensorData, Tensors, byte_count};

/// The header's key for metadata; no tensor can have this name.
const METADATA_KEY: &str = "__metadata__";

/// Writes a safetensors file, replacing `file` whole or not at all (temporary file in the same folder,
/// synced, renamed, folder synced).
///
/// The header is written here rather than by the `safetensors` crate, whose metadata is in the random order
/// of a hash map: files of equal content could not be compared by their checksums.
///
/// # Errors
/// [`CheckpointError::Tensor`] for a tensor whose bytes do not fit its shape, or that is named
/// `__metadata__`; [`CheckpointError::Write`] when the system refuses (full disk, no permission), in which
/// case an older file of that name is untouched.
pub fn write_safetensors(
    file: impl AsRef<Path>,
    tensors: &Tensors,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    let file = file.as_ref();
    for (name, tensor) in tensors {
        check(file, name, tensor)?;
    }
    let header = Header::new(tensors, metadata);
    let text = header.text(file)?;
    replace_file(file, |out| {
        out.write_all(&(text.len() as u64).to_le_bytes())?;
        out.write_all(&text)?;
        header
            .entries
            .iter()
            .try_for_each(|(_, tensor)| out.write_all(&tensor.bytes))
    })
}

/// [`write_safetensors`], with the file's SHA-256 in the list of its folder, as a checkpoint has it; all other files of
/// the folder are listed too.
///
/// A process killed on the way leaves the old file or the new one whole, and no list rather than a wrong one.
///
/// # Errors
/// As [`write_safetensors`]; a list that cannot be written.
pub fn write_listed(
    file: impl AsRef<Path>,
    tensors: &Tensors,
    metadata: &Metadata,
) -> Result<(), CheckpointError> {
    let folder = parent(file.as_ref());
    remove_list(folder)?;
    write_safetensors(file.as_ref(), tensors, metadata)?;
    write_list(folder)
}

fn check(file: &Path, name: &str, tensor: &TensorData) -> Result<(), CheckpointError> {
    let problem = match byte_count(tensor.dtype, &tensor.shape) {
        _ if name == METADATA_KEY => "the name is reserved by the format".to_owned(),
        Err(error) => error.to_string(),
        Ok(expected) if expected == tensor.bytes.len() => return Ok(()),
        Ok(expected) => {
            let (dtype, shape) = (tensor.dtype, tensor.shape.clone());
            CheckpointError::ByteCount {
                dtype,
                shape,
                expected,
                got: tensor.bytes.len(),
            }
            .to_string()
        }
    };
    Err(CheckpointError::Tensor {
        file: file.to_path_buf(),
        tensor: name.to_owned(),
        problem,
    })
}

/// The JSON object at the start of the file.
struct Header<'a> {
    metadata: &'a Metadata,
    /// In the order of their places in the file: wide elements first, so that each tensor is aligned to its
    /// elements; then by name.
    entries: Vec<(&'a str, &'a TensorData)>,
}

impl<'a> Header<'a> {
    fn new(tensors: &'a Tensors, metadata: &'a Metadata) -> Header<'a> {
        let mut entries: Vec<_> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        // Stable, and the map is in the order of names already.
        entries.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype.size()));
        Header { metadata, entries }
    }

    /// The JSON text, padded with spaces to a multiple of eight bytes.
    fn text(&self, file: &Path) -> Result<Vec<u8>, CheckpointError> {
        let mut text = serde_json::to_vec(self).map_err(|e| CheckpointError::write(file, e.into()))?;
        text.resize(text.len().next_multiple_of(8), b' ');
        Ok(text)
    }
}

#[derive(serde::Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if !self.metadata.is_empty() {
            map.serialize_entry(METADATA_KEY, self.metadata)?;
        }
        let mut start = 0;
        for (name, tensor) in &self.entries {
            let end = start + tensor.bytes.len();
            let (dtype, shape) = (tensor.dtype.name(), &tensor.shape[..]);
            map.serialize_entry(
                name,
                &Entry {
                    dtype,
                    shape,
                    data_offsets: [start, end],
                },
            )?;
            start = end;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dtype, read_safetensors};
    use proptest::prelude::*;
    use std::fs;

    fn dtypes() -> impl Strategy<Value = Dtype> {
        prop::sample::select(vec![
            Dtype::F64,
            Dtype::F32,
            Dtype::F16,
            Dtype::BF16,
            Dtype::I64,
            Dtype::U8,
            Dtype::Bool,
        ])
    }

    fn tensor() -> impl Strategy<Value = TensorData> {
        (dtypes(), prop::collection::vec(0_usize..4, 0..4)).prop_flat_map(|(dtype, shape)| {
            let size = byte_count(dtype, &shape).unwrap();
            prop::collection::vec(any::<u8>(), size).prop_map(move |bytes| TensorData {
                dtype,
                shape: shape.clone(),
                bytes,
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn files_hold_what_was_written(
            tensors in prop::collection::btree_map(".{0,12}", tensor(), 0..6),
            metadata in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("t.safetensors");
            write_safetensors(&file, &tensors, &metadata).unwrap();
            prop_assert_eq!(read_safetensors(&file).unwrap(), (tensors.clone(), metadata.clone()));

            // The format's own reader sees the same.
            let bytes = fs::read(&file).unwrap();
            let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!(theirs.len(), tensors.len());
            for (name, ours) in &tensors {
                prop_assert_eq!(theirs.tensor(name).unwrap().data(), &ours.bytes[..]);
            }

            write_safetensors(&file, &tensors, &metadata).unwrap();
            prop_assert_eq!(fs::read(&file).unwrap(), bytes, "equal content, equal bytes");
        }
    }

    #[test]
    fn unfit_tensors_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.safetensors");
        let write = |name: &str, shape| {
            let tensor = TensorData {
                dtype: Dtype::F32,
                shape,
                bytes: vec![0; 4],
            };
            write_safetensors(&file, &[(name.to_owned(), tensor)].into(), &Metadata::new())
                .unwrap_err()
                .to_string()
        };
        assert!(write("w", vec![2]).ends_with("t.safetensors: tensor `w` cannot be written: a tensor of type F32 and shape [2] takes 8 bytes, not 4"));
        assert!(write("__metadata__", vec![1]).contains("reserved"));
        assert!(!file.exists());
    }
}
