//! Fine-tuning: a dense classifier trained with labels, its average, and the best of both.

mod best;
mod ema;
mod held_out;
mod objective;
mod start;

use std::path::Path;

use anyhow::Result;
use fcmae_blocks::Watch;
use fcmae_checkpoint::Metadata;
use fcmae_data::{Batch, Dataset, LoaderOptions, Report};
use fcmae_encoder::Classifier;
use fcmae_model::Pass;
use fcmae_torch_ext::AdamW;
use tch::{Device, Kind, Tensor, nn};

use crate::config::FinetuneConfig;
use crate::error::InputError;
use crate::groups::is_decayed;
use crate::layers::LayerDecay;
use crate::optimizer::{Optimizer, Share};
use crate::run::{
    Closed, Closing, Floats, Input, Plan, PlanOptions, RunOptions, Snapshot, Task, drop_path_draws, images,
    in_place_of_grn, plan, run,
};
use crate::summary::Summary;

use best::Choice;
use ema::Ema;
use held_out::HeldOutLabels;
use objective::Objective;

pub use best::{Best, Finetuned};

/// Fine-tunes as `config` says; the result is in its run folder.
///
/// As with [`pretrain`](crate::pretrain()), a run that is stopped and started again ends with the same bits as one
/// that was left alone, averaged and best weights included.
///
/// # Errors
/// [`InputError`] and the errors of the lower crates for what the user can put right; a loss that is not finite; a
/// disk that fails. The last checkpoint is intact in each case.
pub fn finetune(config: &FinetuneConfig, options: &RunOptions) -> Result<Summary> {
    run::<Finetuning>(config, options)
}

/// Measures what [`finetune`] would take; the run folder is neither made nor touched.
///
/// # Errors
/// As for a run that begins; memory or a disk that it does not fit into.
pub fn plan_finetune(config: &FinetuneConfig, options: &PlanOptions) -> Result<Plan> {
    plan::<Finetuning>(config, options)
}

/// A classifier in training.
pub(crate) struct Finetuning {
    config: FinetuneConfig,
    model: Classifier,
    objective: Objective,
    ema: Option<Ema>,
    /// Absent where no images are held out.
    held_out: Option<HeldOutLabels>,
    choice: Choice,
    class_names: Vec<String>,
    device: Device,
}

impl Task for Finetuning {
    const VERB: &'static str = "finetune";

    type Config = FinetuneConfig;

    fn check(input: &Input<FinetuneConfig>, is_new: bool) -> Result<()> {
        let (config, names) = (&input.config, input.dataset.class_names());
        Objective::new(config, &input.dataset, Device::Cpu)?;
        if names.len() < 2 && !config.is_sigmoid() {
            let message = format!(
                "there is only one class in {}; there must be two to tell apart",
                input.dataset.origin().display()
            );
            return Err(InputError::config("labels.classes", message).into());
        }
        if config.selection.metric == crate::Metric::Auroc && names.len() != 2 {
            let message = format!("\"auroc\" is for two classes, there are {}", names.len());
            return Err(InputError::config("selection.metric", message).into());
        }
        if is_new {
            // a rehearsal: whatever the weights or the patterns have against it is said before a folder is made
            let vs = nn::VarStore::new(Device::Cpu);
            Classifier::new(&vs.root(), &config.model, names.len())?;
            start::begin(config, names, &vs)?;
            start::freeze(&config.freeze, &vs)?;
        }
        Ok(())
    }

    fn new(input: &Input<FinetuneConfig>, vs: &nn::VarStore, report: &Report) -> Result<Finetuning> {
        let (config, device) = (input.config.clone(), input.device);
        let class_names = input.dataset.class_names().to_vec();
        let classes = class_names.len();
        let model = Classifier::new(&vs.root(), &config.model, classes)?;
        let ema = (config.ema.decay > 0.0).then(|| Ema::new(vs, &config.model, classes, config.ema.decay));
        let held_out = |dataset| HeldOutLabels::new(&config, dataset, classes, device, report.clone());
        Ok(Finetuning {
            model,
            objective: Objective::new(&config, &input.dataset, device)?,
            ema: ema.transpose()?,
            held_out: input.held_out.clone().map(held_out),
            choice: Choice::new(config.selection),
            class_names,
            device,
            config,
        })
    }

    fn optimizer(&self, vs: &nn::VarStore) -> Result<Optimizer> {
        let settings = &self.config.optimizer;
        start::freeze(&self.config.freeze, vs)?;
        let mut parameters: Vec<_> = vs.variables().into_iter().collect();
        parameters.retain(|(_, parameter)| parameter.requires_grad());
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b)); // the same order in every process
        let adamw = AdamW {
            beta1: settings.betas[0],
            beta2: settings.betas[1],
            eps: settings.eps,
        };
        let depths = &self.config.model.depths;
        let layers = LayerDecay::new(settings.layer_decay_type, depths, settings.layer_decay);
        Optimizer::grouped(parameters, adamw, |name, shape| Share {
            weight_decay: if is_decayed(name, shape, false) {
                settings.weight_decay
            } else {
                0.0
            },
            lr_scale: layers.scale(layers.layer(name)),
        })
    }

    fn begin(&mut self, vs: &nn::VarStore) -> Result<Vec<String>> {
        let news = start::begin(&self.config, &self.class_names, vs)?;
        if let Some(ema) = &self.ema {
            ema.begin()?;
        }
        Ok(news)
    }

    fn loading(&self) -> Result<LoaderOptions> {
        let config = &self.config;
        Ok(LoaderOptions::finetune(
            &config.data,
            &config.augment,
            &config.mix,
            config.train.batch_size,
            config.seed,
        )?)
    }

    fn loss(&self, batch: Batch, watch: Watch) -> Result<Tensor> {
        let config = &self.config;
        let draws = drop_path_draws(&config.model, config.seed, &batch);
        let pass = Pass {
            draws: draws.as_ref(),
            is_training: true,
            activation: config.activation,
            watch,
        };
        let images = images(&batch, self.device)?.to_kind(config.precision.kind());
        let logits = self.model.forward(&images, &pass)?.to_kind(Kind::Float); // [N, K]
        let targets = objective::targets(batch.targets, self.class_names.len(), self.device)?;
        Ok(self.objective.loss(&logits, &targets))
    }

    fn step_done(&mut self) -> Result<()> {
        self.ema.as_ref().map_or(Ok(()), Ema::update)
    }

    fn close_epoch(&mut self, closing: &mut Closing) -> Result<Option<Closed>> {
        let held_out = self.held_out.as_ref();
        let Some(held_out) = held_out.filter(|_| closing.is_due(self.config.validation.every_epochs)) else {
            return Ok(Some(Closed::default()));
        };
        let Some(measures) = held_out.measure(&self.model, closing.stop)? else {
            return Ok(None);
        };
        let mut ema_measures = None;
        if let Some(ema) = &self.ema {
            ema_measures = held_out.measure(ema.model(), closing.stop)?;
            if ema_measures.is_none() {
                return Ok(None);
            }
        }
        let found = &mut self.choice.found;
        (found.val, found.val_ema) = (Some(measures), ema_measures);
        let weights = || (fcmae_model::tensors(closing.vs), closing.metadata.clone());
        self.choice.offer(closing, &measures, false, weights)?;
        if let (Some(ema), Some(measures)) = (&self.ema, &ema_measures) {
            let weights = || (ema.tensors(), ema.metadata(closing.metadata));
            self.choice.offer(closing, measures, true, weights)?;
        }
        Ok(Some(Closed {
            held_out: Some(measures.loss),
            measures: Some(measures),
            ema_measures,
            ends_early: self.choice.is_patience_over(closing.epoch),
            ..Closed::default()
        }))
    }

    fn floats(&self) -> Floats {
        let average = u64::from(self.ema.is_some());
        Floats {
            checkpoint: 3 + average,
            best: if self.held_out.is_some() { 1 + average } else { 0 },
        }
    }

    fn metadata(&self) -> Result<Metadata> {
        best::metadata(&self.config)
    }

    fn save(&mut self, snapshot: &mut Snapshot, metadata: &Metadata) {
        if let Some(ema) = &self.ema {
            snapshot.add_tensors(ema::FILE, ema.tensors(), ema.metadata(metadata));
        }
        self.choice.save(snapshot);
    }

    fn load(&mut self, checkpoint: &Path) -> Result<()> {
        if let Some(ema) = &self.ema {
            ema.load(&checkpoint.join(ema::FILE))?;
        }
        self.choice.found = best::read(checkpoint, self.config.labels.kind)?;
        Ok(())
    }

    fn introduction(input: &Input<FinetuneConfig>, parameters: usize) -> [String; 2] {
        let config = &input.config;
        let names = input.dataset.class_names();
        let network = format!(
            "{}{} · {} classes · {:.2} M parameters",
            config.model.name,
            in_place_of_grn(&config.model),
            names.len(),
            parameters as f64 / 1e6
        );
        let [height, width] = config.data.image_size;
        let counts = || names.iter().zip(input.dataset.class_counts());
        let shown: Vec<String> = counts()
            .take(4)
            .map(|(name, count)| format!("{name} {count:.0}"))
            .collect();
        let absent = match counts().filter(|&(_, count)| count == 0.0).count() {
            0 => String::new(),
            absent => format!(", {absent} without any"),
        };
        let images = format!(
            "{} images of {height}×{width} {} from {} ({}{}{absent}), {} held out",
            input.dataset.len(),
            config.data.color.name(),
            input.dataset.origin().display(),
            shown.join(", "),
            if names.len() > 4 { ", …" } else { "" },
            input.held_out.as_deref().map_or(0, Dataset::len),
        );
        [network, images]
    }

    fn summarise(config: &FinetuneConfig, checkpoint: Option<&Path>, summary: &mut Summary) -> Result<()> {
        if let Some(checkpoint) = checkpoint {
            let found = best::read(checkpoint, config.labels.kind)?;
            summary.finetuned = Some(found.with_files(&config.run_folder()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
