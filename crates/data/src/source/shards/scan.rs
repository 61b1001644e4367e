//! The headers of a tar archive, one after the other: names and places of its files, nothing unpacked.
//!
//! An archive is foreign input: every size is checked against the length of the archive before it is believed, every
//! name for leaving the archive, every header for its checksum.

use tar::{EntryType, Header, PaxExtensions};

use crate::error::DataError;
use crate::storage::{Halt, Shard};

/// Headers and contents are padded to this many bytes.
const BLOCK: u64 = 512;

/// Names and attributes that do not fit a header stand in contents of at most this size.
const LONGEST_EXTENSION: u64 = 64 << 10;

/// A file in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its name without a leading `./`.
    pub(super) name: String,
    /// Where its bytes begin.
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// An archive that is read from front to back, a window of bytes at a time.
pub(super) struct Reader<'a> {
    shard: &'a Shard,
    halt: &'a Halt,
    start: u64,
    window: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(shard: &'a Shard, halt: &'a Halt) -> Reader<'a> {
        Reader {
            shard,
            halt,
            start: 0,
            window: Vec::new(),
        }
    }

    /// `len` bytes from `offset` on; the caller has seen that they are there.
    pub(super) fn read(&mut self, offset: u64, len: u64) -> Result<&[u8], DataError> {
        let inside = |start: u64, window: &[u8]| {
            let from = offset.checked_sub(start)?;
            (from + len <= window.len() as u64).then_some(from as usize)
        };
        if inside(self.start, &self.window).is_none() {
            let ahead = self.shard.window().max(len).min(self.shard.bytes() - offset);
            self.window = self.shard.read(offset, ahead, self.halt)?;
            self.start = offset;
        }
        let from = inside(self.start, &self.window).unwrap_or(0);
        Ok(&self.window[from..from + len as usize])
    }

    fn error(&self, problem: String) -> DataError {
        DataError::Shard {
            shard: self.shard.name().to_owned(),
            problem,
        }
    }
}

/// What extension headers say of the file that follows them.
#[derive(Debug, Default)]
struct Extension {
    name: Option<String>,
    size: Option<u64>,
}

/// Calls `found` with every plain file in the order of the archive.
pub(super) fn scan(
    reader: &mut Reader,
    mut found: impl FnMut(&mut Reader, Member) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let total = reader.shard.bytes();
    let mut at = 0;
    let mut extension = Extension::default();
    loop {
        let Some(header) = header(reader, at)? else {
            return Ok(());
        };
        let kind = header.entry_type();
        let size = size(reader, &header, at, &extension)?;
        let offset = at + BLOCK;
        let end = offset.checked_add(size).filter(|&end| end <= total);
        let Some(end) = end else {
            let name = own_name(&header, &extension);
            let problem = format!(
                "member `{name}` says that it has {size} bytes, but {} are left: the archive is cut off or forged",
                total - offset
            );
            return Err(reader.error(problem));
        };
        match kind {
            EntryType::GNULongName | EntryType::XHeader => {
                extend(reader, kind, offset, size, &mut extension)?;
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            _ => {
                if let Some(name) = file_name(reader, &header, &mut extension)? {
                    let member = Member {
                        name,
                        offset,
                        len: size,
                    };
                    found(reader, member)?;
                }
            }
        }
        at = end.next_multiple_of(BLOCK);
    }
}

/// The header at `at`; `None` at the mark that ends an archive.
fn header(reader: &mut Reader, at: u64) -> Result<Option<Header>, DataError> {
    let total = reader.shard.bytes();
    if at.checked_add(BLOCK).is_none_or(|end| end > total) {
        let problem = match total {
            0 => "is empty: no tar archive".to_owned(),
            _ if at == 0 => "is no tar archive: it is shorter than a header".to_owned(),
            _ => format!("ends after {total} bytes without the mark of an archive's end: it is cut off"),
        };
        return Err(reader.error(problem));
    }
    let block = reader.read(at, BLOCK)?;
    if block.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(block).clone();
    // The checksum's own field counts as spaces.
    let sum =
        |range: std::ops::Range<usize>| -> u32 { block[range].iter().map(|&byte| u32::from(byte)).sum() };
    let wanted = sum(0..148) + 8 * u32::from(b' ') + sum(156..512);
    if header.cksum().ok() != Some(wanted) {
        let problem = match at {
            0 => "is no tar archive (compressed ones are not read: they have no random access)".to_owned(),
            _ => format!("byte {at} is no tar header: the archive is damaged"),
        };
        return Err(reader.error(problem));
    }
    Ok(Some(header))
}

fn size(reader: &Reader, header: &Header, at: u64, extension: &Extension) -> Result<u64, DataError> {
    let kind = header.entry_type();
    if kind.is_symlink() || kind.is_hard_link() || kind.is_dir() {
        return Ok(0); // whatever it says: no contents follow
    }
    match (extension.size, kind) {
        (Some(size), EntryType::Regular | EntryType::Continuous) => Ok(size),
        _ => header.entry_size().map_err(|_| {
            reader.error(format!(
                "the header at byte {at} has no size: the archive is damaged"
            ))
        }),
    }
}

/// Takes up a long name or pax attributes.
fn extend(
    reader: &mut Reader,
    kind: EntryType,
    offset: u64,
    size: u64,
    extension: &mut Extension,
) -> Result<(), DataError> {
    if size > LONGEST_EXTENSION {
        let problem = format!(
            "a name or attribute of {size} bytes before byte {offset}; {LONGEST_EXTENSION} are allowed"
        );
        return Err(reader.error(problem));
    }
    let bytes = reader.read(offset, size)?.to_vec();
    if kind == EntryType::GNULongName {
        let name = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
        extension.name = Some(text(reader, name)?);
        return Ok(());
    }
    for attribute in PaxExtensions::new(&bytes) {
        let damaged = |_| reader.error(format!("unreadable pax attributes before byte {offset}"));
        let attribute = attribute.map_err(damaged)?;
        let (key, value) = (attribute.key_bytes(), attribute.value_bytes());
        match key {
            b"path" => extension.name = Some(text(reader, value)?),
            b"size" => {
                let size = std::str::from_utf8(value)
                    .ok()
                    .and_then(|value| value.parse().ok());
                let wrong = || reader.error(format!("an unreadable pax size before byte {offset}"));
                extension.size = Some(size.ok_or_else(wrong)?);
            }
            _ if key.starts_with(b"GNU.sparse.") => {
                let problem = "holds a sparse file; pack it without `--sparse`".to_owned();
                return Err(reader.error(problem));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The name of a plain file; `None` of a folder; everything else is an error.
fn file_name(
    reader: &Reader,
    header: &Header,
    extension: &mut Extension,
) -> Result<Option<String>, DataError> {
    let name = match std::mem::take(extension).name {
        Some(name) => name,
        None => text(reader, &header.path_bytes())?,
    };
    let wrong = |problem: &str| Err(reader.error(format!("member `{}`: {problem}", name.escape_debug())));
    if let Some(problem) = wrong_name(&name) {
        return wrong(problem);
    }
    let kind = header.entry_type();
    if kind.is_dir() || name.ends_with('/') {
        return Ok(None);
    }
    if kind.is_symlink() || kind.is_hard_link() {
        return wrong("is a link; only plain files are read");
    }
    if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
        return wrong("is no plain file");
    }
    let plain: Vec<&str> = name
        .split('/')
        .filter(|&part| !part.is_empty() && part != ".")
        .collect();
    if plain.is_empty() {
        return wrong("has no name");
    }
    Ok(Some(plain.join("/")))
}

/// What is wrong with the name of a member, if anything.
pub(super) fn wrong_name(name: &str) -> Option<&'static str> {
    if name.starts_with('/') {
        Some("its name is absolute")
    } else if name.split('/').any(|part| part == "..") {
        Some("its name leaves the archive (`..`)")
    } else if name.chars().any(char::is_control) {
        Some("its name has control characters")
    } else {
        None
    }
}

/// The name for messages about the header itself.
fn own_name(header: &Header, extension: &Extension) -> String {
    let name = extension.name.clone();
    let name = name.unwrap_or_else(|| String::from_utf8_lossy(&header.path_bytes()).into_owned());
    name.escape_debug().to_string()
}

fn text(reader: &Reader, bytes: &[u8]) -> Result<String, DataError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        let name = String::from_utf8_lossy(bytes).escape_debug().to_string();
        reader.error(format!("member `{name}`: its name is not UTF-8"))
    })
}
