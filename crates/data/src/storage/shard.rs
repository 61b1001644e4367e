//! One archive: its length, a stamp that changes with it, and any range of its bytes.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Halt;
use super::http::{Client, Remote, is_url};
use super::location::changed;
use super::plain::open_plain;
use crate::error::DataError;

/// A tar file on disk or behind HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// A path or a URL.
    name: String,
    bytes: u64,
    stamp: String,
    /// `None`: a file.
    remote: Option<Remote>,
}

impl Shard {
    /// Finds out length and stamp.
    pub(crate) fn open(name: &str, client: &Client, halt: &Halt) -> Result<Shard, DataError> {
        if is_url(name) {
            let (remote, bytes, stamp) = client.open(name, halt)?;
            return Ok(Shard {
                name: name.to_owned(),
                bytes,
                stamp,
                remote: Some(remote),
            });
        }
        Shard::open_file(name)
    }

    /// A file on the disk.
    pub(crate) fn open_file(name: &str) -> Result<Shard, DataError> {
        let meta = std::fs::metadata(name).map_err(|source| failed(name, source))?;
        if !meta.is_file() {
            return Err(DataError::Shard {
                shard: name.to_owned(),
                problem: "is no file".to_owned(),
            });
        }
        Ok(Shard {
            name: name.to_owned(),
            bytes: meta.len(),
            stamp: changed(&meta).to_string(),
            remote: None,
        })
    }

    /// The path or URL, as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file beside it that has this ending instead of `.tar`; `None` where there is none, or it has more than `most`
    /// bytes.
    pub(crate) fn read_beside(&self, ending: &str, most: u64) -> Option<Vec<u8>> {
        let name = neighbour(&self.name, ending)?;
        match &self.remote {
            Some(remote) => remote.fetch_beside(&name, most),
            None => read_short(&name, most),
        }
    }

    /// Length of the whole archive.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Changes when the archive does: time of change, or what the server says of its version; empty where it says
    /// nothing.
    pub(crate) fn stamp(&self) -> &str {
        &self.stamp
    }

    /// Whether it lies behind HTTP.
    pub(crate) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// How many bytes are best read at a time when only headers are wanted.
    pub(crate) fn window(&self) -> u64 {
        // A request costs as much time as some hundred KiB; a page of a file costs nearly nothing.
        if self.remote.is_some() { 256 << 10 } else { 4 << 10 }
    }

    /// The bytes `offset..offset + len`, which lie inside the archive; no server is waited for once `halt` is raised.
    pub(crate) fn read(&self, offset: u64, len: u64, halt: &Halt) -> Result<Vec<u8>, DataError> {
        if let Some(remote) = &self.remote {
            return remote.range(offset, len, halt);
        }
        // Opened for each read: thousands of shards would not fit the limit of open files.
        let read = || {
            let mut bytes = vec![0; len as usize];
            File::open(&self.name)?.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read().map_err(|source| failed(&self.name, source))
    }
}

/// The file's name with another ending instead of `.tar`, before whatever follows the path in a URL.
fn neighbour(name: &str, ending: &str) -> Option<String> {
    let end = if is_url(name) { name.find(['?', '#']) } else { None };
    let (path, rest) = name.split_at(end.unwrap_or(name.len()));
    Some(format!("{}.{ending}{rest}", path.strip_suffix(".tar")?))
}

/// All bytes of a file that has at most `most`.
fn read_short(file: &str, most: u64) -> Option<Vec<u8>> {
    let file = open_plain(Path::new(file)).ok()?;
    if file.metadata().ok()?.len() > most {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn failed(name: &str, source: std::io::Error) -> DataError {
    DataError::Read {
        file: Path::new(name).to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::neighbour;

    #[test]
    fn another_ending_stands_before_the_query() {
        let check = |name, expected: Option<&str>| assert_eq!(neighbour(name, "index").as_deref(), expected);
        check("a/0.tar", Some("a/0.index"));
        check("a?b/0.tar", Some("a?b/0.index"));
        check(
            "http://127.0.0.1/0.tar?key=1.tar",
            Some("http://127.0.0.1/0.index?key=1.tar"),
        );
        check("http://127.0.0.1/?name=0.tar", None);
        check("a/0.tgz", None);
    }
}
