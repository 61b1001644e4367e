//! Everything a run needs before its first step, in the order of what it costs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use fcmae_checkpoint::{CheckpointFolder, ValidCheckpoint};
use fcmae_data::Report;

use crate::batches::TrainingBatches;
use crate::config::PretrainConfig;
use crate::error::InputError;
use crate::held_out::HeldOutImages;
use crate::input::Input;
use crate::introduction::introduce;
use crate::meter::Meter;
use crate::metrics::MetricsFile;
use crate::network::{Network, parameters};
use crate::pretrain::{PretrainOptions, Start};
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::schedule::Schedule;
use crate::state::State;
use crate::stop::StopFlag;
use crate::summary::{Ending, Summary};
use crate::tensorboard::EventWriter;
use crate::{resume, saving};

/// What preparing leads to.
pub(crate) enum Prepared {
    /// The folder's run is finished.
    Finished(Box<Summary>),
    /// Steps can begin.
    Ready(Box<Run>),
}

/// A run between two steps.
pub(crate) struct Run {
    pub(crate) config: PretrainConfig,
    pub(crate) folder: RunFolder,
    pub(crate) checkpoints: CheckpointFolder,
    pub(crate) network: Network,
    pub(crate) schedule: Schedule,
    pub(crate) state: State,
    pub(crate) batches: TrainingBatches,
    pub(crate) held_out: HeldOut,
    pub(crate) class_names: Vec<String>,
    pub(crate) metrics: MetricsFile,
    pub(crate) events: EventWriter,
    pub(crate) progress: Progress,
    pub(crate) stop: StopFlag,
    pub(crate) meter: Meter,
    pub(crate) epoch_started: Instant,
    /// Steps and closed epochs of the newest checkpoint.
    pub(crate) saved: Option<(u64, u64)>,
    began: Began,
}

/// The images that are measured and pictured.
pub(crate) struct HeldOut {
    pub(crate) images: HeldOutImages,
    /// Whether they are really held out; else training images stand in for the pictures.
    pub(crate) is_measured: bool,
}

/// Where this process began.
struct Began {
    at: Instant,
    step: u64,
    resumed_from: Option<u64>,
    /// Where the images come from.
    images: PathBuf,
}

/// The locked folder, and where the run in it stands.
struct Standing {
    folder: RunFolder,
    checkpoints: CheckpointFolder,
    found: Option<ValidCheckpoint>,
    state: State,
}

impl Run {
    /// Checks everything, opens everything, and loads the newest checkpoint.
    ///
    /// Input that is wrong is refused before the run folder is made or touched.
    pub(crate) fn prepare(config: &PretrainConfig, options: &PretrainOptions) -> Result<Prepared> {
        let input = Input::check(config, options.start)?;
        let progress = Progress::new(options.verbosity);
        let standing = Standing::find(&input, options.start, &progress)?;
        if standing.state.epochs_closed == input.config.schedule.epochs {
            return Ok(Prepared::Finished(Box::new(standing.finished(&input)?)));
        }
        let run = Run::build(input, standing, progress, options.stop.clone())?;
        Ok(Prepared::Ready(Box::new(run)))
    }

    fn build(input: Input, standing: Standing, progress: Progress, stop: StopFlag) -> Result<Run> {
        let network = standing.network(&input)?;
        let (metrics, events) = standing.records()?;
        introduce(&progress, &input, &standing.state, parameters(&network.vs));

        let Input {
            config,
            device,
            dataset,
            held_out,
            ..
        } = input;
        let Standing {
            folder,
            checkpoints,
            found,
            state,
        } = standing;
        let (class_names, origin) = (dataset.class_names().to_vec(), dataset.origin().to_owned());
        let warn = progress.warner();
        let report = Report::to(move |error| warn(&format!("image left out: {error}")));
        let dataset = Arc::new(dataset);
        let is_measured = held_out.is_some();
        let shown = held_out.map_or_else(|| Arc::clone(&dataset), Arc::new);
        let images = HeldOutImages::new(&config, shown, device, report.clone())?;
        let place = (state.next_epoch(), state.next_step_of_epoch());
        let (now, step, resumed_from) = (Instant::now(), state.step, found.map(|found| found.step));
        Ok(Run {
            batches: TrainingBatches::start(&config, dataset, device, place, report)?,
            held_out: HeldOut { images, is_measured },
            schedule: config.schedule.build(config.peak_lr()),
            meter: Meter::start(),
            epoch_started: now,
            saved: resumed_from.map(|step| (step, state.epochs_closed)),
            began: Began {
                at: now,
                step,
                resumed_from,
                images: origin,
            },
            config,
            folder,
            checkpoints,
            network,
            state,
            class_names,
            metrics,
            events,
            progress,
            stop,
        })
    }

    /// Optimizer steps of the whole run.
    pub(crate) fn total_steps(&self) -> u64 {
        self.state.steps_per_epoch * self.config.schedule.epochs
    }

    /// What the run hands back.
    pub(crate) fn summary(&self, ending: Ending) -> Summary {
        let seconds = self.began.at.elapsed().as_secs_f64();
        let images = (self.state.step - self.began.step) as f64 * self.config.train.images_per_step() as f64;
        Summary {
            images: self.began.images.clone(),
            seconds,
            images_per_second: images / seconds.max(1e-9),
            resumed_from: self.began.resumed_from,
            parameters: parameters(&self.network.vs),
            ..Summary::new(ending, &self.config, &self.folder, &self.state)
        }
    }
}

impl Standing {
    /// Locks the folder, finds its newest checkpoint, and checks that it is of this run.
    fn find(input: &Input, start: Start, progress: &Progress) -> Result<Standing> {
        let config = &input.config;
        let nothing = |folder: &Path| InputError::NothingToResume {
            folder: folder.to_owned(),
        };
        if start == Start::Resume && !config.run_folder().exists() {
            return Err(nothing(&config.run_folder()).into()); // before the folder is made
        }
        let folder = RunFolder::open(&config.run_folder())?;
        let checkpoints = CheckpointFolder::open(folder.checkpoints(), config.checkpoint.keep)?;
        let found = checkpoints.latest_valid()?;
        let state = match &found {
            Some(found) => continued(found, input, &folder, progress)?,
            None if start == Start::Resume => return Err(nothing(folder.path()).into()),
            None => input.beginning.clone(),
        };
        Ok(Standing {
            folder,
            checkpoints,
            found,
            state,
        })
    }

    /// The network as the checkpoint left it, or as it starts.
    fn network(&self, input: &Input) -> Result<Network> {
        let mut network = Network::new(&input.config, input.device)?;
        self.folder
            .require_space(self.space_needed(&network, input.config.checkpoint.keep)?)?;
        match &self.found {
            Some(found) => saving::load(&found.path, &mut network, self.state.step)?,
            None => network.model.initialise(&network.vs, input.config.seed),
        }
        Ok(network)
    }

    /// Bytes that the checkpoints still to come will take: those to be kept and one more while it is written.
    fn space_needed(&self, network: &Network, keep: usize) -> Result<u64> {
        /// Metrics, events, pictures.
        const BESIDE: u64 = 16 << 20;
        let stored = self.checkpoints.list()?.len().min(keep);
        Ok(network
            .checkpoint_bytes()
            .saturating_mul((keep + 1 - stored) as u64)
            + BESIDE)
    }

    /// Writes the config, and opens what the run will write to.
    fn records(&self) -> Result<(MetricsFile, EventWriter)> {
        let (folder, state) = (&self.folder, &self.state);
        folder
            .write_config(&state.config)
            .with_context(|| folder.config().display().to_string())?;
        let metrics = MetricsFile::open(&folder.metrics(), state.step, state.epochs_closed)
            .with_context(|| folder.metrics().display().to_string())?;
        let events = EventWriter::create(folder.path(), state.step + 1)
            .with_context(|| format!("event file in {}", folder.path().display()))?;
        Ok((metrics, events))
    }

    /// The summary of a run that was finished before; the network is not built for it.
    fn finished(&self, input: &Input) -> Result<Summary> {
        let summary = Summary::new(Ending::AlreadyFinished, &input.config, &self.folder, &self.state);
        let images = input.dataset.origin().to_owned();
        let Some(file) = &summary.weights else {
            return Ok(Summary { images, ..summary });
        };
        let (header, _) = fcmae_checkpoint::read_safetensors_header(file)?;
        let parameters = header
            .values()
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum();
        Ok(Summary {
            images,
            parameters,
            ..summary
        })
    }
}

/// The state of a checkpoint, on this machine and with this config.
fn continued(
    found: &ValidCheckpoint,
    input: &Input,
    folder: &RunFolder,
    progress: &Progress,
) -> Result<State> {
    found.warnings.iter().for_each(|warning| progress.warn(warning));
    let (before, now) = (saving::read_state(&found.path)?, input.beginning.clone());
    for news in resume::check(folder.path(), &before, &input.config, &now.data)? {
        progress.line(&news);
    }
    let differences = before.machine.differences(&now.machine);
    if !differences.is_empty() {
        progress.warn(&format!(
            "resumed on another machine, so the last bits will differ from an undisturbed run ({})",
            differences.join("; ")
        ));
    }
    Ok(State {
        machine: now.machine,
        config: now.config,
        ..before
    })
}
