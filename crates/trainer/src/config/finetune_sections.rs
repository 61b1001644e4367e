//! The sections of a run's file that only fine-tuning has, or that have other defaults there.

use fcmae_data::{LabelConfig, LabelKind};
use serde::{Deserialize, Serialize};

use super::sections::{OptimizerConfig, ScheduleConfig, TrainConfig, check, positive};
use crate::error::InputError;
use crate::layers::LayerDecayType;
use crate::schedule::scaled_lr;

/// What is scored (`[loss]`).
///
/// With one label an image: cross-entropy of the softmax over all classes, `−Σ_c w_c·y_c·log p_c`, mean over the
/// images; `y` may be soft. With several (`labels.kind = "multi_label"`), or with `sigmoid`: the logistic loss of
/// each class by itself, mean over images and classes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneLossConfig {
    /// Whether each class is scored by itself though an image has one label (binary cross-entropy). Always so with
    /// several labels.
    pub sigmoid: bool,
    /// `"none"`, `"balanced"`, or a list with one weight above 0 for each class.
    ///
    /// Balanced: class `c` of `n_c` among `n` training images weighs `n / (K·n_c)`; where each class is scored by
    /// itself, its presence weighs `n / (2·n_c)` and its absence `n / (2·(n − n_c))`.
    pub class_weights: ClassWeights,
}

/// `loss.class_weights`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "`\"none\"`, `\"balanced\"` or a list of numbers")]
pub enum ClassWeights {
    /// By a rule.
    Named(ClassWeighting),
    /// One by one, in the order of the classes.
    Listed(Vec<f64>),
}

/// A rule for the weights of the classes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeighting {
    /// All images count the same.
    #[default]
    None,
    /// All classes count the same.
    Balanced,
}

impl Default for ClassWeights {
    fn default() -> ClassWeights {
        ClassWeights::Named(ClassWeighting::None)
    }
}

impl FinetuneLossConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        let ClassWeights::Listed(weights) = &self.class_weights else {
            return Ok(());
        };
        check(
            weights.iter().all(|&weight| positive(weight)),
            "loss.class_weights",
            weights,
            "\"none\", \"balanced\" or numbers above 0",
        )
    }
}

/// AdamW of fine-tuning (`[optimizer]`; fact sheet §3.3, §3.5).
///
/// Not decayed are parameters of one dimension and those whose name ends with `.bias`, `.gamma` or `.beta`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneOptimizerConfig {
    /// Learning rate after the warm-up, as it is. Above 0. Not together with `blr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Learning rate per 256 images of a step: `lr = blr · images per step / 256`. Above 0; 5e-4 where neither is
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blr: Option<f64>,
    /// Decoupled weight decay, at least 0.
    pub weight_decay: f64,
    /// Decay of the first and second moment, each in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment. Above 0.
    pub eps: f64,
    /// Largest 2-norm of all gradients together; 0 = not clipped, as the reference.
    pub clip_grad: f64,
    /// What the learning rate (`schedule.min_lr` included) is multiplied by from one layer to the one below it, in
    /// `(0, 1]`; 1 = the same for all.
    pub layer_decay: f64,
    /// What a layer is: `"single"` blocks, or a `"group"` of three.
    pub layer_decay_type: LayerDecayType,
}

impl Default for FinetuneOptimizerConfig {
    fn default() -> Self {
        FinetuneOptimizerConfig {
            lr: None,
            blr: None,
            weight_decay: 0.05,
            betas: [0.9, 0.999],
            eps: 1e-8,
            clip_grad: 0.0,
            layer_decay: 1.0,
            layer_decay_type: LayerDecayType::Single,
        }
    }
}

impl FinetuneOptimizerConfig {
    /// `blr` where a file gives neither `lr` nor `blr` (fact sheet §3.6).
    pub const DEFAULT_BLR: f64 = 5e-4;

    /// The head's learning rate after the warm-up.
    pub(crate) fn peak_lr(&self, train: &TrainConfig) -> f64 {
        let blr = self.blr.unwrap_or(Self::DEFAULT_BLR);
        self.lr.unwrap_or_else(|| scaled_lr(blr, train.images_per_step()))
    }

    pub(super) fn validate(&self) -> Result<(), InputError> {
        let same_as_pretraining = OptimizerConfig {
            lr: self.lr,
            blr: self.blr,
            weight_decay: self.weight_decay,
            betas: self.betas,
            eps: self.eps,
            clip_grad: self.clip_grad,
            ..OptimizerConfig::default()
        };
        same_as_pretraining.validate()?;
        check(
            positive(self.layer_decay) && self.layer_decay <= 1.0,
            "optimizer.layer_decay",
            &self.layer_decay,
            "a number above 0 and at most 1 (1 = off)",
        )
    }
}

/// Length of the run and shape of the learning rate (`[schedule]`; fact sheet §3.1, §3.6).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneScheduleConfig {
    /// Passes over the training images, at least 1.
    pub epochs: u64,
    /// Epochs of linear warm-up from 0, up to `epochs`; fractions are fine.
    pub warmup_epochs: f64,
    /// The head's learning rate at the end of the cosine, at least 0.
    pub min_lr: f64,
}

impl Default for FinetuneScheduleConfig {
    fn default() -> Self {
        FinetuneScheduleConfig {
            epochs: 100,
            warmup_epochs: 20.0,
            min_lr: 1e-6,
        }
    }
}

impl From<FinetuneScheduleConfig> for ScheduleConfig {
    fn from(schedule: FinetuneScheduleConfig) -> ScheduleConfig {
        ScheduleConfig {
            epochs: schedule.epochs,
            warmup_epochs: schedule.warmup_epochs,
            min_lr: schedule.min_lr,
        }
    }
}

/// How many images make a step (`[train]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneTrainConfig {
    /// Images that go through the network at once, at least 1: sets the memory that is needed.
    pub batch_size: usize,
    /// Batches whose gradients make one optimizer step, at least 1.
    pub accumulate: usize,
}

impl Default for FinetuneTrainConfig {
    fn default() -> Self {
        FinetuneTrainConfig {
            batch_size: 64,
            accumulate: 1,
        }
    }
}

impl From<FinetuneTrainConfig> for TrainConfig {
    fn from(train: FinetuneTrainConfig) -> TrainConfig {
        TrainConfig {
            batch_size: train.batch_size,
            accumulate: train.accumulate,
        }
    }
}

/// The average of the weights over the steps (`[ema]`; fact sheet §3.8): `ema ← decay·ema + (1 − decay)·w` after
/// each optimizer step, from the start of the run on, without warm-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmaConfig {
    /// Share of the past, in `[0, 1)`; 0 = no average. Paper: 0.9999, for hundreds of thousands of steps.
    pub decay: f64,
}

impl EmaConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        check(
            (0.0..1.0).contains(&self.decay),
            "ema.decay",
            &self.decay,
            "at least 0 and below 1 (0 = off)",
        )
    }
}

/// Which weights are the best, and when the run ends for want of better ones (`[selection]`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectionConfig {
    /// What is compared on the held-out images: `"top1"`, `"loss"`, `"macro_f1"`, `"auroc"` or `"map"`.
    pub metric: Metric,
    /// The run ends where neither weights nor averaged weights got better for so many epochs; 0 = never.
    pub patience: u64,
}

/// A measure by which weights are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of the images that are right; with several labels an image, where there is no such thing, as `map`.
    #[default]
    Top1,
    /// Mean loss; the smallest is the best.
    Loss,
    /// Mean over the classes of F1.
    MacroF1,
    /// Area under the ROC curve, for two classes or one that is there or not.
    Auroc,
    /// Mean over the classes of average precision, for several labels an image.
    Map,
}

impl SelectionConfig {
    pub(super) fn validate(&self, labels: &LabelConfig) -> Result<(), InputError> {
        let is_multi_label = labels.kind == LabelKind::MultiLabel;
        check(
            !(self.metric == Metric::Auroc && is_multi_label && labels.columns.len() != 1),
            "selection.metric",
            &"auroc",
            "\"map\", \"loss\" or \"macro_f1\" with several labels an image",
        )?;
        check(
            self.metric != Metric::Map || is_multi_label,
            "selection.metric",
            &"map",
            "\"top1\", \"loss\", \"macro_f1\" or \"auroc\" with one label an image",
        )
    }
}

/// What a run leaves to look at (`[log]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneLogConfig {
    /// A line in `metrics.jsonl` and a TensorBoard point every so many optimizer steps, at least 1.
    pub every_steps: u64,
    /// Whether `report.html` is kept up to date after each epoch.
    pub report: bool,
}

impl Default for FinetuneLogConfig {
    fn default() -> Self {
        FinetuneLogConfig {
            every_steps: 10,
            report: true,
        }
    }
}
