//! Shards being written, invisible until all are complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::journal::{Finished, Journal, Trail};
use super::lock::Lock;
use super::{PackNews, Packed};
use crate::config::OnError;
use crate::error::DataError;
use crate::source::{BESIDE, SEAL, blank_seal, lay_beside};

/// The folder of shards to come.
pub(super) struct Writer {
    out: PathBuf,
    /// Where they lie until then: always the same place, so that who begins again finds them.
    staging: PathBuf,
    /// Dropped last: what a holder finds in that folder, nobody is at work in.
    _lock: Lock,
    shard_bytes: u64,
    open: Option<Open>,
    /// Left out since the last shard was finished.
    left_out: Vec<String>,
    /// Whether one of these could not be read, which may pass and leaves no mark on the file: its shard is made anew.
    may_pass: bool,
    journal: Journal,
}

/// The shard that is being written.
struct Open {
    tar: tar::Builder<BufWriter<File>>,
    bytes: u64,
    images: usize,
    resized: usize,
}

/// Two empty blocks at the end of an archive.
const END: u64 = 1024;

impl Writer {
    /// `how` says how the shards are made.
    pub(super) fn begin(out: &Path, shard_bytes: u64, how: String) -> Result<Writer, DataError> {
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
        let staging = parent.join(format!(".pack-{name}.part"));
        match fs::create_dir(&staging) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        // What a link leads to is not this program's, and would be cleared away.
        if !staging.symlink_metadata().map_err(failed)?.is_dir() {
            return Err(refused(&format!(
                "{} is in the way; remove it",
                staging.display()
            )));
        }
        Ok(Writer {
            out: out.to_owned(),
            staging,
            _lock: lock,
            shard_bytes,
            open: None,
            left_out: Vec::new(),
            may_pass: false,
            journal: Journal {
                how,
                shards: Vec::new(),
            },
        })
    }

    /// Keeps the shards that a pack which was broken off has finished, as long as they are those that this one would
    /// make of its `rows`; all else is cleared away. Returns the first row of the next shard.
    pub(super) fn keep(
        &mut self,
        rows: usize,
        trail: &mut Trail,
        on_error: OnError,
        told: &mut dyn FnMut(PackNews),
    ) -> Result<usize, DataError> {
        let found = Journal::read(&self.staging, &self.journal.how).shards;
        let is_changed = |shard: &Finished, trail: &mut Trail| {
            shard.next > rows || shard.mark.is_none() || trail.mark(shard.next) != shard.mark
        };
        for shard in found {
            let file = self.staging.join(file_name(self.journal.shards.len()));
            let is_whole = fs::metadata(&file).is_ok_and(|meta| meta.len() == shard.bytes)
                && file.with_extension(BESIDE).exists();
            let is_refused = on_error == OnError::Error && !shard.left_out.is_empty();
            if !is_whole || is_refused || is_changed(&shard, trail) {
                break;
            }
            let left_out = shard.left_out.iter();
            left_out.for_each(|problem| told(PackNews::LeftOut { problem }));
            self.journal.shards.push(shard);
            self.tell_of_last(true, told);
        }
        // In this order: what is listed is there, whenever this process ends.
        let cleared = self.journal.write(&self.staging).and_then(|()| self.tidy());
        cleared.map_err(|error| failed(&self.out, &error))?;
        Ok(self.journal.shards.last().map_or(0, |shard| shard.next))
    }

    /// Adds the members of the sample in `row`; they are never parted. `mark` is that of the [`Trail`].
    pub(super) fn add(
        &mut self,
        row: usize,
        mark: Option<u64>,
        sample: &[(String, Vec<u8>)],
        is_smaller: bool,
        told: &mut dyn FnMut(PackNews),
    ) -> Result<(), DataError> {
        let bytes: u64 = sample
            .iter()
            .map(|(_, contents)| 512 + (contents.len() as u64).next_multiple_of(512))
            .sum();
        let is_full = |open: &Open| open.bytes + bytes + END > self.shard_bytes;
        if self.open.as_ref().is_some_and(is_full) {
            self.close(row, mark, told)?;
        }
        let mut write = || {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(open(&self.staging.join(file_name(self.journal.shards.len())))?),
            };
            for (name, contents) in sample {
                append(&mut open.tar, name, contents)?;
            }
            open.bytes += bytes;
            open.images += 1;
            open.resized += usize::from(is_smaller);
            Ok(())
        };
        write().map_err(|error| failed(&self.out, &error))
    }

    /// Passes over an image.
    pub(super) fn leave_out(&mut self, error: &DataError, told: &mut dyn FnMut(PackNews)) {
        let problem = error.to_string();
        told(PackNews::LeftOut { problem: &problem });
        self.left_out.push(problem);
        self.may_pass |= matches!(error, DataError::Read { .. });
    }

    /// Finishes the open shard, as the next one begins with the row `next`.
    fn close(
        &mut self,
        next: usize,
        mark: Option<u64>,
        told: &mut dyn FnMut(PackNews),
    ) -> Result<(), DataError> {
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
        let failed = |error: io::Error| failed(&self.out, &error);
        let bytes = finish(open.tar).map_err(failed)?;
        lay_beside(&self.staging.join(file_name(self.journal.shards.len())))?;
        self.journal.shards.push(Finished {
            bytes,
            images: open.images,
            resized: open.resized,
            left_out: std::mem::take(&mut self.left_out),
            next,
            mark: mark.filter(|_| !std::mem::take(&mut self.may_pass)),
        });
        self.journal.write(&self.staging).map_err(failed)?;
        self.tell_of_last(false, told);
        Ok(())
    }

    fn tell_of_last(&self, is_kept: bool, told: &mut dyn FnMut(PackNews)) {
        if let [before @ .., last] = &self.journal.shards[..] {
            told(PackNews::Shard {
                path: &self.out.join(file_name(before.len())),
                images: last.images,
                is_kept,
            });
        }
    }

    /// Makes the folder appear under its name, when all `rows` are through.
    pub(super) fn finish(
        mut self,
        rows: usize,
        mark: Option<u64>,
        told: &mut dyn FnMut(PackNews),
    ) -> Result<Packed, DataError> {
        self.close(rows, mark, told)?;
        if self.journal.shards.is_empty() {
            return Err(DataError::BadOutput {
                path: self.out.clone(),
                problem: format!("would be empty: none of the {rows} images can be used"),
            });
        }
        if let Err(error) = fs::remove_file(self.staging.join(Journal::FILE))
            .and_then(|()| fs::rename(&self.staging, &self.out))
        {
            let _ = self.journal.write(&self.staging); // the shards are whole, and wait for the next call
            return Err(failed(&self.out, &error));
        }
        let shards = std::mem::take(&mut self.journal.shards);
        let left_out = shards.iter().flat_map(|shard| &shard.left_out);
        Ok(Packed {
            shards: (0..shards.len())
                .map(|number| self.out.join(file_name(number)))
                .collect(),
            images: shards.iter().map(|shard| shard.images).sum(),
            resized: shards.iter().map(|shard| shard.resized).sum(),
            bytes: shards.iter().map(|shard| shard.bytes).sum(),
            left_out: left_out.chain(&self.left_out).cloned().collect(),
        })
    }

    /// Removes all but the journal and the shards that it lists.
    fn tidy(&self) -> io::Result<()> {
        let shards = (0..self.journal.shards.len()).map(|number| PathBuf::from(file_name(number)));
        let listed: Vec<PathBuf> = shards
            .flat_map(|shard| [shard.with_extension(BESIDE), shard])
            .collect();
        for entry in fs::read_dir(&self.staging)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != Journal::FILE && !listed.iter().any(|listed| listed == Path::new(&name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// Of a pack that was broken off the finished shards stay, if they can be of use again.
    fn drop(&mut self) {
        let is_of_use = self.journal.shards.iter().any(|shard| shard.mark.is_some());
        let _ = if is_of_use {
            self.tidy()
        } else {
            fs::remove_dir_all(&self.staging) // after a finished one it is not there
        };
    }
}

fn file_name(number: usize) -> String {
    format!("{number:06}.tar")
}

fn open(file: &Path) -> io::Result<Open> {
    let mut file = File::create(file)?;
    file.write_all(&blank_seal())?;
    Ok(Open {
        tar: tar::Builder::new(BufWriter::with_capacity(1 << 20, file)),
        bytes: SEAL,
        images: 0,
        resized: 0,
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
