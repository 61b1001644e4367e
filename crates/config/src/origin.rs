//! Where a value came from.

use std::fmt;
use std::path::PathBuf;

/// The place that a key's value was given at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    File {
        /// The file, as it was named on the way to it.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A line of a text that came from no file.
    Text {
        /// The line, from 1.
        line: usize,
    },
    /// A `--set` of the command line.
    Override {
        /// What followed `--set`.
        argument: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line } => write!(f, "{}:{line}", file.display()),
            Origin::Text { line } => write!(f, "line {line} of the configuration"),
            Origin::Override { argument } => write!(f, "--set {argument}"),
        }
    }
}
