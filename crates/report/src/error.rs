//! What can be wrong with what a report is made of.

use std::io;
use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The folder is not that of a run.
    #[error("{}: not the folder of a run: there is no config.toml in it", folder.display())]
    NoRun {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of a run cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {problem}", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// The report cannot be written.
    #[error(transparent)]
    Unwritable(#[from] fcmae_checkpoint::CheckpointError),
}
