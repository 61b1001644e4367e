//! The best weights of a run, which outlive its checkpoints.

use std::fs;

use anyhow::{Context, Result};
use fcmae_checkpoint::{Metadata, Tensors};

use super::saving::MODEL;
use super::task::Closing;
use super::writer::{Snapshot, Weights};

/// The best weights so far, until the next checkpoint takes them along to a folder of their own beside it: a run that goes
/// back to the checkpoint before finds the best of then.
pub(crate) struct Kept {
    folder: &'static str,
    unsaved: Option<Weights>,
}

impl Kept {
    /// The folder of the best weights.
    pub(crate) const BEST: &'static str = "best";

    pub(crate) fn new(folder: &'static str) -> Kept {
        Kept {
            folder,
            unsaved: None,
        }
    }

    /// Takes the place of what was kept before.
    pub(crate) fn keep(&mut self, closing: &Closing, tensors: Tensors, metadata: Metadata) -> Result<()> {
        let folder = closing.folder.checkpoints().join(self.folder);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        self.unsaved = Some(Weights {
            file: folder.join(MODEL),
            tensors,
            metadata,
        });
        Ok(())
    }

    /// Hands weights that are not on the disk yet to the snapshot of a checkpoint.
    pub(crate) fn save(&mut self, snapshot: &mut Snapshot) {
        if snapshot.is_aside() {
            return;
        }
        self.unsaved
            .take()
            .into_iter()
            .for_each(|weights| snapshot.add_beside(weights));
    }
}
