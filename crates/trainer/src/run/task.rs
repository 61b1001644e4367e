//! What a run is about: the part of it that differs between kinds of runs.

use std::path::Path;

use anyhow::Result;
use fcmae_blocks::Watch;
use fcmae_checkpoint::Metadata;
use fcmae_data::{Batch, LoaderOptions, Report};
use tch::{Tensor, nn};

use super::input::Input;
use super::writer::Snapshot;
use crate::config::RunConfig;
use crate::measures::Measures;
use crate::monitored::Monitored;
use crate::optimizer::Optimizer;
use crate::run_folder::RunFolder;
use crate::stop::StopFlag;
use crate::summary::Summary;
use crate::tensorboard::EventWriter;

/// A network in training, how a batch is scored, what closes an epoch, and what a checkpoint holds beside weights,
/// moments and state.
///
/// Everything else of a run is the same for all of them and lies in [`Run`](super::Run).
pub(crate) trait Task: Sized {
    /// The verb of such a run.
    const VERB: &'static str;

    /// The file that describes such a run.
    type Config: RunConfig;

    /// Refuses input before the run folder is made or touched. `is_new`: there is no checkpoint to go on from.
    fn check(input: &Input<Self::Config>, is_new: bool) -> Result<()>;

    /// Creates the parameters in `vs`; their values are still to be drawn or loaded.
    fn new(input: &Input<Self::Config>, vs: &nn::VarStore, report: &Report) -> Result<Self>;

    /// The optimizer of the parameters in `vs`.
    fn optimizer(&self, vs: &nn::VarStore) -> Result<Optimizer>;

    /// Gives the parameters the values that a run begins with. Returns sentences worth telling.
    fn begin(&mut self, vs: &nn::VarStore) -> Result<Vec<String>>;

    /// How training batches are made.
    fn loading(&self) -> Result<LoaderOptions>;

    /// Mean loss over a training batch, with its graph; `watch` looks on.
    fn loss(&self, batch: Batch, watch: Watch) -> Result<Tensor>;

    /// The optimizer has taken a step.
    fn step_done(&mut self) -> Result<()> {
        Ok(())
    }

    /// Measures and pictures the epoch whose last step is done; `None` if it was stopped on the way.
    fn close_epoch(&mut self, closing: &mut Closing) -> Result<Option<Closed>>;

    /// What is kept of each parameter.
    fn floats(&self) -> Floats;

    /// What the weights' file says beside the config and the names of the classes.
    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new())
    }

    /// Adds to a checkpoint what only this task has; it is not asked twice for the same.
    ///
    /// `metadata` is that of the weights.
    fn save(&mut self, _snapshot: &mut Snapshot, _metadata: &Metadata) {}

    /// Takes that from a checkpoint.
    fn load(&mut self, _checkpoint: &Path) -> Result<()> {
        Ok(())
    }

    /// The first two lines of a run: the network and the images.
    fn introduction(input: &Input<Self::Config>, parameters: usize) -> [String; 2];

    /// Adds to the summary what only this task has, from the run's newest checkpoint (`None`: there is none).
    fn summarise(_config: &Self::Config, _checkpoint: Option<&Path>, _summary: &mut Summary) -> Result<()> {
        Ok(())
    }
}

/// Numbers (f32) that are kept of each parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Floats {
    /// In a checkpoint: the weight, two moments, perhaps an average. As many are in memory while it is written.
    pub(crate) checkpoint: u64,
    /// Beside the checkpoints: the best weights, in memory until they are written.
    pub(crate) best: u64,
}

impl Floats {
    /// Bytes of a checkpoint, about.
    pub(crate) fn checkpoint_bytes(self, parameters: usize) -> u64 {
        4 * self.checkpoint * parameters as u64
    }

    /// Bytes of the best weights, about.
    pub(crate) fn best_bytes(self, parameters: usize) -> u64 {
        4 * self.best * parameters as u64
    }
}

/// An epoch whose last step is done, as its task sees it.
pub(crate) struct Closing<'a> {
    /// Number of the epoch, from 1.
    pub(crate) epoch: u64,
    /// Epochs of the whole run.
    pub(crate) epochs: u64,
    /// Optimizer steps done.
    pub(crate) step: u64,
    pub(crate) vs: &'a nn::VarStore,
    pub(crate) folder: &'a RunFolder,
    pub(crate) events: &'a mut EventWriter,
    pub(crate) stop: &'a StopFlag,
    /// Metadata of a file of weights written now.
    pub(crate) metadata: &'a Metadata,
}

impl Closing<'_> {
    /// Whether something that happens every `every` epochs (0 = never) and after the last happens now.
    pub(crate) fn is_due(&self, every: u64) -> bool {
        every > 0 && (self.epoch.is_multiple_of(every) || self.epoch == self.epochs)
    }
}

/// What was found when an epoch was closed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Closed {
    /// Mean loss on the held-out images, where it was measured.
    pub(crate) held_out: Option<f64>,
    /// For the epoch's line in `metrics.jsonl`.
    pub(crate) measures: Option<Measures>,
    /// The same of the averaged weights.
    pub(crate) ema_measures: Option<Measures>,
    /// What the features are like, where that was measured.
    pub(crate) monitored: Option<Monitored>,
    /// What a user should be warned of.
    pub(crate) warnings: Vec<String>,
    /// Whether the run ends here, before its last epoch.
    pub(crate) ends_early: bool,
}
