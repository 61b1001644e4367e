//! Shards being written, invisible until all are complete.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::lock::Lock;
use crate::error::DataError;

/// The folder of shards to come.
pub(super) struct Writer {
    out: PathBuf,
    staging: TempDir,
    /// Dropped after the folder above: what a holder finds there, nobody is at work in.
    _lock: Lock,
    shard_bytes: u64,
    open: Option<Open>,
    shards: Vec<PathBuf>,
    bytes: u64,
}

/// The shard that is being written.
struct Open {
    tar: tar::Builder<BufWriter<File>>,
    bytes: u64,
    images: usize,
}

/// Two empty blocks at the end of an archive.
const END: u64 = 1024;

impl Writer {
    pub(super) fn begin(out: &Path, shard_bytes: u64) -> Result<Writer, DataError> {
        let refused = |problem: &str| DataError::BadOutput {
            path: out.to_owned(),
            problem: problem.to_owned(),
        };
        let failed = |error: io::Error| failed(out, &error);
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        fs::create_dir_all(parent).map_err(failed)?;
        let lock = Lock::take(parent.join(format!(".pack-{name}.lock"))).map_err(failed)?;
        let lock = lock.ok_or_else(|| refused("another process is packing it"))?;
        if out.symlink_metadata().is_ok() {
            return Err(refused("exists; name a new folder, or remove it first"));
        }
        let prefix = format!(".pack-{name}-");
        clear_leftovers(parent, &prefix).map_err(failed)?;
        // Other users may read what they could read without the temporary folder.
        let mut builder = tempfile::Builder::new();
        let staging = builder
            .prefix(&prefix)
            .permissions(Permissions::from_mode(0o777))
            .tempdir_in(parent)
            .map_err(failed)?;
        Ok(Writer {
            staging,
            _lock: lock,
            out: out.to_owned(),
            shard_bytes,
            open: None,
            shards: Vec::new(),
            bytes: 0,
        })
    }

    /// Adds the members of one sample; they are never parted.
    pub(super) fn add(
        &mut self,
        sample: &[(String, Vec<u8>)],
        told: &mut dyn FnMut(&Path, usize),
    ) -> Result<(), DataError> {
        let bytes: u64 = sample
            .iter()
            .map(|(_, contents)| 512 + (contents.len() as u64).next_multiple_of(512))
            .sum();
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.bytes + bytes + END > self.shard_bytes)
        {
            self.close(told)?;
        }
        let mut write = || {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(open(&self.staging.path().join(file_name(self.shards.len())))?),
            };
            for (name, contents) in sample {
                append(&mut open.tar, name, contents)?;
            }
            open.bytes += bytes;
            open.images += 1;
            Ok(())
        };
        write().map_err(|error| failed(&self.out, &error))
    }

    fn close(&mut self, told: &mut dyn FnMut(&Path, usize)) -> Result<(), DataError> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let finish = |tar: tar::Builder<BufWriter<File>>| {
            let mut buffer = tar.into_inner()?;
            buffer.flush()?;
            let file = buffer.get_ref();
            file.sync_all()?;
            Ok(file.metadata()?.len())
        };
        self.bytes += finish(open.tar).map_err(|error: io::Error| failed(&self.out, &error))?;
        let shard = self.out.join(file_name(self.shards.len()));
        told(&shard, open.images);
        self.shards.push(shard);
        Ok(())
    }

    /// Makes the folder appear under its name; returns the shards and their bytes.
    pub(super) fn finish(
        mut self,
        told: &mut dyn FnMut(&Path, usize),
    ) -> Result<(Vec<PathBuf>, u64), DataError> {
        self.close(told)?;
        fs::rename(self.staging.path(), &self.out).map_err(|error| failed(&self.out, &error))?;
        let _ = self.staging.keep(); // it has another name now: nothing to clear away
        Ok((self.shards, self.bytes))
    }
}

/// Removes what killed processes have left of the same shards, and not of those whose name goes on behind a `-`.
fn clear_leftovers(parent: &Path, prefix: &str) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let chance = name.strip_prefix(prefix).unwrap_or("-");
        if !chance.contains('-') && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn file_name(number: usize) -> String {
    format!("{number:06}.tar")
}

fn open(file: &Path) -> io::Result<Open> {
    Ok(Open {
        tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, File::create(file)?)),
        bytes: 0,
        images: 0,
    })
}

/// No owner, no time: the same contents are the same bytes.
fn append(tar: &mut tar::Builder<BufWriter<File>>, name: &str, contents: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(contents.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, name, contents)
}

fn failed(out: &Path, error: &io::Error) -> DataError {
    DataError::BadOutput {
        path: out.to_owned(),
        problem: format!("cannot be written: {error}"),
    }
}
