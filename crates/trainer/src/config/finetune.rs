//! One file describes a fine-tuning run: its sections, their defaults (the reference's), their checks.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae_data::{DataConfig, FinetuneAugmentConfig, LabelConfig, LabelKind, MixConfig};
use fcmae_encoder::EncoderConfig;
use fcmae_kernels::GrnScope;
use fcmae_model::Activation;
use serde::{Deserialize, Serialize};

use super::finetune_sections::{
    EmaConfig, FinetuneLogConfig, FinetuneLossConfig, FinetuneOptimizerConfig, FinetuneScheduleConfig,
    FinetuneTrainConfig, SelectionConfig,
};
use super::guard::GuardConfig;
use super::load::load;
use super::sections::{CheckpointConfig, Precision, ValidationConfig, check, not_negative};
use super::settings::{RunConfig, Settings};
use crate::error::InputError;

/// A fine-tuning run: a dense classifier, trained with labels. Defaults are those of the reference's command line
/// (fact sheet §3.6); the paper's recipes (§3.3, §3.4) are in `configs/finetune/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneConfig {
    /// Name of the run folder inside `output_dir`. The program takes the name of the config file where it is
    /// not given.
    pub name: String,
    /// Where run folders are made.
    pub output_dir: PathBuf,
    /// Decides order, augmentation, DropPath, the start of what is new, and `labels.fraction`.
    pub seed: u64,
    /// `"auto"` (the first GPU where libtorch finds one, else the CPU), `"cpu"`, or `"cuda:0"`, `"cuda:1"`, …
    pub device: String,
    /// Kind of the activations and matrix products.
    pub precision: Precision,
    /// What a block's hidden layer becomes until the backward pass: `"keep"` or `"recompute"`.
    pub activation: Activation,
    /// Threads of libtorch; 0 = one per core. Bit-equal results need the same number.
    pub threads: usize,
    /// Where the weights come from: `"none"` (from scratch), a run folder, or a file of weights.
    pub init: String,
    /// Names, with `*` for any characters, that may be missing from the weights of `init` and then start as from
    /// scratch. `norm.*` and `head.*` of pre-training weights need not be named.
    pub init_allow_missing: Vec<String>,
    /// Names that the weights of `init` may have and the network has not; they are not used. To drop GRN after
    /// pre-training (Table 2f): `["*.grn.*"]`, and `model.response.kind = "none"`.
    pub init_allow_unused: Vec<String>,
    /// Whether the averaged weights (EMA) of `init` are taken, which must then be there.
    pub init_ema: bool,
    /// Whether the head starts anew though the weights of `init` have one; needed where they have other classes.
    pub new_head: bool,
    /// Factor on the head's weight as it is drawn. Reference: 0.001.
    pub head_init_scale: f64,
    /// Parameters that keep their start, by name with `*` for any characters, e.g. `["stages.0.*"]`.
    pub freeze: Vec<String>,
    /// The encoder, `drop_path` included.
    pub model: EncoderConfig,
    /// Where the images come from.
    pub data: DataConfig,
    /// What they are labelled with.
    pub labels: LabelConfig,
    /// Crop, mirroring, RandAugment and random erasing of training images.
    pub augment: FinetuneAugmentConfig,
    /// Mixup, CutMix and label smoothing.
    pub mix: MixConfig,
    /// What is scored.
    pub loss: FinetuneLossConfig,
    /// AdamW, with layer-wise decay of the learning rate.
    pub optimizer: FinetuneOptimizerConfig,
    /// Length of the run and shape of the learning rate.
    pub schedule: FinetuneScheduleConfig,
    /// How many images make a step.
    pub train: FinetuneTrainConfig,
    /// The average of the weights over the steps.
    pub ema: EmaConfig,
    /// Measures on held-out images.
    pub validation: ValidationConfig,
    /// Which weights are the best, and when the run ends for want of better ones.
    pub selection: SelectionConfig,
    /// What becomes of a step whose loss or gradients are not finite.
    pub guard: GuardConfig,
    /// When the run is saved.
    pub checkpoint: CheckpointConfig,
    /// What a run leaves to look at.
    pub log: FinetuneLogConfig,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        FinetuneConfig {
            name: "finetune".to_owned(),
            output_dir: "runs".into(),
            seed: 0,
            device: "auto".to_owned(),
            precision: Precision::default(),
            activation: Activation::default(),
            threads: 0,
            init: FinetuneConfig::FROM_SCRATCH.to_owned(),
            init_allow_missing: Vec::new(),
            init_allow_unused: Vec::new(),
            init_ema: false,
            new_head: false,
            head_init_scale: 0.001,
            freeze: Vec::new(),
            model: EncoderConfig::default(),
            data: DataConfig::default(),
            labels: LabelConfig::default(),
            augment: FinetuneAugmentConfig::default(),
            mix: MixConfig::default(),
            loss: FinetuneLossConfig::default(),
            optimizer: FinetuneOptimizerConfig::default(),
            schedule: FinetuneScheduleConfig::default(),
            train: FinetuneTrainConfig::default(),
            ema: EmaConfig::default(),
            validation: ValidationConfig::default(),
            selection: SelectionConfig::default(),
            guard: GuardConfig::default(),
            checkpoint: CheckpointConfig::default(),
            log: FinetuneLogConfig::default(),
        }
    }
}

impl FinetuneConfig {
    /// The value of `init` that means: no weights.
    pub const FROM_SCRATCH: &str = "none";

    /// Reads a config file with the files it extends, applies `overrides` (`key.path=value`), and checks the
    /// result. A run folder stands for the config inside it.
    ///
    /// Where no `name` is given, the file's own name (without `.toml`) becomes the run's.
    ///
    /// # Errors
    /// Unknown keys (the nearest one is suggested), wrong types and values, with file and line.
    pub fn load(file: &Path, overrides: &[String]) -> Result<FinetuneConfig> {
        load(file, overrides)
    }

    /// The file or folder of the weights that the run begins with; `None` from scratch.
    #[must_use]
    pub fn init(&self) -> Option<&Path> {
        (self.init != Self::FROM_SCRATCH).then(|| Path::new(&self.init))
    }

    /// The folder of this run.
    #[must_use]
    pub fn run_folder(&self) -> PathBuf {
        self.output_dir.join(&self.name)
    }

    /// Whether each class is scored by itself (a logistic loss), rather than all of them together.
    #[must_use]
    pub fn is_sigmoid(&self) -> bool {
        self.loss.sigmoid || self.labels.kind == LabelKind::MultiLabel
    }

    /// Checks every section, and the sections against each other; the first problem is returned.
    ///
    /// # Errors
    /// Names the key, what was found, and what to change.
    pub fn validate(&self) -> Result<(), InputError> {
        self.settings().validate()?;
        check(
            self.model.grn_scope == GrnScope::Sample,
            "model.grn_scope",
            &"batch",
            "\"sample\": the dense network's, whatever the scope of pre-training was",
        )?;
        check(!self.init.is_empty(), "init", &self.init, "\"none\" or a path")?;
        check(
            not_negative(self.head_init_scale),
            "head_init_scale",
            &self.head_init_scale,
            "at least 0",
        )?;
        self.labels.validate().map_err(InputError::section)?;
        self.augment.validate().map_err(InputError::section)?;
        self.mix.validate().map_err(InputError::section)?;
        self.loss.validate()?;
        self.optimizer.validate()?;
        self.ema.validate()?;
        self.selection.validate(&self.labels)?;
        self.check_mixing()?;
        self.check_stopping()
    }

    fn check_mixing(&self) -> Result<(), InputError> {
        if self.train.batch_size > 1 || !self.mix.mixes() {
            return Ok(());
        }
        let message =
            "1 leaves no other image to mix with; use at least 2, or set `mix.mixup` and `mix.cutmix` to 0";
        Err(InputError::config("train.batch_size", message))
    }

    fn check_stopping(&self) -> Result<(), InputError> {
        let is_measured = self.validation.every_epochs > 0
            && (!self.validation.split.is_empty() || self.data.val_fraction > 0.0);
        if self.selection.patience == 0 || is_measured {
            return Ok(());
        }
        let message = format!(
            "{}, but nothing is measured; hold images out (`data.val_fraction` or `validation.split`, and \
             `validation.every_epochs` above 0) or set it to 0",
            self.selection.patience
        );
        Err(InputError::config("selection.patience", message))
    }
}

impl RunConfig for FinetuneConfig {
    fn settings(&self) -> Settings {
        let train = self.train.into();
        Settings {
            name: self.name.clone(),
            output_dir: self.output_dir.clone(),
            seed: self.seed,
            device: self.device.clone(),
            precision: self.precision,
            threads: self.threads,
            model: self.model.clone(),
            data: self.data.clone(),
            labels: Some(self.labels.clone()),
            peak_lr: self.optimizer.peak_lr(&train),
            clip_grad: self.optimizer.clip_grad,
            schedule: self.schedule.into(),
            train,
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
        FinetuneConfig::validate(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClassWeights;

    fn valid() -> FinetuneConfig {
        FinetuneConfig {
            data: DataConfig {
                path: Some("images".into()),
                val_fraction: 0.1,
                ..DataConfig::default()
            },
            ..FinetuneConfig::default()
        }
    }

    #[test]
    fn a_section_that_is_written_in_part_keeps_the_defaults_of_fine_tuning() {
        let text = "[schedule]\nwarmup_epochs = 0\n[train]\nbatch_size = 32\n[optimizer]\nlayer_decay = 0.9";
        let config: FinetuneConfig = fcmae_config::from_str(text, &[]).unwrap().parse().unwrap();
        assert_eq!((config.schedule.epochs, config.schedule.min_lr), (100, 1e-6));
        assert_eq!(config.settings().peak_lr, 5e-4 * 32.0 / 256.0);
        assert_eq!(config.optimizer.betas, [0.9, 0.999]);
    }

    #[test]
    fn each_section_is_checked() {
        type Change = fn(&mut FinetuneConfig);
        let cases: [(Change, &str); 18] = [
            (|c| c.model.grn_scope = GrnScope::Batch, "`model.grn_scope`"),
            (|c| c.name = "a/b".into(), "`name`"),
            (|c| c.init = String::new(), "`init`"),
            (|c| c.head_init_scale = f64::NAN, "`head_init_scale`"),
            (|c| c.data.image_size = [33, 32], "`data.image_size`"),
            (|c| c.labels.fraction = 0.0, "`labels.fraction`"),
            (|c| c.optimizer.layer_decay = 0.0, "`optimizer.layer_decay`"),
            (|c| c.optimizer.layer_decay = 1.1, "`optimizer.layer_decay`"),
            (|c| c.optimizer.lr = Some(-1.0), "`optimizer.lr`"),
            (|c| c.schedule.warmup_epochs = 101.0, "`schedule.warmup_epochs`"),
            (|c| c.train.batch_size = 0, "`train.batch_size`"),
            (
                |c| (c.train.batch_size, c.mix.cutmix) = (1, 1.0),
                "`train.batch_size`: 1 leaves no other image to mix with",
            ),
            (|c| c.ema.decay = 1.0, "`ema.decay`"),
            (|c| c.log.every_steps = 0, "`log.every_steps`"),
            (
                |c| c.loss.class_weights = ClassWeights::Listed(vec![1.0, 0.0]),
                "`loss.class_weights`",
            ),
            (
                |c| {
                    c.labels.kind = LabelKind::MultiLabel;
                    c.labels.columns = vec!["a".into(), "b".into()];
                    c.selection.metric = super::super::Metric::Auroc;
                },
                "`selection.metric`",
            ),
            (
                |c| c.selection.metric = super::super::Metric::Map,
                "`selection.metric`",
            ),
            (
                |c| (c.data.val_fraction, c.selection.patience) = (0.0, 3),
                "`selection.patience`: 3, but nothing is measured",
            ),
        ];
        valid().validate().unwrap();
        for (change, key) in cases {
            let mut config = valid();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(key), "{key}: {message}");
        }
    }
}
