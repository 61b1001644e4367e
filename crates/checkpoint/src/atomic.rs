//! Files that are replaced whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::CheckpointError;

/// What a file is written through.
pub trait Sink: Write + Seek {}
impl<T: Write + Seek> Sink for T {}

/// Writes `file` through `write`: into a temporary file of the same folder, synced, renamed over the old
/// one, the folder synced. When anything fails the old file is as it was and the temporary one is gone.
///
/// # Errors
/// [`CheckpointError::Write`], which names the file.
pub fn replace_file(
    file: &Path,
    write: impl FnOnce(&mut dyn Sink) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let attempt = || {
        let temporary = TemporaryFile::create(file)?;
        let mut buffer = BufWriter::with_capacity(1 << 20, &temporary.handle);
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        temporary.persist(file)
    };
    attempt().map_err(|source| CheckpointError::write(file, source))
}

/// A file beside its later place; removed again unless it was persisted.
struct TemporaryFile {
    handle: File,
    path: PathBuf,
    persisted: bool,
}

impl TemporaryFile {
    fn create(target: &Path) -> io::Result<TemporaryFile> {
        let name = target
            .file_name()
            .ok_or_else(|| io::Error::other("the path names no file"))?;
        // The process id keeps two processes apart; a leftover of a killed one with this id is overwritten.
        let temporary = format!(".{}.{}.part", name.to_string_lossy(), std::process::id());
        let path = target.with_file_name(temporary);
        let handle = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        Ok(TemporaryFile {
            handle,
            path,
            persisted: false,
        })
    }

    fn persist(mut self, target: &Path) -> io::Result<()> {
        self.handle.sync_all()?;
        fs::rename(&self.path, target)?;
        self.persisted = true;
        sync_folder(parent(target))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.persisted {
            // Nothing more can be done about a failure here, and the cause is already on its way up.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The folder of a path; the current one for a bare name.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes renames in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder; they give no such promise in any way.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_full_disk_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        replace_file(&file, |w| w.write_all(b"old")).unwrap();
        let error = replace_file(&file, |w| {
            w.write_all(&[0; 4096])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("state.json: cannot be written: no storage space"),
            "{error}"
        );
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["state.json"]);
    }

    #[test]
    fn a_target_that_cannot_be_replaced_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("model");
        fs::create_dir(&occupied).unwrap();
        let error = replace_file(&occupied, |w| w.write_all(b"x")).unwrap_err();
        assert!(matches!(&error, CheckpointError::Write { file, .. } if *file == occupied));
        assert_eq!(names(folder.path()), ["model"]);

        let nowhere = folder.path().join("no/such/folder");
        assert!(replace_file(&nowhere, |w| w.write_all(b"x")).is_err());
    }
}
