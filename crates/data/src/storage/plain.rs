//! Files that are opened on somebody's word: plain ones only, because a device or a pipe need never end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Longer images are none, and would be read into memory whole.
pub(crate) const LONGEST_IMAGE: u64 = 1 << 30;

/// Opens a file, unless it is a device, a pipe, or anything else without a length.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    let meta = fs::metadata(path)?; // before it is opened: opening a pipe waits for who writes to it
    if meta.is_file() {
        return File::open(path);
    }
    Err(if meta.is_dir() {
        io::ErrorKind::IsADirectory.into()
    } else {
        io::Error::other("it is no plain file")
    })
}

/// All bytes of an image.
pub(super) fn read_image(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_plain(path)?;
    let len = file.metadata()?.len();
    if len > LONGEST_IMAGE {
        let problem = format!("it has {len} bytes; at most {LONGEST_IMAGE} are read");
        return Err(io::Error::other(problem));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.take(LONGEST_IMAGE).read_to_end(&mut bytes)?; // it may grow while it is read
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_need_not_end_is_not_opened() {
        let message = |path: &Path| read_image(path).unwrap_err().to_string();
        assert_eq!(message(Path::new("/dev/zero")), "it is no plain file");
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(message(folder.path()), "is a directory");
        let link = folder.path().join("a.png");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert_eq!(message(&link), "it is no plain file");
    }

    #[test]
    fn what_is_too_long_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let file = File::create(&path).unwrap();
        file.set_len(LONGEST_IMAGE + 1).unwrap(); // a hole: it takes no room
        let message = read_image(&path).unwrap_err().to_string();
        assert_eq!(message, "it has 1073741825 bytes; at most 1073741824 are read");
        file.set_len(3).unwrap();
        assert_eq!(read_image(&path).unwrap(), [0; 3]);
    }
}
