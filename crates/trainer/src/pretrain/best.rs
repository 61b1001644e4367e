//! The weights with the smallest loss on held-out images.

use std::path::Path;

use anyhow::Result;
use fcmae_checkpoint::read_json;
use serde::{Deserialize, Serialize};

use crate::run::{Closing, Kept, Snapshot};

/// In a checkpoint: the smallest loss so far.
const FILE: &str = "best.json";

/// Compares losses, and keeps the weights of the smallest; of equal ones the first.
pub(super) struct Best {
    found: Option<Found>,
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Found {
    /// Epochs done.
    epoch: u64,
    /// Optimizer steps done.
    step: u64,
    loss: f64,
}

impl Default for Best {
    fn default() -> Best {
        Best {
            found: None,
            kept: Kept::new(Kept::BEST),
        }
    }
}

impl Best {
    pub(super) fn offer(&mut self, closing: &Closing, loss: f64) -> Result<()> {
        if !loss.is_finite() || self.found.is_some_and(|best| loss >= best.loss) {
            return Ok(());
        }
        self.found = Some(Found {
            epoch: closing.epoch,
            step: closing.step,
            loss,
        });
        let tensors = fcmae_model::tensors(closing.vs);
        self.kept.keep(closing, tensors, closing.metadata.clone())
    }

    pub(super) fn save(&mut self, snapshot: &mut Snapshot) {
        self.kept.save(snapshot);
        if let Some(found) = self.found {
            snapshot.add_json(FILE, found);
        }
    }

    /// Checkpoints of runs without held-out images, and of earlier versions, have no such file.
    pub(super) fn load(&mut self, checkpoint: &Path) -> Result<()> {
        let file = checkpoint.join(FILE);
        if file.exists() {
            self.found = Some(read_json(file)?);
        }
        Ok(())
    }
}
