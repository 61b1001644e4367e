//! PyTorch's `.pt`, `.pth` and `.bin` files, read by `pytorch-reader`, which runs nothing that is in them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use pytorch_reader::{DType, FileFormat, PickleValue, PytorchError, PytorchReader};
use zip::ZipArchive;

use crate::error::CheckpointError;
use crate::read::TensorInfo;
use crate::source::Format;
use crate::tensor::{Dtype, Metadata, TensorData, Tensors};

/// A file may unfold to this many times its length: weights do not compress, and views of one storage are few.
const MAX_RATIO: u64 = 16;
/// Allowed in any case.
const FREE_BYTES: u64 = 1 << 20;
/// Characters of a foreign message that are passed on.
const MAX_MESSAGE: usize = 240;

/// An opened file; tensors are read when asked for.
#[derive(Debug)]
pub(crate) struct TorchFile {
    reader: PytorchReader,
    length: u64,
    /// Plain values at the root: `epoch`, ….
    pub(crate) metadata: Metadata,
    /// Objects at the root that are no tensors and were passed over unopened, as `args (argparse.Namespace)`.
    pub(crate) skipped: Vec<String>,
}

impl TorchFile {
    pub(crate) fn open(file: &Path, length: u64) -> Result<TorchFile, CheckpointError> {
        refuse_bomb(file, length)?;
        let reader = PytorchReader::new(file).map_err(|e| error(file, &describe(&e)))?;
        let (mut metadata, mut skipped) = (Metadata::new(), Vec::new());
        // What cannot be told beside the tensors is left out: the tensors are what the file was opened for.
        if let Ok(PickleValue::Dict(root)) = PytorchReader::read_pickle_data(file, None) {
            for (key, value) in root {
                if reader.get(&key).is_some() {
                    continue;
                }
                match value {
                    PickleValue::Int(v) => _ = metadata.insert(key, v.to_string()),
                    PickleValue::Float(v) => _ = metadata.insert(key, v.to_string()),
                    PickleValue::Bool(v) => _ = metadata.insert(key, v.to_string()),
                    PickleValue::String(v) => _ = metadata.insert(key, v),
                    PickleValue::Unsupported(class) => skipped.push(one_line(&format!("{key} ({class})"))),
                    _ => {}
                }
            }
        }
        skipped.sort();
        Ok(TorchFile {
            reader,
            length,
            metadata,
            skipped,
        })
    }

    pub(crate) fn format(&self) -> Format {
        match self.reader.metadata().format_type {
            FileFormat::Zip => Format::TorchZip,
            FileFormat::Tar => Format::TorchTar,
            FileFormat::Legacy | FileFormat::Pickle => Format::TorchLegacy,
        }
    }

    pub(crate) fn infos(&self) -> BTreeMap<String, TensorInfo> {
        let info = |tensor: &pytorch_reader::Tensor| TensorInfo {
            dtype: dtype(tensor.dtype()),
            shape: tensor.shape().to_vec(),
        };
        let tensors = self.reader.tensors().iter();
        tensors
            .map(|(name, tensor)| (name.clone(), info(tensor)))
            .collect()
    }

    pub(crate) fn read(&self, file: &Path, names: &[&str]) -> Result<Tensors, CheckpointError> {
        let picked: Vec<_> = names
            .iter()
            .filter_map(|name| Some((*name, self.reader.get(name)?)))
            .collect();
        let bytes = picked
            .iter()
            .fold(0_u64, |sum, (_, t)| sum.saturating_add(t.byte_len() as u64));
        if bytes > limit(self.length) {
            return Err(error(file, &unfolds(bytes, self.length)));
        }
        let mut tensors = Tensors::new();
        for (name, tensor) in picked {
            let bytes = tensor.read().map_err(|e| error(file, &e.to_string()))?;
            let data = TensorData::new(dtype(tensor.dtype()), tensor.shape().to_vec(), bytes)?;
            tensors.insert(name.to_owned(), data);
        }
        Ok(tensors)
    }
}

/// An archive whose entries claim far more than the file holds is refused before one is unpacked.
fn refuse_bomb(file: &Path, length: u64) -> Result<(), CheckpointError> {
    let open = || File::open(file).map_err(|source| CheckpointError::read(file, source));
    // Both, whatever the first bytes say: a file may be either to the one who looks.
    let claimed = zip_claims(open()?).max(tar_claims(open()?));
    if claimed > limit(length) {
        return Err(error(file, &unfolds(claimed, length)));
    }
    Ok(())
}

/// Bytes that the entries of a zip archive are to unfold to; 0 of another format, or of damage that the reader
/// describes better.
fn zip_claims(handle: File) -> u64 {
    let Ok(mut archive) = ZipArchive::new(BufReader::new(handle)) else {
        return 0;
    };
    let count = archive.len();
    let size = |index| archive.by_index_raw(index).map_or(0, |entry| entry.size());
    (0..count).map(size).fold(0, u64::saturating_add)
}

/// The same of a tar archive, in which sparse files are nothing but a claim.
fn tar_claims(handle: File) -> u64 {
    let mut archive = tar::Archive::new(BufReader::new(handle));
    let Ok(entries) = archive.entries() else {
        return 0;
    };
    entries
        .map_while(Result::ok)
        .fold(0, |sum: u64, entry| sum.saturating_add(entry.size()))
}

fn limit(length: u64) -> u64 {
    length.saturating_mul(MAX_RATIO).saturating_add(FREE_BYTES)
}

fn unfolds(bytes: u64, length: u64) -> String {
    format!(
        "its {length} bytes would unfold to {bytes}, more than {MAX_RATIO} times as many: a damaged file or a zip bomb"
    )
}

fn describe(error: &PytorchError) -> String {
    match error {
        PytorchError::Zip(cause) => format!("the archive is damaged or cut off ({cause})"),
        other => other.to_string(),
    }
}

fn error(file: &Path, problem: &str) -> CheckpointError {
    CheckpointError::Torch {
        file: file.to_path_buf(),
        problem: one_line(problem),
    }
}

/// A message may quote the file: control characters go, and so does what is too long for a line.
fn one_line(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().map(clean).take(MAX_MESSAGE).collect();
    if text.chars().nth(MAX_MESSAGE).is_some() {
        line.push('…');
    }
    line
}

fn dtype(theirs: DType) -> Dtype {
    match theirs {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::Bool,
    }
}
