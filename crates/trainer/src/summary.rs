//! What a run hands back when it returns.

use std::path::PathBuf;

use serde::Serialize;

use crate::finetune::Finetuned;
use crate::machine::Machine;
use crate::run::MODEL;
use crate::run_folder::RunFolder;
use crate::state::State;

/// How a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All epochs are done.
    Finished,
    /// All epochs were done before; nothing was changed.
    AlreadyFinished,
    /// It was asked to stop and is saved at its last whole step.
    Stopped,
}

/// What a run hands back; with `--json` this is what the program prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// How it came to its end.
    pub ending: Ending,
    /// Its folder.
    pub run: PathBuf,
    /// Where its images came from.
    pub images: PathBuf,
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// The step of the checkpoint that this process went on from.
    pub resumed_from: Option<u64>,
    /// Mean loss over the steps of the last epoch.
    pub train_loss: Option<f64>,
    /// Loss on the held-out images after the first epoch.
    pub first_held_out_loss: Option<f64>,
    /// Loss on the held-out images, the newest.
    pub held_out_loss: Option<f64>,
    /// Parameters of the model.
    pub parameters: usize,
    /// Seconds that this process trained.
    pub seconds: f64,
    /// Images that this process trained on per second, held-out measurements included in the time.
    pub images_per_second: f64,
    /// Largest memory of this process so far, in MiB, if the system tells it.
    pub peak_mib: Option<u64>,
    /// What it computed on.
    pub machine: Machine,
    /// Weights of the newest checkpoint.
    pub weights: Option<PathBuf>,
    /// The newest picture of reconstructions.
    pub reconstruction: Option<PathBuf>,
    /// The report, where one was written.
    pub report: Option<PathBuf>,
    /// Whether the run ended before its last epoch because it no longer got better.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ended_early: bool,
    /// What fine-tuning found on the held-out images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finetuned: Option<Finetuned>,
}

impl Summary {
    /// What config, folder and state tell; the rest is empty.
    pub(crate) fn new(ending: Ending, epochs: u64, folder: &RunFolder, state: &State) -> Summary {
        let weights = folder.checkpoints().join("last").join(MODEL);
        let pictures = (1..=state.epochs_closed)
            .rev()
            .map(|epoch| folder.reconstruction(epoch));
        Summary {
            ending,
            run: folder.path().to_owned(),
            images: PathBuf::new(),
            step: state.step,
            epoch: state.epochs_closed,
            epochs,
            resumed_from: None,
            train_loss: state.train_loss,
            first_held_out_loss: state.held_out.first,
            held_out_loss: state.held_out.last,
            parameters: 0,
            seconds: 0.0,
            images_per_second: 0.0,
            peak_mib: None,
            machine: state.machine.clone(),
            weights: weights.exists().then_some(weights),
            report: Some(folder.report()).filter(|file| file.exists()),
            reconstruction: pictures.into_iter().find(|file| file.exists()),
            ended_early: state.ended_early,
            finetuned: None,
        }
    }
}
