//! Pre-training: the masked loss of an FCMAE, measured and pictured on held-out images.

mod best;
mod held_out;
mod monitor;
mod pictures;

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use fcmae_blocks::Watch;
use fcmae_checkpoint::Metadata;
use fcmae_data::{Batch, Dataset, LoaderOptions, Report, Transform};
use fcmae_masking::{PatchGrid, RandomMask};
use fcmae_model::{Fcmae, Pass, Step};
use fcmae_torch_ext::AdamW;
use tch::{Device, Tensor, nn};

use crate::config::PretrainConfig;
use crate::optimizer::Optimizer;
use crate::run::{
    Closed, Closing, Floats, Input, Plan, PlanOptions, RunOptions, Snapshot, Task, drop_path_draws, images,
    in_place_of_grn, key, plan, run,
};
use crate::summary::Summary;

use best::Best;
use held_out::HeldOutImages;
use monitor::Monitor;

/// Pre-trains as `config` says; the result is in its run folder.
///
/// Stopped and started again at any moment, it ends with the same bits as a run that was left alone, on the
/// same machine, libtorch and number of threads. A run that is finished says so and changes nothing; with more
/// `schedule.epochs` it goes on.
///
/// # Errors
/// [`InputError`](crate::InputError) and the errors of the lower crates for what the user can put right; a loss
/// that is not finite; a disk that fails. The last checkpoint is intact in each case.
pub fn pretrain(config: &PretrainConfig, options: &RunOptions) -> Result<Summary> {
    run::<Pretraining>(config, options)
}

/// Measures what [`pretrain`] would take; the run folder is neither made nor touched.
///
/// # Errors
/// As for a run that begins; memory or a disk that it does not fit into.
pub fn plan_pretrain(config: &PretrainConfig, options: &PlanOptions) -> Result<Plan> {
    plan::<Pretraining>(config, options)
}

/// An FCMAE in training.
pub(crate) struct Pretraining {
    config: PretrainConfig,
    model: Fcmae,
    masks: RandomMask,
    grid: PatchGrid,
    held_out: HeldOutImages,
    monitor: Option<Monitor>,
    best: Best,
    /// Whether the images are really held out; else training images stand in for the pictures.
    is_measured: bool,
    device: Device,
}

impl Task for Pretraining {
    const VERB: &'static str = "pretrain";

    type Config = PretrainConfig;

    fn check(input: &Input<PretrainConfig>, _is_new: bool) -> Result<()> {
        monitor::labelled(&input.config)?; // the config's own checks are all else there is
        Ok(())
    }

    fn new(input: &Input<PretrainConfig>, vs: &nn::VarStore, report: &Report) -> Result<Pretraining> {
        let config = input.config.clone();
        let shown = Arc::clone(input.held_out.as_ref().unwrap_or(&input.dataset));
        Ok(Pretraining {
            model: Fcmae::new(&vs.root(), &config.fcmae())?,
            masks: RandomMask::new(config.mask),
            grid: config.grid()?,
            monitor: Monitor::new(&config, &shown, input.device, report)?,
            held_out: HeldOutImages::new(&config, shown, input.device, report.clone())?,
            best: Best::default(),
            is_measured: input.held_out.is_some(),
            device: input.device,
            config,
        })
    }

    fn optimizer(&self, vs: &nn::VarStore) -> Result<Optimizer> {
        let mut parameters: Vec<_> = vs.variables().into_iter().collect();
        parameters.retain(|(_, parameter)| parameter.requires_grad()); // running statistics are none
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b)); // the same order in every process
        let settings = &self.config.optimizer;
        let adamw = AdamW {
            beta1: settings.betas[0],
            beta2: settings.betas[1],
            eps: settings.eps,
        };
        Optimizer::new(parameters, adamw, settings.weight_decay, settings.decay_grn)
    }

    fn begin(&mut self, vs: &nn::VarStore) -> Result<Vec<String>> {
        self.model.initialise(vs, self.config.seed);
        Ok(Vec::new())
    }

    fn loading(&self) -> Result<LoaderOptions> {
        let config = &self.config;
        let transform = Transform::train(&config.augment, config.data.image_size);
        Ok(LoaderOptions::new(
            &config.data,
            transform,
            config.train.batch_size,
            config.seed,
        ))
    }

    fn loss(&self, batch: Batch, watch: Watch) -> Result<Tensor> {
        let config = &self.config;
        let draws = drop_path_draws(&config.model, config.seed, &batch);
        let images = images(&batch, self.device)?;
        let mask = self
            .masks
            .sample(self.grid, config.seed, batch.epoch, &batch.ids)?;
        let step = Step {
            precision: config.precision.kind(),
            pass: Pass {
                draws: draws.as_ref(),
                is_training: true,
                activation: config.activation,
                watch,
            },
        };
        Ok(self.model.loss(&images, &mask, &step)?)
    }

    fn close_epoch(&mut self, closing: &mut Closing) -> Result<Option<Closed>> {
        let (validation, log) = (&self.config.validation, &self.config.log);
        let mut closed = Closed::default();
        if self.is_measured && closing.is_due(validation.every_epochs) {
            closed.held_out = self.held_out.loss(&self.model, closing.stop)?;
            let Some(loss) = closed.held_out else {
                return Ok(None);
            };
            self.best.offer(closing, loss)?;
        }
        if let Some(monitor) = self.monitor.as_mut().filter(|monitor| monitor.is_due(closing)) {
            let Some(watched) = monitor.watch(self.model.encoder(), closing.epoch, closing.stop)? else {
                return Ok(None);
            };
            closed.warnings.extend(watched.warning);
            closed.monitored = watched.monitored;
        }
        if closing.is_due(log.reconstructions_every_epochs) {
            let count = log.reconstruction_images;
            let Some(rows) = self.held_out.reconstruct(&self.model, count, closing.stop)? else {
                return Ok(None);
            };
            pictures::write(closing.folder, closing.events, closing.epoch, closing.step, &rows)?;
        }
        Ok(Some(closed))
    }

    fn floats(&self) -> Floats {
        Floats {
            checkpoint: 3,
            best: u64::from(self.is_measured),
        }
    }

    fn save(&mut self, snapshot: &mut Snapshot, _metadata: &Metadata) {
        self.best.save(snapshot);
    }

    fn load(&mut self, checkpoint: &Path) -> Result<()> {
        self.best.load(checkpoint)
    }

    fn metadata(&self) -> Result<Metadata> {
        let fcmae = self.config.fcmae();
        let alternatives = [
            (key::RESPONSE, fcmae.encoder.alternative()),
            (key::DECODER, fcmae.alternative_decoder()),
        ];
        let named = |(key, name): (&str, Option<String>)| Some((key.to_owned(), name?));
        Ok(alternatives.into_iter().filter_map(named).collect())
    }

    fn introduction(input: &Input<PretrainConfig>, parameters: usize) -> [String; 2] {
        let config = &input.config;
        let (model, decoder) = (&config.model, &config.decoder);
        let network = format!(
            "{}{} · {} decoder {}×{} · {:.2} M parameters",
            model.name,
            in_place_of_grn(model),
            decoder.kind.name(),
            decoder.depth,
            decoder.dim,
            parameters as f64 / 1e6
        );
        let [height, width] = config.data.image_size;
        let images = format!(
            "{} images of {height}×{width} {} from {}, {} held out · patches of {} px, {} of them hidden",
            input.dataset.len(),
            config.data.color.name(),
            input.dataset.origin().display(),
            input.held_out.as_deref().map_or(0, Dataset::len),
            model.total_stride(),
            config.mask.mask_ratio
        );
        [network, images]
    }
}

#[cfg(test)]
mod tests;
