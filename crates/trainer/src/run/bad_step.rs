//! A step that nobody should learn from: told, kept for `replay`, and the end of the run or passed over.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fcmae_checkpoint::{CheckpointFolder, read_json};
use fcmae_data::{Batch, Dataset};
use serde::{Deserialize, Serialize};

use super::prepare::Run;
use super::saving;
use super::task::Task;
use super::writer::Snapshot;
use crate::config::OnBadStep;
use crate::error::InputError;
use crate::run_folder::RunFolder;

/// What a bad step's folder holds beside what every checkpoint does: a [`KeptStep`].
const FILE: &str = "step.json";

/// A step that was refused, as the run met it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptStep {
    /// The verb of the run.
    pub(crate) verb: String,
    /// What was wrong.
    pub(crate) problem: String,
    pub(crate) batches: Vec<KeptBatch>,
}

/// One of its batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptBatch {
    /// Place in the epoch, from 0.
    pub(crate) batch: u64,
    /// Absent where it was not finite.
    pub(crate) loss: Option<f64>,
    /// Names of its images.
    pub(crate) images: Vec<String>,
}

/// A batch that went into a step.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) batch: u64,
    pub(super) ids: Vec<u64>,
    pub(super) loss: f64,
}

impl Taken {
    pub(super) fn new(batch: &Batch) -> Taken {
        Taken {
            batch: batch.batch,
            ids: batch.ids.clone(),
            loss: f64::NAN,
        }
    }
}

impl<T: Task> Run<T> {
    /// Keeps the step for `replay`; then the run ends, or passes over it, as `[guard]` says.
    ///
    /// Weights and moments are still those before the step: its gradients were never applied.
    pub(super) fn refuse(&mut self, problem: String, batches: &[Taken]) -> Result<()> {
        let kept = KeptStep {
            verb: T::VERB.to_owned(),
            problem,
            batches: named(batches, &self.dataset),
        };
        let told = self.describe(&kept);
        self.keep(kept)
            .with_context(|| format!("{told}; it could not be kept"))?;
        let (skipped, guard) = (self.state.steps_skipped, self.settings.guard);
        if guard.on_bad_step == OnBadStep::Skip && skipped < guard.max_skipped {
            self.state.skip_step();
            let limit = guard.max_skipped;
            self.progress
                .warn(&format!("{told}; skipped ({} of at most {limit})", skipped + 1));
            return Ok(());
        }
        self.wait_until_saved()?;
        let saved = match self.saved {
            Some((step, _)) => format!("the checkpoint of step {step} is intact"),
            None => "no checkpoint was written yet".to_owned(),
        };
        let advice = match guard.on_bad_step {
            OnBadStep::Stop => "pass over such steps with `guard.on_bad_step` = \"skip\"".to_owned(),
            OnBadStep::Skip => format!("raise `guard.max_skipped`: {skipped} were skipped before"),
        };
        bail!(
            "{told}; {saved}. `fcmae replay {}` runs the step again and finds where it goes wrong; lower `optimizer.lr`, \
             lengthen `schedule.warmup_epochs`, or set `optimizer.clip_grad` = 1.0 (this run goes on so with --retune), or \
             {advice}",
            self.folder.path().display()
        )
    }

    /// Writes what the step began with, and what it was, into a folder of its own.
    fn keep(&mut self, kept: KeptStep) -> Result<()> {
        let (task, network, state) = (&mut self.task, &self.network, &self.state);
        let mut snapshot = saving::fill(
            Snapshot::aside(state.step),
            task,
            network,
            state,
            &self.class_names,
        )?;
        snapshot.add_json(FILE, kept);
        snapshot.write(&CheckpointFolder::open(self.folder.bad_step(), 1)?)?;
        Ok(())
    }

    /// Step, batch, problem, and the images, the first of them by name.
    fn describe(&self, kept: &KeptStep) -> String {
        /// More would hide the rest of the sentence; all of them are in the file.
        const SHOWN: usize = 4;
        let is_bad = |batch: &&KeptBatch| batch.loss.is_none();
        let at_fault = match kept.batches.iter().any(|batch| is_bad(&batch)) {
            true => kept.batches.iter().filter(is_bad).collect::<Vec<_>>(),
            false => kept.batches.iter().collect(),
        };
        let images: Vec<&str> = at_fault
            .iter()
            .flat_map(|batch| &batch.images)
            .map(String::as_str)
            .collect();
        let shown = images[..images.len().min(SHOWN)].join(", ");
        let more = match images.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(
                " and {more} more in {}",
                self.folder.bad_step().join("last").join(FILE).display()
            ),
        };
        let places: Vec<String> = at_fault.iter().map(|batch| batch.batch.to_string()).collect();
        format!(
            "step {} (epoch {}, batch {}): {} on {shown}{more}",
            self.state.step + 1,
            self.state.next_epoch() + 1,
            places.join(", "),
            kept.problem,
        )
    }
}

/// The newest bad step of a run: where it is kept, and what it was.
pub(crate) fn find(run: &Path) -> Result<(PathBuf, KeptStep)> {
    let found = CheckpointFolder::view(run.join(RunFolder::BAD_STEP)).latest_valid()?;
    let Some(found) = found else {
        let message = format!(
            "{}: no step of this run was refused, so there is none to replay",
            run.display()
        );
        return Err(InputError::Argument { message }.into());
    };
    let kept = read_json(found.path.join(FILE))?;
    Ok((found.path, kept))
}

/// The batches with their images by name.
fn named(batches: &[Taken], dataset: &Dataset) -> Vec<KeptBatch> {
    let wanted: HashSet<u64> = batches
        .iter()
        .flat_map(|taken| taken.ids.iter().copied())
        .collect();
    let samples = dataset
        .samples()
        .iter()
        .filter(|sample| wanted.contains(&sample.id));
    let names: HashMap<u64, &str> = samples.map(|sample| (sample.id, sample.name.as_str())).collect();
    let name = |taken: &Taken| KeptBatch {
        batch: taken.batch,
        loss: Some(taken.loss).filter(|loss| loss.is_finite()),
        images: taken.ids.iter().map(|id| names[id].to_owned()).collect(),
    };
    batches.iter().map(name).collect()
}
