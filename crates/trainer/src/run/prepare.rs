//! Everything a run needs before its first step, in the order of what it costs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Context, Result};
use fcmae_checkpoint::{CheckpointFolder, ValidCheckpoint};
use fcmae_data::{Dataset, LoaderOptions, Report};
use fcmae_report::LiveReport;
use tch::nn;

use super::batches::TrainingBatches;
use super::input::Input;
use super::introduction::introduce;
use super::meter::Meter;
use super::network::{Network, parameters};
use super::task::Task;
use super::writer::Writer;
use super::{RunOptions, Start, provenance, resume, saving};
use crate::config::{RunConfig, Settings};
use crate::error::InputError;
use crate::machine::peak_memory;
use crate::metrics::MetricsFile;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::schedule::Schedule;
use crate::state::State;
use crate::stop::{SaveFlag, StopFlag};
use crate::summary::{Ending, Summary};
use crate::tensorboard::EventWriter;

/// What preparing leads to.
pub(crate) enum Prepared<T: Task> {
    /// The folder's run is finished.
    Finished(Box<Summary>),
    /// Steps can begin.
    Ready(Box<Run<T>>),
}

/// A run between two steps.
pub(crate) struct Run<T: Task> {
    pub(crate) task: T,
    pub(crate) config: T::Config,
    pub(crate) settings: Settings,
    pub(crate) folder: RunFolder,
    pub(crate) checkpoints: CheckpointFolder,
    pub(crate) network: Network,
    pub(crate) schedule: Schedule,
    pub(crate) state: State,
    pub(crate) batches: TrainingBatches,
    /// The images to train on.
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) class_names: Vec<String>,
    pub(crate) metrics: MetricsFile,
    pub(crate) events: EventWriter,
    pub(crate) progress: Progress,
    pub(crate) stop: StopFlag,
    pub(crate) save: SaveFlag,
    /// Absent where the config wants none.
    pub(crate) report: Option<LiveReport>,
    pub(crate) meter: Meter,
    pub(crate) epoch_started: Instant,
    /// Writes checkpoints beside the training.
    pub(crate) writer: Writer,
    /// Steps and closed epochs of the newest checkpoint, which may be still on its way to the disk.
    pub(crate) saved: Option<(u64, u64)>,
    began: Began,
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

impl<T: Task> Run<T> {
    /// Checks everything, opens everything, and loads the newest checkpoint.
    ///
    /// Input that is wrong is refused before the run folder is made or touched.
    pub(crate) fn prepare(config: &T::Config, options: &RunOptions) -> Result<Prepared<T>> {
        // images are listed here
        let input = options.stop.before_anything(|| {
            let input = Input::check(config, options.start)?;
            T::check(&input, !has_checkpoint(&input.settings.run_folder())?)?;
            anyhow::Ok(input)
        })?;
        let progress = Progress::new(options.verbosity, options.watcher.clone());
        let standing = Standing::find(&input, options, &progress)?;
        if standing.state.is_finished(input.settings.schedule.epochs) {
            return Ok(Prepared::Finished(Box::new(standing.finished::<T>(&input)?)));
        }
        let run = Run::build(input, standing, progress, options)?;
        Ok(Prepared::Ready(Box::new(run)))
    }

    fn build(
        input: Input<T::Config>,
        standing: Standing,
        progress: Progress,
        options: &RunOptions,
    ) -> Result<Run<T>> {
        let report = told_once(progress.warner());
        let (task, network, news) = options
            .stop
            .before_anything(|| standing.network::<T>(&input, &report))?;
        let (metrics, events) = standing.records()?;
        if let Some(damaged) = metrics.damaged() {
            progress.warn(&format!(
                "lines of metrics.jsonl are damaged and left out; {} is the file as it was",
                damaged.display()
            ));
        }
        let lines = T::introduction(&input, parameters(&network.vs));
        introduce(&progress, &input, &standing.state, &lines);
        provenance::write(
            &standing.folder,
            T::VERB,
            lines,
            &standing.state.machine,
            &options.source,
        )?;
        news.iter().for_each(|news| progress.line(news));

        let Input {
            config,
            settings,
            dataset,
            ..
        } = input;
        let Standing {
            folder,
            checkpoints,
            found,
            state,
        } = standing;
        let (class_names, origin) = (dataset.class_names().to_vec(), dataset.origin().to_owned());
        let loading = LoaderOptions {
            report,
            ..task.loading()?
        };
        let place = (state.next_epoch(), state.next_step_of_epoch());
        let (now, step, resumed_from) = (Instant::now(), state.step, found.map(|found| found.step));
        Ok(Run {
            batches: TrainingBatches::start(settings.train, loading, Arc::clone(&dataset), place)?,
            dataset,
            writer: Writer::new(checkpoints.clone()),
            schedule: settings.schedule.build(settings.peak_lr),
            report: settings.report.then(|| LiveReport::new(folder.path())),
            meter: Meter::start(),
            epoch_started: now,
            saved: resumed_from.map(|step| (step, state.epochs_closed)),
            began: Began {
                at: now,
                step,
                resumed_from,
                images: origin,
            },
            task,
            config,
            settings,
            folder,
            checkpoints,
            network,
            state,
            class_names,
            metrics,
            events,
            progress,
            stop: options.stop.clone(),
            save: options.save.clone(),
        })
    }

    /// Optimizer steps of the whole run.
    pub(crate) fn total_steps(&self) -> u64 {
        self.state.steps_per_epoch * self.settings.schedule.epochs
    }

    /// What the run hands back.
    pub(crate) fn summary(&self, ending: Ending) -> Result<Summary> {
        let seconds = self.began.at.elapsed().as_secs_f64();
        let images =
            (self.state.step - self.began.step) as f64 * self.settings.train.images_per_step() as f64;
        let mut summary = Summary {
            images: self.began.images.clone(),
            seconds,
            images_per_second: images / seconds.max(1e-9),
            peak_mib: peak_memory(),
            resumed_from: self.began.resumed_from,
            parameters: parameters(&self.network.vs),
            ..Summary::new(ending, self.settings.schedule.epochs, &self.folder, &self.state)
        };
        T::summarise(&self.config, self.checkpoints.latest()?.as_deref(), &mut summary)?;
        Ok(summary)
    }
}

/// Tells of each image that is left out once, though every pass over held-out images finds it anew.
fn told_once(warn: impl Fn(&str) + Send + Sync + 'static) -> Report {
    let told = Mutex::new(HashSet::new());
    Report::to(move |error| {
        let message = format!("image left out: {error}");
        let is_new = told.lock().is_ok_and(|mut told| told.insert(message.clone()));
        if is_new {
            warn(&message);
        }
    })
}

fn has_checkpoint(run: &Path) -> Result<bool> {
    if !run.is_dir() {
        return Ok(false); // something else in its place is refused when the folder is opened
    }
    Ok(CheckpointFolder::view(run.join("checkpoints"))
        .latest()?
        .is_some())
}

/// Bytes that a run takes beside its checkpoints: metrics, events, pictures.
pub(super) const SPACE_BESIDE: u64 = 16 << 20;

impl Standing {
    /// Locks the folder, finds its newest checkpoint, and checks that it is of this run.
    fn find<C: RunConfig>(input: &Input<C>, options: &RunOptions, progress: &Progress) -> Result<Standing> {
        let start = options.start;
        let config = &input.settings;
        let nothing = |folder: &Path| InputError::NothingToResume {
            folder: folder.to_owned(),
        };
        if start == Start::Resume && !config.run_folder().exists() {
            return Err(nothing(&config.run_folder()).into()); // before the folder is made
        }
        let folder = RunFolder::open(&config.run_folder())?;
        let checkpoints = CheckpointFolder::open(folder.checkpoints(), config.checkpoint.keep)?;
        let found = checkpoints.latest_valid()?;
        if let Some(found) = &found {
            checkpoints.settle(found.step)?;
        }
        let state = match &found {
            Some(found) => continued(found, input, &folder, progress, options.retune)?,
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

    /// The network as the checkpoint left it, or as it begins; with what is worth telling of that.
    fn network<T: Task>(
        &self,
        input: &Input<T::Config>,
        report: &Report,
    ) -> Result<(T, Network, Vec<String>)> {
        let vs = nn::VarStore::new(input.device);
        let mut task = T::new(input, &vs, report)?;
        let (floats, parameters) = (task.floats(), parameters(&vs));
        let checkpoints = self.space_needed(
            floats.checkpoint_bytes(parameters),
            input.settings.checkpoint.keep,
        )?;
        self.folder
            .require_space(checkpoints.saturating_add(floats.best_bytes(parameters)))?;
        let optimizer = task.optimizer(&vs)?;
        let mut network = Network::new(vs, optimizer);
        let news = match &self.found {
            Some(found) => {
                saving::load(&found.path, &mut task, &mut network, self.state.optimizer_steps())?;
                Vec::new()
            }
            None => task.begin(&network.vs)?,
        };
        Ok((task, network, news))
    }

    /// Bytes that the checkpoints still to come will take: those to be kept and one more while it is written.
    fn space_needed(&self, checkpoint_bytes: u64, keep: usize) -> Result<u64> {
        let stored = self.checkpoints.list()?.len().min(keep);
        Ok(checkpoint_bytes.saturating_mul((keep + 1 - stored) as u64) + SPACE_BESIDE)
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
    fn finished<T: Task>(&self, input: &Input<T::Config>) -> Result<Summary> {
        let epochs = input.settings.schedule.epochs;
        let mut summary = Summary::new(Ending::AlreadyFinished, epochs, &self.folder, &self.state);
        let newest = self.found.as_ref().map(|found| found.path.as_path());
        T::summarise(&input.config, newest, &mut summary)?;
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
fn continued<C: RunConfig>(
    found: &ValidCheckpoint,
    input: &Input<C>,
    folder: &RunFolder,
    progress: &Progress,
    retune: bool,
) -> Result<State> {
    found.warnings.iter().for_each(|warning| progress.warn(warning));
    let (before, now) = (saving::read_state(&found.path)?, input.beginning.clone());
    let changes = resume::check(folder.path(), &before, &input.config, &now.data, retune)?;
    changes.news.iter().for_each(|news| progress.line(news));
    changes.warning.iter().for_each(|warning| progress.warn(warning));
    let differences = before.machine.differences(&now.machine);
    if !differences.is_empty() {
        progress.warn(&format!(
            "resumed on another machine, so the last bits will differ from an undisturbed run ({})",
            differences.join("; ")
        ));
    }
    Ok(State {
        ended_early: before.ended_early && !changes.patience,
        data: now.data, // the same images, or what was warned of
        machine: now.machine,
        config: now.config,
        ..before
    })
}
