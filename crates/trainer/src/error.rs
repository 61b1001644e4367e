//! What a user can put right: input that a run refuses before any work is lost.

use std::fmt;
use std::path::PathBuf;

/// Input that was refused. Programs answer it with exit code 2; everything else is a failure of the run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A value of the config is out of range, or two of them contradict each other.
    #[error("`{key}`: {message}")]
    Config {
        /// The key as it is written in the file, e.g. `train.batch_size`.
        key: &'static str,
        /// What was found and what to do.
        message: String,
    },
    /// A section that a lower crate owns was refused by it.
    #[error(transparent)]
    Section(Box<dyn std::error::Error + Send + Sync>),
    /// Another process holds the lock of the run folder.
    #[error(
        "run folder {folder} is in use by process {process}; wait for it, stop it, or choose another `name`"
    )]
    InUse {
        /// The run folder.
        folder: PathBuf,
        /// Process id as it was written into the lock file, or `unknown`.
        process: String,
    },
    /// The run folder cannot be made or written.
    #[error("run folder {folder}: {source}; choose another `output_dir` or free the place")]
    Unwritable {
        /// The run folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is not enough room for the checkpoints of this run.
    #[error(
        "run folder {folder}: the disk has {} free and this run needs about {}; \
         free some space, lower `checkpoint.keep`, or choose another `output_dir`",
        mebibytes(*free), mebibytes(*needed)
    )]
    DiskFull {
        /// The run folder.
        folder: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that the checkpoints to be kept, and one more while it is written, will take.
        needed: u64,
    },
    /// The folder holds a run that was made with another config.
    #[error(
        "run folder {folder} was made with another config: {differences}; \
         put these back, choose another `name`, or start over with --fresh"
    )]
    Changed {
        /// The run folder.
        folder: PathBuf,
        /// What differs, an entry for each key.
        differences: List,
    },
    /// An argument of the program that is missing or makes no sense.
    #[error("{message}")]
    Argument {
        /// What is wrong and what to type.
        message: String,
    },
    /// A path that leads to no weights.
    #[error("{path}: {problem}; give a run folder, a checkpoint folder or a `model.safetensors` of a run")]
    Weights {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// `--resume` was asked for and there is nothing to resume.
    #[error("run folder {folder} holds no checkpoint to resume from; leave out --resume to start this run")]
    NothingToResume {
        /// The run folder.
        folder: PathBuf,
    },
}

impl InputError {
    pub(crate) fn config(key: &'static str, message: impl Into<String>) -> InputError {
        InputError::Config {
            key,
            message: message.into(),
        }
    }

    pub(crate) fn section(error: impl std::error::Error + Send + Sync + 'static) -> InputError {
        InputError::Section(Box::new(error))
    }
}

/// Entries, shown in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List(pub Vec<String>);

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where_what_got_and_what_to_do() {
        let config = InputError::Config {
            key: "train.batch_size",
            message: "is 0; use at least 1".into(),
        };
        assert_eq!(config.to_string(), "`train.batch_size`: is 0; use at least 1");
        let changed = InputError::Changed {
            folder: "runs/a".into(),
            differences: List(vec![
                "`optimizer.lr` was 0.1, is 0.2".into(),
                "`seed` was 1, is 2".into(),
            ]),
        };
        assert_eq!(
            changed.to_string(),
            "run folder runs/a was made with another config: `optimizer.lr` was 0.1, is 0.2; `seed` was 1, is 2; \
             put these back, choose another `name`, or start over with --fresh"
        );
        let full = InputError::DiskFull {
            folder: "r".into(),
            free: 1 << 20,
            needed: (5 << 20) + 1,
        };
        assert!(
            full.to_string()
                .contains("has 1 MiB free and this run needs about 6 MiB")
        );
    }
}
