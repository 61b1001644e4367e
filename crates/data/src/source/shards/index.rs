//! What a scan of a shard found, so that the next run need not scan: kept in the cache, and laid beside the shards that
//! `data pack` makes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fcmae_random::hash64;
use serde::{Deserialize, Serialize};
use tar::{EntryType, Header};

use super::samples::{LONGEST_NAME, MOST_FIELDS, Sample, samples};
use super::scan::wrong_name;
use crate::error::DataError;
use crate::storage::{Halt, LONGEST_IMAGE, Shard};

/// Changes when another version would read the file differently.
const FORMAT: u32 = 2;

/// The ending of an index that lies beside its shard, instead of `.tar`.
pub(crate) const BESIDE: &str = "index";

/// A longer one is not read: some hundred thousand images have a shorter one.
const LONGEST_INDEX: u64 = 64 << 20;

/// The file: a first line with the hash of the second, which is this as JSON. In the cache it is of one archive, by name
/// and stamp; beside a shard, which may be copied and renamed, both are empty.
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

/// The images of `shard`: from `cache` if it holds them for this very archive, else from the index beside it or by a scan,
/// which is kept there unless nothing tells one version of the archive from the next. A cache that cannot be written is
/// done without.
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
    let text = file.as_deref().and_then(|file| fs::read_to_string(file).ok());
    if let Some(samples) = text.and_then(|text| parse(&text, &name, shard.stamp(), shard)) {
        return Ok(samples);
    }
    let index = Index {
        format: FORMAT,
        shard: name,
        bytes: shard.bytes(),
        stamp: shard.stamp().to_owned(),
        samples: match beside(shard, halt)? {
            Some(samples) => samples,
            None => samples(shard, halt)?,
        },
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

/// Those of the index beside `shard`, if the archive says that this is its own.
fn beside(shard: &Shard, halt: &Halt) -> Result<Option<Vec<Sample>>, DataError> {
    let bytes = shard.read_beside(BESIDE, LONGEST_INDEX).unwrap_or_default();
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let Some(samples) = parse(text, "", "", shard).filter(|samples| is_plausible(samples, shard)) else {
        return Ok(None);
    };
    let (hash, _) = text.split_once('\n').unwrap_or_default();
    let is_own = shard.bytes() >= SEAL && shard.read(0, SEAL, halt)? == seal(hash);
    Ok(Some(samples).filter(|_| is_own))
}

/// The bytes at the head of an archive with which it says what index is its own.
pub(crate) const SEAL: u64 = 1024;

/// A comment that every reader of tar passes over: `hash` is that of the index beside, 16 digits. Times would not do: copies
/// keep them or not, as they like.
pub(crate) fn seal(hash: &str) -> Vec<u8> {
    let record = format!(" comment=fcmae-index:{hash}\n");
    let record = format!("{}{record}", record.len() + 2); // its own length, of two digits, in front
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XGlobalHeader);
    let _ = header.set_path("pax_global_header"); // short enough
    header.set_size(record.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    let mut seal = [header.as_bytes(), record.as_bytes()].concat();
    seal.resize(SEAL as usize, 0);
    seal
}

/// What stands there until the index is known.
pub(crate) fn blank_seal() -> Vec<u8> {
    seal(&format!("{:016x}", 0))
}

/// What a scan would not let pass, an index that somebody has laid beside a shard may not say either.
fn is_plausible(samples: &[Sample], shard: &Shard) -> bool {
    samples.iter().all(|sample| {
        let end = sample.offset.checked_add(sample.len);
        let cells = &sample.cells;
        end.is_some_and(|end| end <= shard.bytes())
            && sample.len <= LONGEST_IMAGE
            && !sample.name.is_empty()
            && wrong_name(&sample.name).is_none()
            && cells.len() <= MOST_FIELDS + 1 // and the class
            && cells.values().all(|cell| cell.len() <= LONGEST_NAME)
    })
}

fn parse(text: &str, name: &str, stamp: &str, shard: &Shard) -> Option<Vec<Sample>> {
    let (hash, json) = text.split_once('\n')?;
    if hash != hash_line(json) {
        return None;
    }
    let index: Index = serde_json::from_str(json).ok()?;
    let is_same =
        index.format == FORMAT && index.shard == name && index.bytes == shard.bytes() && index.stamp == stamp;
    is_same.then_some(index.samples)
}

/// Scans the shard in `file`, which begins with a [`blank_seal`], lays its index beside it, and seals it.
pub(crate) fn lay_beside(file: &Path) -> Result<(), DataError> {
    let shard = Shard::open_file(&file.to_string_lossy())?;
    let index = Index {
        format: FORMAT,
        shard: String::new(),
        bytes: shard.bytes(),
        stamp: String::new(),
        samples: samples(&shard, &Halt::default())?,
    };
    let name = file.with_extension(BESIDE);
    let write = || {
        let mut beside = File::create(&name)?;
        let hash = write_to(&mut beside, &index)?;
        beside.sync_all()?;
        let archive = File::options().write(true).open(file)?;
        archive.write_all_at(&seal(&hash), 0)?;
        archive.sync_all()
    };
    write().map_err(|source: std::io::Error| DataError::BadOutput {
        problem: format!("cannot be written: {source}"),
        path: name.clone(),
    })
}

fn store(file: &Path, index: &Index) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    write_to(&mut temporary, index)?;
    temporary.persist(file)?; // whole or not at all; a cut one would fail its hash
    Ok(())
}

/// Returns the hash.
fn write_to(file: &mut impl Write, index: &Index) -> std::io::Result<String> {
    let json = serde_json::to_string(index)?;
    let hash = hash_line(&json);
    write!(file, "{hash}\n{json}")?;
    Ok(hash)
}

fn hash_line(json: &str) -> String {
    format!("{:016x}", hash64(json.as_bytes()))
}
