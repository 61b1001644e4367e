//! Everything a run needs before its first step, checked in the order of what it costs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use fcmae_checkpoint::{CheckpointFolder, ValidCheckpoint};
use fcmae_data::{DataConfig, Dataset, Report};
use fcmae_model::Fcmae;
use fcmae_random::hash64;
use fcmae_torch_ext::AdamW;
use tch::nn;

use crate::batches::{TrainingBatches, steps_per_epoch};
use crate::config::PretrainConfig;
use crate::error::InputError;
use crate::held_out::HeldOutImages;
use crate::machine::{DeviceChoice, Machine};
use crate::meter::Meter;
use crate::metrics::MetricsFile;
use crate::optimizer::Optimizer;
use crate::pretrain::{PretrainOptions, Start};
use crate::progress::Progress;
use crate::run_folder::{RunFolder, fresh_name};
use crate::schedule::Schedule;
use crate::state::{DataStamp, State};
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
    pub(crate) vs: nn::VarStore,
    pub(crate) model: Fcmae,
    pub(crate) optimizer: Optimizer,
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
    started: Started,
}

/// The images that are measured and pictured.
pub(crate) struct HeldOut {
    pub(crate) images: HeldOutImages,
    /// Whether they are really held out; else training images stand in for the pictures.
    pub(crate) is_measured: bool,
}

/// Where this process began.
struct Started {
    at: Instant,
    step: u64,
    resumed_from: Option<u64>,
    /// Where the images came from.
    images: PathBuf,
}

impl Run {
    /// Checks everything, opens everything, and loads the newest checkpoint.
    ///
    /// Input that is wrong is refused before the run folder is made or touched.
    pub(crate) fn prepare(config: &PretrainConfig, options: &PretrainOptions) -> Result<Prepared> {
        config.validate()?;
        let config = named(config, options.start);
        let device = config.device.parse::<DeviceChoice>()?.find()?;
        let machine = Machine::set_up(device, config.threads);
        let (dataset, held_out) = datasets(&config)?;
        config.check_data_size(dataset.len())?;
        let stamp = stamp(&dataset);

        let progress = Progress::new(options.verbosity);
        let folder = RunFolder::open(&config.run_folder())?;
        let checkpoints = CheckpointFolder::open(folder.checkpoints(), config.checkpoint.keep)?;
        let found = checkpoints.latest_valid()?;
        if found.is_none() && options.start == Start::Resume {
            return Err(InputError::NothingToResume {
                folder: folder.path().to_owned(),
            }
            .into());
        }
        let steps = steps_per_epoch(dataset.len(), &config);
        let text = fcmae_config::to_toml(&config)?;
        let mut state = State::new(config.seed, steps, stamp, machine, text);
        if let Some(found) = &found {
            state = continued(found, state, &config, folder.path(), &progress)?;
            if state.epochs_closed == config.schedule.epochs {
                return Ok(Prepared::Finished(Box::new(finished(
                    &config,
                    &folder,
                    &found.path,
                    &dataset,
                    state,
                )?)));
            }
        }

        let vs = nn::VarStore::new(device);
        let model = Fcmae::new(&vs.root(), &config.fcmae())?;
        let mut optimizer = optimizer(&vs, &config)?;
        folder.require_space(space_needed(&vs, &checkpoints, config.checkpoint.keep)?)?;
        match &found {
            Some(found) => saving::load(&found.path, &vs, &mut optimizer, state.step)?,
            None => model.initialise(&vs, config.seed),
        }
        folder
            .write_config(&state.config)
            .with_context(|| folder.config().display().to_string())?;
        let metrics = MetricsFile::open(&folder.metrics(), state.step, state.epochs_closed)
            .with_context(|| folder.metrics().display().to_string())?;
        let events = EventWriter::create(folder.path(), state.step + 1)
            .with_context(|| format!("event file in {}", folder.path().display()))?;

        let warn = progress.warner();
        let report = Report::to(move |error| warn(&format!("image left out: {error}")));
        let place = (state.next_epoch(), state.next_step_of_epoch());
        let (class_names, origin) = (dataset.class_names().to_vec(), dataset.origin().to_owned());
        let dataset = Arc::new(dataset);
        introduce(&progress, &config, &vs, &state, &dataset, held_out.as_ref());
        let is_measured = held_out.is_some();
        let shown = held_out.map_or_else(|| Arc::clone(&dataset), Arc::new);
        let images = HeldOutImages::new(&config, shown, device, report.clone())?;
        let resumed_from = found.map(|found| found.step);
        Ok(Prepared::Ready(Box::new(Run {
            batches: TrainingBatches::start(&config, dataset, device, place, report)?,
            held_out: HeldOut { images, is_measured },
            schedule: config
                .schedule
                .build(config.optimizer.peak_lr(config.train.images_per_step())),
            stop: options.stop.clone(),
            meter: Meter::start(),
            epoch_started: Instant::now(),
            saved: resumed_from.map(|step| (step, state.epochs_closed)),
            started: Started {
                at: Instant::now(),
                step: state.step,
                resumed_from,
                images: origin,
            },
            config,
            folder,
            checkpoints,
            vs,
            model,
            optimizer,
            state,
            class_names,
            metrics,
            events,
            progress,
        })))
    }

    /// Optimizer steps of the whole run.
    pub(crate) fn total_steps(&self) -> u64 {
        self.state.steps_per_epoch * self.config.schedule.epochs
    }

    /// What the run hands back.
    pub(crate) fn summary(&self, ending: Ending) -> Summary {
        let seconds = self.started.at.elapsed().as_secs_f64();
        let images =
            (self.state.step - self.started.step) as f64 * self.config.train.images_per_step() as f64;
        Summary {
            seconds,
            images_per_second: images / seconds.max(1e-9),
            resumed_from: self.started.resumed_from,
            parameters: parameters(&self.vs),
            ..summary(
                ending,
                &self.config,
                &self.folder,
                &self.started.images,
                &self.state,
            )
        }
    }
}

/// The config with the name of the folder that will be used.
fn named(config: &PretrainConfig, start: Start) -> PretrainConfig {
    let mut config = config.clone();
    if start == Start::Fresh {
        config.name = fresh_name(&config.output_dir, &config.name);
    }
    config
}

/// The images to train on and, where the config asks for them, those held out.
fn datasets(config: &PretrainConfig) -> Result<(Dataset, Option<Dataset>)> {
    let all = Dataset::open(&config.data)?;
    let validation = &config.validation;
    if !validation.split.is_empty() {
        let data = DataConfig {
            split: validation.split.clone(),
            ..config.data.clone()
        };
        return Ok((all, Some(Dataset::open(&data)?)));
    }
    if config.data.val_fraction == 0.0 {
        return Ok((all, None));
    }
    let (train, held_out) = all.split_validation(config.data.val_fraction, validation.seed)?;
    Ok((train, Some(held_out)))
}

fn stamp(dataset: &Dataset) -> DataStamp {
    let mut names = String::new();
    for sample in dataset.samples() {
        names += &format!("{}\t{}\n", sample.id, sample.name);
    }
    DataStamp {
        images: dataset.len(),
        fingerprint: format!("{:016x}", hash64(names.as_bytes())),
    }
}

/// The state of a checkpoint, on this machine and with this config.
fn continued(
    found: &ValidCheckpoint,
    now: State,
    config: &PretrainConfig,
    folder: &Path,
    progress: &Progress,
) -> Result<State> {
    found.warnings.iter().for_each(|warning| progress.warn(warning));
    let before = saving::read_state(&found.path)?;
    for news in resume::check(folder, &before, config, &now.data)? {
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

fn optimizer(vs: &nn::VarStore, config: &PretrainConfig) -> Result<Optimizer> {
    let mut parameters: Vec<_> = vs.variables().into_iter().collect();
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b)); // the same order in every process
    let settings = &config.optimizer;
    let adamw = AdamW {
        beta1: settings.betas[0],
        beta2: settings.betas[1],
        eps: settings.eps,
    };
    Optimizer::new(parameters, adamw, settings.weight_decay, settings.decay_grn)
}

fn parameters(vs: &nn::VarStore) -> usize {
    vs.variables().values().map(tch::Tensor::numel).sum()
}

/// Bytes that the checkpoints still to come will take: those to be kept and one more while it is written.
fn space_needed(vs: &nn::VarStore, checkpoints: &CheckpointFolder, keep: usize) -> Result<u64> {
    /// Weights and two moments, f32.
    const BYTES_PER_PARAMETER: u64 = 12;
    /// Metrics, events, pictures.
    const BESIDE: u64 = 16 << 20;
    let stored = checkpoints.list()?.len().min(keep);
    Ok(parameters(vs) as u64 * BYTES_PER_PARAMETER * (keep + 1 - stored) as u64 + BESIDE)
}

/// The first lines of a run.
fn introduce(
    progress: &Progress,
    config: &PretrainConfig,
    vs: &nn::VarStore,
    state: &State,
    dataset: &Dataset,
    held_out: Option<&Dataset>,
) {
    let (model, decoder, train) = (&config.model, &config.decoder, &config.train);
    progress.line(&format!(
        "{} · decoder {}×{} · {:.2} M parameters · {} · {}",
        model.name,
        decoder.depth,
        decoder.dim,
        parameters(vs) as f64 / 1e6,
        config.precision.name(),
        state.machine
    ));
    let [height, width] = config.data.image_size;
    progress.line(&format!(
        "{} images of {height}×{width} {} from {}, {} held out · patches of {} px, {} of them hidden",
        dataset.len(),
        config.data.color.name(),
        dataset.origin().display(),
        held_out.map_or(0, Dataset::len),
        model.total_stride(),
        config.mask.mask_ratio
    ));
    progress.line(&format!(
        "{} epochs of {} steps of {} images · lr {:.2e} · into {}",
        config.schedule.epochs,
        state.steps_per_epoch,
        train.images_per_step(),
        config.optimizer.peak_lr(train.images_per_step()),
        config.run_folder().display()
    ));
    if state.step > 0 {
        progress.line(&format!(
            "resumed at step {} (epoch {:.2})",
            state.step,
            state.fractional_epoch()
        ));
    }
}

/// The summary of a run that was finished before; the model is not built for it.
fn finished(
    config: &PretrainConfig,
    folder: &RunFolder,
    checkpoint: &Path,
    dataset: &Dataset,
    state: State,
) -> Result<Summary> {
    let (header, _) = fcmae_checkpoint::read_safetensors_header(checkpoint.join(saving::MODEL))?;
    let parameters = header
        .values()
        .map(|tensor| tensor.shape.iter().product::<usize>())
        .sum();
    Ok(Summary {
        parameters,
        ..summary(Ending::AlreadyFinished, config, folder, dataset.origin(), &state)
    })
}

fn summary(
    ending: Ending,
    config: &PretrainConfig,
    folder: &RunFolder,
    images: &Path,
    state: &State,
) -> Summary {
    let weights = folder.checkpoints().join("last").join(saving::MODEL);
    let picture = (1..=state.epochs_closed)
        .rev()
        .map(|epoch| folder.reconstruction(epoch));
    Summary {
        ending,
        run: folder.path().to_owned(),
        images: images.to_owned(),
        step: state.step,
        epoch: state.epochs_closed,
        epochs: config.schedule.epochs,
        resumed_from: None,
        train_loss: state.train_loss,
        first_held_out_loss: state.held_out.first,
        held_out_loss: state.held_out.last,
        parameters: 0,
        seconds: 0.0,
        images_per_second: 0.0,
        machine: state.machine.clone(),
        weights: weights.exists().then_some(weights),
        reconstruction: picture.into_iter().find(|file| file.exists()),
    }
}
