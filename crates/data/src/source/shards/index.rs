//! What a scan of a shard found, kept in the cache so that the next run need not scan.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fcmae_random::hash64;
use serde::{Deserialize, Serialize};

use super::samples::{Sample, samples};
use crate::error::DataError;
use crate::storage::{Halt, Shard};

/// Changes when another version would read the file differently.
const FORMAT: u32 = 2;

/// The file: a first line with the hash of the second, which is this as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    format: u32,
    shard: String,
    bytes: u64,
    stamp: String,
    samples: Vec<Sample>,
}

/// Where indices are kept.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) folder: PathBuf,
    /// Files of fewer bytes are scanned each time; shards behind HTTP never are.
    pub(super) from_bytes: u64,
}

/// The images of `shard`: from `cache` if it holds them for this very archive, else by a scan, which is kept there
/// unless nothing tells one version of the archive from the next. A cache that cannot be written is done without.
pub(super) fn indexed(shard: &Shard, cache: Option<&Cache>, halt: &Halt) -> Result<Vec<Sample>, DataError> {
    let name = full_name(shard);
    let file = cache
        .filter(|cache| shard.is_remote() || shard.bytes() >= cache.from_bytes)
        .filter(|_| !shard.stamp().is_empty())
        .map(|cache| {
            cache
                .folder
                .join(format!("{:016x}.json", hash64(name.as_bytes())))
        });
    if let Some(samples) = file.as_deref().and_then(|file| load(file, &name, shard)) {
        return Ok(samples);
    }
    let index = Index {
        format: FORMAT,
        shard: name,
        bytes: shard.bytes(),
        stamp: shard.stamp().to_owned(),
        samples: samples(shard, halt)?,
    };
    if let Some(file) = file {
        let _ = store(&file, &index);
    }
    Ok(index.samples)
}

/// The same wherever the run is started.
fn full_name(shard: &Shard) -> String {
    let path = fs::canonicalize(shard.name()).unwrap_or_else(|_| PathBuf::from(shard.name()));
    path.to_string_lossy().into_owned()
}

fn load(file: &Path, name: &str, shard: &Shard) -> Option<Vec<Sample>> {
    let text = fs::read_to_string(file).ok()?;
    let (hash, json) = text.split_once('\n')?;
    if hash != hash_line(json) {
        return None;
    }
    let index: Index = serde_json::from_str(json).ok()?;
    let is_same = index.format == FORMAT
        && index.shard == name
        && index.bytes == shard.bytes()
        && index.stamp == shard.stamp();
    is_same.then_some(index.samples)
}

fn store(file: &Path, index: &Index) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let json = serde_json::to_string(index)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    write!(temporary, "{}\n{json}", hash_line(&json))?;
    temporary.persist(file)?; // whole or not at all; a cut one would fail its hash
    Ok(())
}

fn hash_line(json: &str) -> String {
    format!("{:016x}", hash64(json.as_bytes()))
}
