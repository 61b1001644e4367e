//! What of a pack is finished, so that the same pack, begun again, goes on behind it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use fcmae_random::hash64;
use serde::{Deserialize, Serialize};

use super::members::Members;

/// The shards of a pack that are on the disk, whole.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// How they are made.
    pub(super) how: String,
    /// In their order.
    pub(super) shards: Vec<Finished>,
}

/// A shard on the disk, and what it was made of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) images: usize,
    pub(super) resized: usize,
    /// What is wrong with the images that were left out.
    pub(super) left_out: Vec<String>,
    /// The row that the next shard begins with, because it did not fit.
    pub(super) next: usize,
    /// The [mark](Trail::mark) of that row; `None` where it cannot be told whether the images are the same again.
    pub(super) mark: Option<u64>,
}

impl Journal {
    pub(super) const FILE: &str = "journal.json";

    /// That of `folder`; an empty one where there is none that can be read, or it is of shards made otherwise.
    pub(super) fn read(folder: &Path, how: &str) -> Journal {
        let text = fs::read_to_string(folder.join(Journal::FILE)).unwrap_or_default();
        let found = serde_json::from_str(&text).ok();
        found
            .filter(|journal: &Journal| journal.how == how)
            .unwrap_or_default()
    }

    /// Takes the place of the one before, whole.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
        temporary.write_all(&serde_json::to_vec(self)?)?;
        temporary.as_file().sync_all()?;
        temporary.persist(folder.join(Journal::FILE))?;
        File::open(folder)?.sync_all()
    }
}

/// Goes along the rows of a table.
pub(super) struct Trail<'a> {
    members: &'a Members<'a>,
    passed: usize,
    hash: Option<u64>,
}

impl<'a> Trail<'a> {
    pub(super) fn new(members: &'a Members<'a>) -> Trail<'a> {
        Trail {
            members,
            passed: 0,
            hash: Some(0),
        }
    }

    /// A hash of all rows up to that one and with it, or of all with their end: as long as it is equal, so are the
    /// shards before that row. `None` where nothing tells one version of an image from the next.
    pub(super) fn mark(&mut self, row: usize) -> Option<u64> {
        if row + 1 < self.passed {
            *self = Trail::new(self.members);
        }
        while self.passed <= row {
            let text = self.members.text(self.passed);
            let next = |(hash, text)| hash64(format!("{hash} {text}").as_bytes());
            self.hash = self.hash.zip(text).map(next);
            self.passed += 1;
        }
        self.hash
    }
}
