//! Where the bytes of one image are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fcmae_random::hash64;

use super::plain::read_image;
use super::{Halt, Shard};
use crate::error::DataError;

/// Where the bytes of one image are: a file, or a member of a tar shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    path: PathBuf,
    member: Option<Member>,
}

/// A range of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    shard: Arc<Shard>,
    offset: u64,
    len: u64,
}

impl Location {
    /// `len` bytes of `shard` from `offset` on, which the archive calls `name`.
    pub(crate) fn member(shard: &Arc<Shard>, name: &str, offset: u64, len: u64) -> Location {
        Location {
            path: Path::new(shard.name()).join(name),
            member: Some(Member {
                shard: shard.clone(),
                offset,
                len,
            }),
        }
    }

    /// The file; a member of a shard reads as `<shard>.tar/<member>`, which is a name and no file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a member of a shard.
    pub(crate) fn is_member(&self) -> bool {
        self.member.is_some()
    }

    /// All bytes.
    ///
    /// # Errors
    /// [`DataError::Read`], also for what is no plain file or has more than a GiB; [`DataError::Fetch`].
    pub fn read(&self) -> Result<Vec<u8>, DataError> {
        self.read_unless(&Halt::default())
    }

    /// As [`read`](Location::read), but waits for no server once `halt` is raised: [`DataError::Stopped`].
    pub(crate) fn read_unless(&self, halt: &Halt) -> Result<Vec<u8>, DataError> {
        match &self.member {
            None => read_image(&self.path).map_err(|source| DataError::Read {
                file: self.path.clone(),
                source,
            }),
            Some(member) => member.shard.read(member.offset, member.len, halt),
        }
    }

    /// As [`read`](Location::read), for somebody who may be asked to stop while a server keeps silent:
    /// [`DataError::Stopped`]. Looks at `is_stopped` every tenth of a second.
    pub(crate) fn read_while(&self, is_stopped: impl Fn() -> bool) -> Result<Vec<u8>, DataError> {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        if self.member.is_none() {
            return self.read();
        }
        let (done, answer) = sync_channel(1);
        let location = self.clone();
        thread::spawn(move || done.send(location.read()));
        loop {
            match answer.recv_timeout(LOOK_EVERY) {
                Ok(read) => return read,
                Err(RecvTimeoutError::Timeout) if is_stopped() => return Err(DataError::Stopped),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let problem = format!("reading {} broke off", self.path.display());
                    return Err(DataError::Loader { problem });
                }
            }
        }
    }

    /// Bytes, and a number that changes when the file or shard does (its time of change); zeros where it cannot
    /// be told.
    #[must_use]
    pub fn stamp(&self) -> (u64, u64) {
        match &self.member {
            Some(member) => match member.shard.stamp() {
                "" => (member.len, 0),
                stamp => (member.len, hash64(stamp.as_bytes())),
            },
            None => std::fs::metadata(&self.path).map_or((0, 0), |meta| (meta.len(), changed(&meta))),
        }
    }
}

/// Nanoseconds from 1970 to the last change; 0 where the file system does not tell.
pub(super) fn changed(meta: &std::fs::Metadata) -> u64 {
    let since = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}

impl<P: Into<PathBuf>> From<P> for Location {
    fn from(path: P) -> Location {
        Location {
            path: path.into(),
            member: None,
        }
    }
}
