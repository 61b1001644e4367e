//! A file of tensors of any format: names and shapes at once, numbers on demand.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::CheckpointError;
use crate::read::{TensorInfo, read_safetensors, read_safetensors_header};
use crate::tensor::{Metadata, Tensors};
use crate::torch::TorchFile;

/// Where the magic of a tar archive stands.
const TAR_MAGIC: std::ops::Range<usize> = 257..262;

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// safetensors.
    Safetensors,
    /// A zip archive with a pickle, as `torch.save` writes since PyTorch 1.6.
    TorchZip,
    /// Pickles one after the other, as `torch.save` wrote before.
    TorchLegacy,
    /// A tar archive, as PyTorch 0.1 wrote.
    TorchTar,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Safetensors => "safetensors",
            Format::TorchZip => "PyTorch (zip)",
            Format::TorchLegacy => "PyTorch (legacy)",
            Format::TorchTar => "PyTorch (tar)",
        })
    }
}

/// What is in a file, without its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// How the file is laid out.
    pub format: Format,
    /// Types and shapes under the file's own names; dictionaries in dictionaries are joined by dots.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// Text and plain values beside the tensors.
    pub metadata: Metadata,
    /// Python objects that were passed over, as `args (argparse.Namespace)`: nothing of them is ever run.
    pub skipped: Vec<String>,
}

/// What is in a checkpoint of any format: safetensors, or `.pt`, `.pth` and `.bin` of PyTorch. The format is told
/// by the content, not by the name.
///
/// # Errors
/// Each names the file: missing, empty, of another kind, damaged, truncated, or a zip bomb.
pub fn read_contents(file: impl AsRef<Path>) -> Result<Contents, CheckpointError> {
    Ok(Source::open(file.as_ref())?.contents)
}

/// Every tensor of a checkpoint of any format, under the file's own names.
///
/// # Errors
/// As [`read_contents`].
pub fn read_tensors(file: impl AsRef<Path>) -> Result<Tensors, CheckpointError> {
    let source = Source::open(file.as_ref())?;
    let names: Vec<&str> = source.contents.tensors.keys().map(String::as_str).collect();
    source.read(&names)
}

/// An opened file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) contents: Contents,
    /// Absent for safetensors.
    torch: Option<TorchFile>,
}

impl Source {
    pub(crate) fn open(file: &Path) -> Result<Source, CheckpointError> {
        let read_error = |source| CheckpointError::read(file, source);
        let attributes = fs::metadata(file).map_err(read_error)?;
        let mut start = Vec::with_capacity(512);
        if attributes.is_file() {
            let handle = File::open(file).map_err(read_error)?;
            handle.take(512).read_to_end(&mut start).map_err(read_error)?;
        }
        if !is_torch(&start) {
            let (tensors, metadata) = read_safetensors_header(file)?;
            let contents = Contents {
                format: Format::Safetensors,
                tensors,
                metadata,
                skipped: Vec::new(),
            };
            return Ok(Source {
                file: file.to_path_buf(),
                contents,
                torch: None,
            });
        }
        let mut torch = TorchFile::open(file, attributes.len())?;
        let contents = Contents {
            format: torch.format(),
            tensors: torch.infos(),
            metadata: std::mem::take(&mut torch.metadata),
            skipped: std::mem::take(&mut torch.skipped),
        };
        Ok(Source {
            file: file.to_path_buf(),
            contents,
            torch: Some(torch),
        })
    }

    /// The tensors of these names.
    pub(crate) fn read(&self, names: &[&str]) -> Result<Tensors, CheckpointError> {
        if let Some(torch) = &self.torch {
            return torch.read(&self.file, names);
        }
        let (mut tensors, _) = read_safetensors(&self.file)?;
        tensors.retain(|name, _| names.contains(&name.as_str()));
        Ok(tensors)
    }
}

/// Whether the first bytes are those of something that `torch.save` writes.
fn is_torch(start: &[u8]) -> bool {
    let is_safetensors = start.get(8) == Some(&b'{');
    let is_pickle = start.first() == Some(&0x80) && start.get(1).is_some_and(|protocol| *protocol <= 5);
    !is_safetensors
        && (start.starts_with(b"PK")
            || is_pickle
            || start.get(TAR_MAGIC).is_some_and(|magic| magic == b"ustar"))
}
