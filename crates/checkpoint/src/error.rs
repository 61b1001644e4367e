//! What can be wrong with a checkpoint.

use std::io;
use std::path::{Path, PathBuf};

use crate::names::NameReport;
use crate::tensor::Dtype;

/// Why a checkpoint cannot be read or written. Every variant that comes from a file names it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    // ---- files ----
    /// There is no such file.
    #[error("{}: there is no such file", file.display())]
    Missing {
        /// The file asked for.
        file: PathBuf,
    },

    /// The path names a folder.
    #[error("{}: this is a folder, not a safetensors file; give the file inside it", file.display())]
    IsFolder {
        /// The path asked for.
        file: PathBuf,
    },

    /// The file could not be read.
    #[error("{}: cannot be read: {source}", file.display())]
    Read {
        /// The file or folder.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// The file could not be written; what was there before is untouched.
    #[error("{}: cannot be written: {source}; what was there before is untouched", file.display())]
    Write {
        /// The file or folder.
        file: PathBuf,
        /// The system's reason (a full disk, no permission, …).
        source: io::Error,
    },

    // ---- contents ----
    /// The file has no bytes.
    #[error("{}: the file is empty", file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },

    /// The file is of a known other kind.
    #[error("{}: this is {kind}, not a safetensors file; {advice}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What it is, with an article.
        kind: &'static str,
        /// What to do about it.
        advice: &'static str,
    },

    /// The header is not that of a safetensors file.
    #[error("{}: not a readable safetensors file: {problem}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong with the header.
        problem: String,
    },

    /// The file ends before its tensors do.
    #[error("{}: the file is truncated: it has {got} bytes and should have {expected}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Bytes that the header calls for.
        expected: u64,
        /// Bytes of the file.
        got: u64,
    },

    /// The file goes on after its tensors.
    #[error(
        "{}: the file has {got} bytes and should have {expected}: there is foreign data at its end",
        file.display()
    )]
    TrailingData {
        /// The file.
        file: PathBuf,
        /// Bytes that the header calls for.
        expected: u64,
        /// Bytes of the file.
        got: u64,
    },

    /// A tensor of a type that this program does not use.
    #[error("{}: tensor `{tensor}` is of type {dtype}, which is not supported", file.display())]
    UnsupportedDtype {
        /// The file.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The type's name in the file.
        dtype: String,
    },

    /// A PyTorch file that cannot be read.
    #[error("{}: not a readable PyTorch checkpoint: {problem}", file.display())]
    Torch {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A file of tensors that are no ConvNeXt, or not the one that was asked for.
    #[error("{}: {problem}", file.display())]
    Weights {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },

    /// A ConvNeXt with names missing, left over or of another shape.
    #[error("{}: {report}", file.display())]
    Names {
        /// The file.
        file: PathBuf,
        /// The names, as this crate calls them.
        report: Box<NameReport>,
    },

    /// A JSON file that does not hold what it should.
    #[error("{}: not what was expected: {problem}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        problem: String,
    },

    // ---- checkpoint folders ----
    /// A file is not the one that was written.
    #[error(
        "{}: the file is damaged: its SHA-256 is not the one recorded when the checkpoint was written",
        file.display()
    )]
    Checksum {
        /// The file.
        file: PathBuf,
    },

    /// The list of checksums itself cannot be used.
    #[error("{}: not a list of checksums: {problem}", file.display())]
    ChecksumList {
        /// The list.
        file: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// Checkpoints exist, and all are damaged.
    #[error("{}: none of the {count} checkpoints can be used; the newest: {newest}", folder.display())]
    NoneValid {
        /// The folder of the checkpoints.
        folder: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: String,
    },

    // ---- tensors ----
    /// Bytes, type and shape of a tensor do not belong together.
    #[error("a tensor of type {dtype} and shape {shape:?} takes {expected} bytes, not {got}")]
    ByteCount {
        /// Its type.
        dtype: Dtype,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that type and shape call for.
        expected: usize,
        /// Bytes given.
        got: usize,
    },

    /// A shape with more elements than can be counted.
    #[error("the shape {shape:?} has more elements than memory can hold")]
    ShapeOverflow {
        /// The shape.
        shape: Vec<usize>,
    },

    /// A tensor that cannot stand in a file as it is.
    #[error("{}: tensor `{tensor}` cannot be written: {problem}", file.display())]
    Tensor {
        /// The file to be written.
        file: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A conversion to floating point of something that is none.
    #[error("a tensor of type {dtype} does not hold floating-point numbers")]
    NotFloat {
        /// Its type.
        dtype: Dtype,
    },
}

impl CheckpointError {
    /// A failed read of `file`, with a missing file told apart.
    pub(crate) fn read(file: &Path, source: io::Error) -> CheckpointError {
        let file = file.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => CheckpointError::Missing { file },
            _ => CheckpointError::Read { file, source },
        }
    }

    pub(crate) fn weights(file: &Path, problem: impl Into<String>) -> CheckpointError {
        CheckpointError::Weights {
            file: file.to_path_buf(),
            problem: problem.into(),
        }
    }

    pub(crate) fn write(file: &Path, source: io::Error) -> CheckpointError {
        CheckpointError::Write {
            file: file.to_path_buf(),
            source,
        }
    }
}
