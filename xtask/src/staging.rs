//! Folders that appear whole or not at all: filled beside their place, then renamed; one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Held by the one process that may change a folder of the cache; let go when dropped, or when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock `folder/.lock`, and waits (saying so) while another process holds it.
    pub(crate) fn take(folder: &Path) -> Result<Lock> {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be created", folder.display()))?;
        let path = folder.join(".lock");
        let file = File::create(&path).with_context(|| format!("{}: cannot be written", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting: another process is at work in {}", folder.display());
                file.lock()
                    .with_context(|| format!("{}: cannot be locked", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("{}: cannot be locked", path.display()));
            }
        }
        Ok(Lock { file })
    }

    /// Lets a command hold the lock as well, by its standard input, which is empty: should this process be killed, the
    /// next one waits for what it has left running.
    pub(crate) fn share(&self, command: &mut Command) -> Result<()> {
        let file = self.file.try_clone().context("a lock cannot be shared")?;
        command.stdin(file);
        Ok(())
    }
}

/// A folder under construction. Dropped before [`commit`](Staging::commit), it is removed; killed, the next
/// [`begin`](Staging::begin) for the same target removes it. The caller holds the [`Lock`] of the parent folder.
#[derive(Debug)]
pub(crate) struct Staging {
    target: PathBuf,
    partial: PathBuf,
}

impl Staging {
    /// Starts an empty folder that will become `target`.
    pub(crate) fn begin(target: &Path) -> Result<Staging> {
        let partial = beside(target, "partial");
        for leftover in [&partial, &beside(target, "old")] {
            remove(leftover)?;
        }
        fs::create_dir_all(&partial).with_context(|| format!("{}: cannot be created", partial.display()))?;
        Ok(Staging {
            target: target.to_path_buf(),
            partial,
        })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.partial
    }

    /// Puts the folder in its place; what stood there before goes.
    pub(crate) fn commit(self) -> Result<PathBuf> {
        let (target, old) = (&self.target, beside(&self.target, "old"));
        if target.exists() {
            fs::rename(target, &old).with_context(|| format!("{}: cannot be replaced", target.display()))?;
        }
        fs::rename(&self.partial, target)
            .with_context(|| format!("{}: cannot be put in place", target.display()))?;
        remove(&old)?;
        Ok(target.clone())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // after a commit there is nothing left here; after a failure the next run would remove it anyway
        let _ = fs::remove_dir_all(&self.partial);
    }
}

fn beside(target: &Path, what: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{what}"))
}

/// Removes a folder or file; that it is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

/// Points the link `link` at `target`, in one step: at no moment is there no link.
#[cfg(unix)]
pub(crate) fn replace_link(link: &Path, target: &Path) -> Result<()> {
    let fresh = beside(link, "new");
    remove(&fresh)?;
    std::os::unix::fs::symlink(target, &fresh)
        .with_context(|| format!("{}: cannot be made", fresh.display()))?;
    fs::rename(&fresh, link).with_context(|| {
        format!(
            "{}: cannot be replaced; if it is a folder, move it away",
            link.display()
        )
    })
}

/// Links are a matter of the systems that libtorch is installed on.
#[cfg(not(unix))]
pub(crate) fn replace_link(link: &Path, _target: &Path) -> Result<()> {
    anyhow::bail!(
        "{}: links are not supported on this system; set LIBTORCH instead",
        link.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_there_before_the_commit_and_all_after_it() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("thing");
        let staging = Staging::begin(&target).unwrap();
        fs::write(staging.path().join("a"), "1").unwrap();
        assert!(!target.exists());
        assert_eq!(staging.commit().unwrap(), target);
        assert_eq!(names(home.path()), ["thing"]);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "1");
    }

    #[test]
    fn a_failure_leaves_the_old_one_untouched() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("thing");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("a"), "old").unwrap();
        drop(Staging::begin(&target).unwrap());
        assert_eq!(names(home.path()), ["thing"]);
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "old");
    }

    #[test]
    fn leftovers_of_a_killed_run_are_removed_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("thing");
        // killed while filling, by a process that never ran its destructors
        let killed = Staging::begin(&target).unwrap();
        fs::write(killed.path().join("half"), "…").unwrap();
        std::mem::forget(killed);
        assert_eq!(names(home.path()), [".thing.partial"]);
        let staging = Staging::begin(&target).unwrap();
        assert!(
            names(staging.path()).is_empty(),
            "the half-made folder must start empty"
        );
        fs::write(staging.path().join("a"), "new").unwrap();
        staging.commit().unwrap();
        assert_eq!(names(home.path()), ["thing"]);
        assert_eq!(names(&target), ["a"]);
    }

    #[test]
    fn the_second_process_waits_for_the_first() {
        let home = tempfile::tempdir().unwrap();
        let first = Lock::take(home.path()).unwrap();
        let other = File::create(home.path().join(".lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        other.try_lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn what_a_killed_process_has_left_running_holds_its_lock() {
        let home = tempfile::tempdir().unwrap();
        let lock = Lock::take(home.path()).unwrap();
        let mut command = Command::new("sleep");
        lock.share(command.arg("60")).unwrap();
        let mut child = command.spawn().unwrap();
        drop((lock, command));
        let other = File::create(home.path().join(".lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        child.kill().unwrap();
        child.wait().unwrap();
        other.try_lock().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_but_a_folder_never() {
        let home = tempfile::tempdir().unwrap();
        let [link, a, b] = ["link", "a", "b"].map(|name| home.path().join(name));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        replace_link(&link, &a).unwrap();
        replace_link(&link, &b).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), b);
        fs::write(a.join("file"), "kept").unwrap();
        assert!(format!("{:#}", replace_link(&a, &b).unwrap_err()).contains("move it away"));
        assert!(a.join("file").exists());
    }
}
