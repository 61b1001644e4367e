//! A checkpoint being written, invisible until it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::atomic::sync_folder;
use crate::checksums::write_list;
use crate::error::CheckpointError;
use crate::folder::{CheckpointFolder, REPLACED, step_name};
use crate::json::write_json;
use crate::tensor::{Metadata, Tensors};
use crate::write::write_safetensors;

/// A temporary folder that becomes the checkpoint of one step.
///
/// Put files into it with the methods here or at [`path`](Staging::path), then [`commit`](Staging::commit).
/// Dropped without a commit, it is removed; left by a killed process, it is removed by the next
/// [`CheckpointFolder::open`].
#[derive(Debug)]
#[must_use = "a checkpoint exists only after `commit`"]
pub struct Staging<'a> {
    folder: &'a CheckpointFolder,
    step: u64,
    path: PathBuf,
}

impl<'a> Staging<'a> {
    pub(crate) fn create(folder: &'a CheckpointFolder, step: u64, path: PathBuf) -> io::Result<Staging<'a>> {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&path)?,
        }
        Ok(Staging { folder, step, path })
    }

    /// The temporary folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a safetensors file into the folder; see [`write_safetensors`].
    ///
    /// # Errors
    /// As [`write_safetensors`].
    pub fn write_tensors(
        &self,
        name: &str,
        tensors: &Tensors,
        metadata: &Metadata,
    ) -> Result<(), CheckpointError> {
        write_safetensors(self.path.join(name), tensors, metadata)
    }

    /// Writes a JSON file into the folder; see [`write_json`].
    ///
    /// # Errors
    /// As [`write_json`].
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), CheckpointError> {
        write_json(self.path.join(name), value)
    }

    /// Makes the checkpoint visible and gives its folder: checksums written, everything synced, the
    /// temporary folder renamed to `step-…`, `last` pointed at it, and checkpoints beyond the newest few
    /// removed. A checkpoint of the same step is replaced.
    ///
    /// # Errors
    /// When the system refuses one of these; older checkpoints are then as they were.
    pub fn commit(self) -> Result<PathBuf, CheckpointError> {
        write_list(&self.path)?;
        let target = self.folder.root().join(step_name(self.step));
        sync_folder(&self.path)
            .and_then(|()| self.publish(&target))
            .and_then(|()| sync_folder(self.folder.root()))
            .map_err(|source| CheckpointError::write(&target, source))?;
        self.folder.settle(self.step)?;
        Ok(target)
    }

    /// Renames the temporary folder to `target`, setting aside what is there.
    fn publish(&self, target: &Path) -> io::Result<()> {
        let aside = self
            .folder
            .root()
            .join(format!("{REPLACED}{}", step_name(self.step)));
        if !target.exists() {
            return fs::rename(&self.path, target);
        }
        fs::rename(target, &aside)?;
        if let Err(error) = fs::rename(&self.path, target) {
            fs::rename(&aside, target)?;
            return Err(error);
        }
        fs::remove_dir_all(&aside)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // After a commit there is nothing at this path. A failure leaves litter that the next start removes.
        let _ = fs::remove_dir_all(&self.path);
    }
}
