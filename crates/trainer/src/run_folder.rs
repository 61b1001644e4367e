//! The folder of one run: where everything lies, and the lock that keeps a second process out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::InputError;

/// A run folder that this process has locked:
///
/// ```text
/// runs/<name>/
///   config.toml           resolved
///   provenance.json       where it came from: command, origin of each value, machine, versions
///   report.html           curves, pictures and all of the above, to be opened in a browser
///   metrics.jsonl         one object per logged step and per epoch
///   events.out.tfevents…  the same for TensorBoard
///   checkpoints/          model, optimizer and state; `best/` on held-out images, of fine-tuning also `best-ema/`
///   bad-step/             what the newest step that was refused began with, for `replay`; most runs have none
///   reconstructions/      epoch-0001.png, of pre-training
/// ```
///
/// The lock is the system's (`flock`), held while the value lives: it ends with the process however that ends.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held, never read: closing it frees the lock.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder where needed, locks it, and writes into it once.
    ///
    /// # Errors
    /// [`InputError::Unwritable`]; [`InputError::InUse`] while another process holds the lock.
    pub fn open(path: &Path) -> Result<RunFolder, InputError> {
        let unwritable = |source| InputError::Unwritable {
            folder: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(unwritable)?;
        let name = path.join(".lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32) // what a link leads to is not ours to write
            .open(&name)
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let process = fs::read_to_string(&name).unwrap_or_default().trim().to_owned();
                let process = if process.is_empty() {
                    "unknown".into()
                } else {
                    process
                };
                return Err(InputError::InUse {
                    folder: path.to_owned(),
                    process,
                });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        lock.set_len(0).map_err(unwritable)?;
        writeln!(lock, "{}", std::process::id())
            .and_then(|()| lock.sync_all())
            .map_err(unwritable)?;
        Ok(RunFolder {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved config.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The metrics, one JSON object per line.
    #[must_use]
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// The report.
    #[must_use]
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// Where the run came from.
    #[must_use]
    pub fn provenance(&self) -> PathBuf {
        self.path.join("provenance.json")
    }

    /// The folder of the checkpoints.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// Name of the folder of the newest step that was refused.
    pub(crate) const BAD_STEP: &str = "bad-step";

    /// The newest step that was refused, in a folder like that of the checkpoints.
    #[must_use]
    pub fn bad_step(&self) -> PathBuf {
        self.path.join(Self::BAD_STEP)
    }

    /// The picture of reconstructions after `epoch` epochs.
    #[must_use]
    pub fn reconstruction(&self, epoch: u64) -> PathBuf {
        self.path
            .join("reconstructions")
            .join(format!("epoch-{epoch:04}.png"))
    }

    /// Refuses a disk without room for `needed` bytes.
    ///
    /// # Errors
    /// [`InputError::DiskFull`]; [`InputError::Unwritable`] if the system does not say.
    pub fn require_space(&self, needed: u64) -> Result<(), InputError> {
        refuse_full_disk(&self.path, free_space(&self.path)?, needed)
    }

    /// Writes the resolved config, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_config(&self, text: &str) -> io::Result<()> {
        let part = self.path.join("config.toml.part");
        let mut file = File::create(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, self.config())
    }
}

/// Bytes that are free where `folder` lies, or would lie: it need not be there yet.
pub(crate) fn free_space(folder: &Path) -> Result<u64, InputError> {
    let there = folder
        .ancestors()
        .find(|folder| folder.exists())
        .unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(there).map_err(|errno| InputError::Unwritable {
        folder: folder.to_owned(),
        source: errno.into(),
    })?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Refuses a disk without room for what is needed.
pub(crate) fn refuse_full_disk(folder: &Path, free: u64, needed: u64) -> Result<(), InputError> {
    if free < needed {
        return Err(InputError::DiskFull {
            folder: folder.to_owned(),
            free,
            needed,
        });
    }
    Ok(())
}

/// The first of `name`, `name-2`, `name-3`, … that does not exist in `output_dir`.
#[must_use]
pub fn fresh_name(output_dir: &Path, name: &str) -> String {
    let numbered = (2..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(|name| !output_dir.join(name).exists())
        .expect("the numbers do not end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_locked_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs/a");
        let held = RunFolder::open(&path).unwrap();
        let error = RunFolder::open(&path).unwrap_err();
        let expected = format!("is in use by process {};", std::process::id());
        assert!(error.to_string().contains(&expected), "{error}");
        drop(held);
        RunFolder::open(&path).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_a_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runs"), "a file").unwrap();
        let error = RunFolder::open(&folder.path().join("runs/a")).unwrap_err();
        assert!(matches!(error, InputError::Unwritable { .. }), "{error}");
    }

    #[test]
    fn a_disk_without_room_is_refused_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path()).unwrap();
        run.require_space(1).unwrap();
        let error = run.require_space(u64::MAX).unwrap_err();
        assert!(matches!(error, InputError::DiskFull { .. }), "{error}");
    }

    #[test]
    fn fresh_names_count_up() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(fresh_name(folder.path(), "a"), "a");
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::create_dir(folder.path().join("a-2")).unwrap();
        assert_eq!(fresh_name(folder.path(), "a"), "a-3");
    }

    #[test]
    fn a_config_is_written_whole() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunFolder::open(folder.path()).unwrap();
        run.write_config("seed = 1\n").unwrap();
        run.write_config("seed = 2\n").unwrap();
        assert_eq!(fs::read_to_string(run.config()).unwrap(), "seed = 2\n");
    }
}
