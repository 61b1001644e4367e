//! One file describes a pre-training run: its sections, their defaults (the paper's recipe), their checks.

use std::path::{Path, PathBuf};

use anyhow::Result;

use fcmae_data::{AugmentConfig, DataConfig};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use fcmae_masking::{MaskConfig, PatchGrid};
use fcmae_model::{Activation, FcmaeConfig, Init};
use serde::{Deserialize, Serialize};

use super::guard::GuardConfig;
use super::load::{load, read};
use super::monitor::MonitorConfig;
use super::sections::{
    CheckpointConfig, LogConfig, LossConfig, OptimizerConfig, Precision, ScheduleConfig, TrainConfig,
    ValidationConfig,
};
use super::settings::{RunConfig, Settings};
use crate::error::InputError;

/// A pre-training run. Defaults are the paper's recipe (Table 8, fact sheet §3.2) for atto.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// Name of the run folder inside `output_dir`. The program takes the name of the config file where it is
    /// not given.
    pub name: String,
    /// Where run folders are made.
    pub output_dir: PathBuf,
    /// Decides order, augmentation, masks and the start of the weights.
    pub seed: u64,
    /// `"auto"` (the first GPU where libtorch finds one, else the CPU), `"cpu"`, or `"cuda:0"`, `"cuda:1"`, …
    pub device: String,
    /// Kind of the activations and matrix products.
    pub precision: Precision,
    /// What a block's hidden layer becomes until the backward pass: `"keep"` (fastest) or `"recompute"` (a fifth
    /// of the memory beside the block's input, one product more, and the same bits).
    pub activation: Activation,
    /// Threads of libtorch; 0 = one per core. Bit-equal results need the same number.
    pub threads: usize,
    /// How the weights start: `"truncated"` (std 0.02) or `"reference"` (fact sheet §2.8).
    pub init: Init,
    /// The encoder.
    pub model: EncoderConfig,
    /// The decoder.
    pub decoder: DecoderConfig,
    /// How patches are hidden.
    pub mask: MaskConfig,
    /// What is scored.
    pub loss: LossConfig,
    /// Where the images come from.
    pub data: DataConfig,
    /// Random crop and mirroring of training images.
    pub augment: AugmentConfig,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// Length of the run and shape of the learning rate.
    pub schedule: ScheduleConfig,
    /// How many images make a step.
    pub train: TrainConfig,
    /// The loss on held-out images.
    pub validation: ValidationConfig,
    /// Measures of the features on the way.
    pub monitor: MonitorConfig,
    /// What becomes of a step whose loss or gradients are not finite.
    pub guard: GuardConfig,
    /// When the run is saved.
    pub checkpoint: CheckpointConfig,
    /// What a run leaves to look at.
    pub log: LogConfig,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        PretrainConfig {
            name: "pretrain".to_owned(),
            output_dir: "runs".into(),
            seed: 0,
            device: "auto".to_owned(),
            precision: Precision::default(),
            activation: Activation::default(),
            threads: 0,
            init: Init::default(),
            model: EncoderConfig::default(),
            decoder: DecoderConfig::default(),
            mask: MaskConfig::default(),
            loss: LossConfig::default(),
            data: DataConfig::default(),
            augment: AugmentConfig::default(),
            optimizer: OptimizerConfig::default(),
            schedule: ScheduleConfig::default(),
            train: TrainConfig::default(),
            validation: ValidationConfig::default(),
            monitor: MonitorConfig::default(),
            guard: GuardConfig::default(),
            checkpoint: CheckpointConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl PretrainConfig {
    /// Reads a config file with the files it extends, applies `overrides` (`key.path=value`), and checks the
    /// result. A run folder stands for the config inside it.
    ///
    /// Where no `name` is given, the file's own name (without `.toml`) becomes the run's.
    ///
    /// # Errors
    /// Unknown keys (the nearest one is suggested), wrong types and values, with file and line.
    pub fn load(file: &Path, overrides: &[String]) -> Result<PretrainConfig> {
        load(file, overrides)
    }

    /// As [`PretrainConfig::load`], without the checks: for a file that describes a model and no run.
    ///
    /// # Errors
    /// Unknown keys and wrong types, with file and line.
    pub fn load_unchecked(file: &Path, overrides: &[String]) -> Result<PretrainConfig> {
        Ok(read(file, overrides)?.1)
    }

    /// The model that is trained.
    #[must_use]
    pub fn fcmae(&self) -> FcmaeConfig {
        FcmaeConfig {
            encoder: self.model.clone(),
            decoder: self.decoder,
            norm_pix_loss: self.loss.norm_pix_loss,
            init: self.init,
        }
    }

    /// The grid of patches of one image.
    ///
    /// # Errors
    /// An image size that is no multiple of the model's total stride.
    pub fn grid(&self) -> Result<PatchGrid, InputError> {
        self.settings().grid()
    }

    /// The learning rate after the warm-up.
    #[must_use]
    pub fn peak_lr(&self) -> f64 {
        self.optimizer.peak_lr(self.train.images_per_step())
    }

    /// The folder of this run.
    #[must_use]
    pub fn run_folder(&self) -> PathBuf {
        self.output_dir.join(&self.name)
    }

    /// Checks every section, and the sections against each other; the first problem is returned.
    ///
    /// # Errors
    /// Names the key, what was found, and what to change.
    pub fn validate(&self) -> Result<(), InputError> {
        let settings = self.settings();
        settings.validate()?;
        self.fcmae().validate().map_err(InputError::section)?;
        self.augment.validate().map_err(InputError::section)?;
        self.mask
            .validate(&settings.grid()?)
            .map_err(InputError::section)?;
        self.optimizer.validate()?;
        self.monitor.validate()?;
        self.log.validate()
    }
}

impl RunConfig for PretrainConfig {
    fn settings(&self) -> Settings {
        Settings {
            name: self.name.clone(),
            output_dir: self.output_dir.clone(),
            seed: self.seed,
            device: self.device.clone(),
            precision: self.precision,
            threads: self.threads,
            model: self.model.clone(),
            data: self.data.clone(),
            labels: None,
            peak_lr: self.peak_lr(),
            clip_grad: self.optimizer.clip_grad,
            schedule: self.schedule,
            train: self.train,
            validation: self.validation.clone(),
            guard: self.guard,
            checkpoint: self.checkpoint,
            log_every_steps: self.log.every_steps,
            report: self.log.report,
        }
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }

    fn validate(&self) -> Result<(), InputError> {
        PretrainConfig::validate(self)
    }
}

#[cfg(test)]
mod tests {
    use fcmae_encoder::DenseFill;

    use super::super::monitor::MonitorKnnConfig;
    use super::*;

    fn paper() -> PretrainConfig {
        let data = DataConfig {
            path: Some("images".into()),
            ..DataConfig::default()
        };
        PretrainConfig {
            data,
            ..PretrainConfig::default()
        }
    }

    fn check(change: impl Fn(&mut PretrainConfig), message: &str) {
        let mut config = paper();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().to_string(), message);
    }

    #[test]
    fn the_defaults_are_the_papers_recipe() {
        let config = paper();
        config.validate().unwrap();
        assert_eq!(config.train.images_per_step(), 4096);
        let schedule = config.schedule.build(config.optimizer.peak_lr(4096));
        assert_eq!((schedule.peak_lr, schedule.warmup_epochs), (2.4e-3, 40.0));
        assert_eq!(config.grid().unwrap().patches(), 49);
    }

    #[test]
    fn problems_across_sections_name_both_keys() {
        check(
            |c| c.data.image_size = [224, 225],
            "`data.image_size`: image width 225 is not a multiple of the patch size 32 (the network's total stride); \
             try 224 or 256",
        );
        check(
            |c| c.model.in_chans = 1,
            "`model.in_chans`: 1, but `data.color` = \"rgb\" gives 3 channel(s); change one of the two",
        );
        check(
            |c| (c.optimizer.lr, c.optimizer.blr) = (Some(1e-3), Some(1e-4)),
            "`optimizer.lr`: `optimizer.blr` is given too and both set the learning rate; remove one of them",
        );
        check(
            |c| (c.validation.split, c.data.val_fraction) = ("val".into(), 0.1),
            "`validation.split`: \"val\", but `data.val_fraction` = 0.1 holds images out too; set one of the two",
        );
        check(
            |c| c.schedule.epochs = 20,
            "`schedule.warmup_epochs`: 40 is not between 0 and `schedule.epochs` = 20; lower it or train longer",
        );
    }

    #[test]
    fn each_section_is_checked() {
        type Change = fn(&mut PretrainConfig);
        let cases: [(Change, &str); 25] = [
            (|c| c.name = "a/b".into(), "`name`"),
            (|c| c.name = String::new(), "`name`"),
            (|c| c.name = "..".into(), "`name`"),
            (|c| c.seed = u64::MAX, "`seed`"),
            (|c| c.device = "tpu".into(), "`device`"),
            (|c| c.model.dims[0] = 0, "`model.dims`"),
            (|c| c.decoder.depth = 0, "`decoder.depth`"),
            (|c| c.decoder.heads = 3, "`decoder.heads`"),
            (
                |c| (c.model.response.residual, c.init) = (false, Init::Reference),
                "`init` = \"reference\": the reference has no network of this kind (grn of another form)",
            ),
            (|c| c.model.dense_fill = DenseFill::Zero, "`model.dense_fill`"),
            (|c| c.mask.mask_ratio = 1.0, "`mask.mask_ratio`"),
            (|c| c.data.std = vec![1.0], "`data.std`"),
            (|c| c.augment.hflip = 2.0, "`augment.hflip`"),
            (|c| c.optimizer.lr = Some(0.0), "`optimizer.lr`"),
            (|c| c.optimizer.betas[1] = 1.0, "`optimizer.betas`"),
            (|c| c.optimizer.clip_grad = -1.0, "`optimizer.clip_grad`"),
            (|c| c.schedule.epochs = 0, "`schedule.epochs`"),
            (|c| c.train.batch_size = 0, "`train.batch_size`"),
            (|c| c.validation.batch_size = 0, "`validation.batch_size`"),
            (|c| c.monitor.images = 0, "`monitor.images`"),
            (|c| c.monitor.collapse_below = 0.6, "`monitor.collapse_below`"),
            (
                |c| {
                    c.monitor.knn = Some(MonitorKnnConfig {
                        k: 0,
                        ..MonitorKnnConfig::default()
                    });
                },
                "`monitor.knn.k`",
            ),
            (|c| c.guard.loss_factor = 1.0, "`guard.loss_factor`"),
            (|c| c.checkpoint.keep = 0, "`checkpoint.keep`"),
            (|c| c.log.every_steps = 0, "`log.every_steps`"),
        ];
        for (change, key) in cases {
            let mut config = paper();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
        }
    }
}
