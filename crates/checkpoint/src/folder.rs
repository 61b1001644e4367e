//! The folder that holds the checkpoints of a run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic::sync_folder;
use crate::checksums::verify;
use crate::error::CheckpointError;
use crate::staging::Staging;

/// Prefix of a checkpoint being written.
const STAGING: &str = ".staging-";
/// Prefix of a checkpoint set aside while a new one of its step takes its place.
pub(crate) const REPLACED: &str = ".replaced-";
/// Prefix of a checkpoint being removed.
const REMOVED: &str = ".removed-";
/// The link to the newest checkpoint.
const LAST: &str = "last";
/// Prefix of that link before it is renamed into its place.
const LAST_PART: &str = ".last-";

/// The checkpoints of a run; see the crate's front page for what the folder looks like.
#[derive(Debug, Clone)]
pub struct CheckpointFolder {
    root: PathBuf,
    keep: usize,
}

/// A checkpoint under its name; whether its files are what was written is for [`verify`](crate::verify()) to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Optimizer steps done when it was written.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
}

/// The newest checkpoint whose files are what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidCheckpoint {
    /// Optimizer steps done when it was written.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
    /// One sentence for each newer checkpoint that had to be passed over.
    pub warnings: Vec<String>,
}

impl CheckpointFolder {
    /// Opens the folder for writing: makes it when needed and removes what killed processes left. After
    /// each commit the newest `keep` checkpoints stay (0: all of them).
    ///
    /// Only the process that owns the run may do this; it would remove what another one is writing.
    ///
    /// # Errors
    /// When the folder cannot be made, read or cleaned; the error names it.
    pub fn open(root: impl Into<PathBuf>, keep: usize) -> Result<CheckpointFolder, CheckpointError> {
        let folder = CheckpointFolder {
            root: root.into(),
            keep,
        };
        fs::create_dir_all(&folder.root)
            .and_then(|()| folder.clean())
            .map_err(|source| CheckpointError::write(&folder.root, source))?;
        Ok(folder)
    }

    /// Looks at the folder without changing it; it need not exist.
    #[must_use]
    pub fn view(root: impl Into<PathBuf>) -> CheckpointFolder {
        CheckpointFolder {
            root: root.into(),
            keep: 0,
        }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Starts the checkpoint of `step` in a temporary folder.
    ///
    /// # Errors
    /// When that folder cannot be made.
    pub fn begin(&self, step: u64) -> Result<Staging<'_>, CheckpointError> {
        let path = self
            .root
            .join(format!("{STAGING}{}-{}", step_name(step), std::process::id()));
        Staging::create(self, step, path.clone()).map_err(|source| CheckpointError::write(&path, source))
    }

    /// The checkpoints, oldest first; none when there is no such folder. Each was complete when it got its name, so one
    /// that lacks a file, its list of checksums too, is damaged and not absent.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<StoredCheckpoint>, CheckpointError> {
        let names = match names(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            result => result.map_err(|source| CheckpointError::read(&self.root, source))?,
        };
        let mut found: Vec<_> = names
            .iter()
            .filter_map(|name| {
                Some(StoredCheckpoint {
                    step: parse_step(name)?,
                    path: self.root.join(name),
                })
            })
            .filter(|checkpoint| checkpoint.path.is_dir())
            .collect();
        found.sort_by_key(|checkpoint| checkpoint.step);
        Ok(found)
    }

    /// The newest checkpoint. Its files are not looked into: see
    /// [`latest_valid`](CheckpointFolder::latest_valid).
    ///
    /// # Errors
    /// As [`list`](CheckpointFolder::list).
    pub fn latest(&self) -> Result<Option<PathBuf>, CheckpointError> {
        Ok(self.list()?.pop().map(|checkpoint| checkpoint.path))
    }

    /// The newest checkpoint whose files have the checksums recorded, with a warning for each newer one that
    /// does not; `None` when there is no checkpoint at all.
    ///
    /// # Errors
    /// [`CheckpointError::NoneValid`] when there are checkpoints and every one is damaged.
    pub fn latest_valid(&self) -> Result<Option<ValidCheckpoint>, CheckpointError> {
        let stored = self.list()?;
        let mut problems = Vec::new();
        for StoredCheckpoint { step, path } in stored.iter().rev().cloned() {
            match verify(&path) {
                Ok(()) => {
                    let warning = |p| format!("{p}; going back to the checkpoint of step {step}");
                    return Ok(Some(ValidCheckpoint {
                        step,
                        path,
                        warnings: problems.into_iter().map(warning).collect(),
                    }));
                }
                Err(error) => problems.push(error.to_string()),
            }
        }
        match problems.into_iter().next() {
            None => Ok(None),
            Some(newest) => {
                let (folder, count) = (self.root.clone(), stored.len());
                Err(CheckpointError::NoneValid {
                    folder,
                    count,
                    newest,
                })
            }
        }
    }

    /// Ends what a process killed at the end of a commit has left undone: `last` points at the checkpoint of `step`, and
    /// what is beyond the newest few before it is gone.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn settle(&self, step: u64) -> Result<(), CheckpointError> {
        self.point_last_at(step)?;
        self.prune(step)
    }

    /// Points `last` at the checkpoint of `step`, atomically.
    pub(crate) fn point_last_at(&self, step: u64) -> Result<(), CheckpointError> {
        let part = self.root.join(format!("{LAST_PART}{}", std::process::id()));
        let last = self.root.join(LAST);
        match symlink(&step_name(step), &part) {
            // A file system without links (exFAT, some network shares) has no `last`; nothing depends on it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
                ) =>
            {
                Ok(())
            }
            result => result
                .and_then(|()| self.clear_copied_last())
                .and_then(|()| fs::rename(&part, &last))
                .and_then(|()| sync_folder(&self.root)),
        }
        .map_err(|source| CheckpointError::write(&last, source))
    }

    /// A copy that followed links (`cp -rL`, `scp -r`) has a folder in the place of `last`, the same as the checkpoint that it
    /// was: it goes aside, since nothing depends on it.
    fn clear_copied_last(&self) -> io::Result<()> {
        let last = self.root.join(LAST);
        if !last.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        let mut aside = (1..).map(|number| self.root.join(format!("last.copied-{number}")));
        match aside.find(|aside| aside.symlink_metadata().is_err()) {
            Some(free) => fs::rename(&last, free),
            None => Ok(()), // there are enough numbers
        }
    }

    /// Removes checkpoints beyond the newest `keep`, counted back from the one of `step`.
    ///
    /// Later steps are left alone: they can only be damaged ones that the run went back from, and counting
    /// them would remove the good ones in their favour.
    pub(crate) fn prune(&self, step: u64) -> Result<(), CheckpointError> {
        if self.keep == 0 {
            return Ok(());
        }
        let past: Vec<_> = self
            .list()?
            .into_iter()
            .filter(|checkpoint| checkpoint.step <= step)
            .collect();
        let surplus = past.len().saturating_sub(self.keep);
        past[..surplus].iter().try_for_each(|old| {
            self.remove(old)
                .map_err(|source| CheckpointError::write(&old.path, source))
        })
    }

    /// Renamed first, so that a process killed in between leaves no half of a checkpoint under its name.
    fn remove(&self, old: &StoredCheckpoint) -> io::Result<()> {
        let doomed = self.root.join(format!("{REMOVED}{}", step_name(old.step)));
        fs::rename(&old.path, &doomed)?;
        fs::remove_dir_all(&doomed)
    }

    /// Removes what killed processes left, and puts back a checkpoint whose replacement did not arrive.
    fn clean(&self) -> io::Result<()> {
        for name in names(&self.root)? {
            let path = self.root.join(&name);
            if let Some(step) = name.strip_prefix(REPLACED)
                && !self.root.join(step).exists()
            {
                fs::rename(&path, self.root.join(step))?;
            } else if [STAGING, REPLACED, REMOVED]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                fs::remove_dir_all(&path)?;
            } else if name.starts_with(LAST_PART) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// `step-00001234`.
pub(crate) fn step_name(step: u64) -> String {
    format!("step-{step:08}")
}

fn parse_step(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// The names in a folder, sorted; names that are no text cannot be ours.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

#[cfg(unix)]
fn symlink(target: &str, link: &Path) -> io::Result<()> {
    match fs::remove_file(link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => std::os::unix::fs::symlink(target, link),
    }
}

#[cfg(not(unix))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
