//! What is fed: a reader, good files of its format, and what it may do with a bad one.

use std::fmt;
use std::path::Path;

use crate::targets::{checkpoints, configs, images, indexes, manifests, shards};

/// A reader with good files of its format.
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Name of the file that it reads.
    pub file: &'static str,
    /// Good files.
    pub seeds: fn() -> Vec<Seed>,
    /// Words of the format, to be put where they do not belong.
    pub words: &'static [&'static [u8]],
    /// Reads a file, in every way there is.
    pub read: fn(&Input) -> Verdict,
}

/// All readers.
pub const TARGETS: [Target; 8] = [
    checkpoints::TORCH_ZIP,
    checkpoints::TORCH_LEGACY,
    checkpoints::SAFETENSORS,
    shards::TAR,
    indexes::INDEX,
    manifests::CSV,
    configs::TOML,
    images::IMAGES,
];

/// A good file: what is inside, and how it is dressed with lengths and checksums.
pub struct Seed {
    pub(crate) inside: Vec<u8>,
    pub(crate) dress: Dress,
}

type Dress = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

impl Seed {
    /// Of a format without checksums.
    pub(crate) fn plain(bytes: impl Into<Vec<u8>>) -> Seed {
        Seed::dressed(bytes, <[u8]>::to_vec)
    }

    pub(crate) fn dressed(
        inside: impl Into<Vec<u8>>,
        dress: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Seed {
        Seed {
            inside: inside.into(),
            dress: Box::new(dress),
        }
    }

    /// The whole file.
    pub(crate) fn file(&self) -> Vec<u8> {
        (self.dress)(&self.inside)
    }
}

/// A file to be read.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Where it lies, alone in a folder; what the reader makes beside it must be gone when it returns.
    pub file: &'a Path,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Number of the execution, for what need not be done each time.
    pub number: u64,
}

/// What a reader did with a file that it was right to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has read it.
    Read,
    /// It has refused it, in words that name it.
    Refused,
}

/// What a reader did, or what was wrong with that, in words.
pub type Verdict = Result<Outcome, String>;

impl Input<'_> {
    /// An error in words, judged: it names the file. What else the file may have put into it (control characters,
    /// thousands of names) the program shows escaped and cut.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub fn refused(&self, message: &dyn fmt::Display) -> Verdict {
        let message = message.to_string();
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        if !message.contains(&*name) {
            return Err(format!("a message without the name of the file: {message}"));
        }
        Ok(Outcome::Refused)
    }
}

/// Whether any of several ways to read a file did read it.
pub(crate) fn any_read(outcomes: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut read = Outcome::Refused;
    for outcome in outcomes {
        if outcome? == Outcome::Read {
            read = Outcome::Read;
        }
    }
    Ok(read)
}
