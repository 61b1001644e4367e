//! Reads safetensors files: header first, everything checked against the file's length.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use safetensors::tensor::Metadata as Header;

use crate::error::CheckpointError;
use crate::foreign;
use crate::tensor::{Dtype, Metadata, TensorData, Tensors};

/// Bytes of the header's length, at the start of the file.
const PREFIX: u64 = 8;
/// The format's own limit.
const MAX_HEADER: u64 = 100_000_000;

/// Type and shape of a tensor, known without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Element type.
    pub dtype: Dtype,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
}

/// Reads all tensors and the metadata of a safetensors file.
///
/// Memory taken is the size of the tensors; nothing is allocated before the file's length is known to
/// cover it.
///
/// # Errors
/// Each names the file: missing, a folder, empty, of another kind (`.pt`, pickle, …), a garbled header,
/// truncated, data after the end, or a tensor type that is not supported.
pub fn read_safetensors(file: impl AsRef<Path>) -> Result<(Tensors, Metadata), CheckpointError> {
    let file = file.as_ref();
    let (mut handle, header) = open(file)?;
    let mut tensors = Tensors::new();
    // In the order of their places in the file, so that it is read from start to end.
    for name in header.offset_keys() {
        let info = supported(file, &header, &name)?;
        let size = crate::tensor::byte_count(info.dtype, &info.shape)?;
        let mut bytes = vec![0; size];
        handle
            .read_exact(&mut bytes)
            .map_err(|source| CheckpointError::read(file, source))?;
        tensors.insert(
            name,
            TensorData {
                dtype: info.dtype,
                shape: info.shape,
                bytes,
            },
        );
    }
    Ok((tensors, metadata(&header)))
}

/// Types and shapes of the tensors, and the metadata, of a safetensors file; the tensors are not read.
///
/// # Errors
/// As [`read_safetensors`]: a truncated file is found out by its length.
pub fn read_safetensors_header(
    file: impl AsRef<Path>,
) -> Result<(BTreeMap<String, TensorInfo>, Metadata), CheckpointError> {
    let file = file.as_ref();
    let (_, header) = open(file)?;
    let infos = header
        .offset_keys()
        .into_iter()
        .map(|name| supported(file, &header, &name).map(|info| (name, info)))
        .collect::<Result<_, _>>()?;
    Ok((infos, metadata(&header)))
}

/// Opens the file and checks its header; the handle stands at the first tensor's first byte.
fn open(file: &Path) -> Result<(File, Header), CheckpointError> {
    let read_error = |source| CheckpointError::read(file, source);
    let attributes = fs::metadata(file).map_err(read_error)?;
    if attributes.is_dir() {
        return Err(CheckpointError::IsFolder {
            file: file.to_path_buf(),
        });
    }
    if !attributes.is_file() {
        return Err(read_error(std::io::Error::other("it is no plain file"))); // and need never end
    }
    let mut handle = File::open(file).map_err(read_error)?;
    let length = handle.metadata().map_err(read_error)?.len();
    let header_length = header_length(file, &mut handle, length)?;

    let mut text = vec![0; header_length as usize];
    handle.read_exact(&mut text).map_err(read_error)?;
    let header: Header = serde_json::from_slice(&text).map_err(|e| header_error(file, e.to_string()))?;

    // A header may promise nearly 2^64 bytes.
    let expected = (PREFIX + header_length).saturating_add(header.data_len() as u64);
    let (file, got) = (file.to_path_buf(), length);
    match got.cmp(&expected) {
        std::cmp::Ordering::Less => Err(CheckpointError::Truncated { file, expected, got }),
        std::cmp::Ordering::Greater => Err(CheckpointError::TrailingData { file, expected, got }),
        std::cmp::Ordering::Equal => Ok((handle, header)),
    }
}

/// Reads and judges the first eight bytes.
fn header_length(file: &Path, handle: &mut File, length: u64) -> Result<u64, CheckpointError> {
    if length == 0 {
        return Err(CheckpointError::Empty {
            file: file.to_path_buf(),
        });
    }
    let mut start = Vec::with_capacity(32);
    let read = handle.by_ref().take(32).read_to_end(&mut start);
    read.and_then(|_| std::io::Seek::seek(handle, std::io::SeekFrom::Start(PREFIX)))
        .map_err(|source| CheckpointError::read(file, source))?;
    if let Some(error) = foreign::recognise(file, &start) {
        return Err(error);
    }
    let Some(prefix) = start.first_chunk::<8>() else {
        return Err(CheckpointError::Truncated {
            file: file.to_path_buf(),
            expected: PREFIX,
            got: length,
        });
    };
    let header_length = u64::from_le_bytes(*prefix);
    if header_length > MAX_HEADER || start.get(8).is_some_and(|&byte| byte != b'{') {
        return Err(header_error(
            file,
            "it begins neither as one nor as a PyTorch checkpoint".into(),
        ));
    }
    if PREFIX + header_length > length {
        let expected = PREFIX + header_length;
        return Err(CheckpointError::Truncated {
            file: file.to_path_buf(),
            expected,
            got: length,
        });
    }
    Ok(header_length)
}

fn header_error(file: &Path, problem: String) -> CheckpointError {
    CheckpointError::Header {
        file: file.to_path_buf(),
        problem,
    }
}

fn supported(file: &Path, header: &Header, name: &str) -> Result<TensorInfo, CheckpointError> {
    let info = header.info(name).expect("the name comes from this very header");
    let dtype = info.dtype.to_string();
    match Dtype::from_name(&dtype) {
        Some(dtype) => Ok(TensorInfo {
            dtype,
            shape: info.shape.clone(),
        }),
        None => {
            let (file, tensor) = (file.to_path_buf(), name.to_owned());
            Err(CheckpointError::UnsupportedDtype { file, tensor, dtype })
        }
    }
}

fn metadata(header: &Header) -> Metadata {
    header
        .metadata()
        .iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}
