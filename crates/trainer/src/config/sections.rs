//! The sections of a run's file that belong to training itself.

use serde::{Deserialize, Serialize};

use crate::error::InputError;
use crate::schedule::{Schedule, scaled_lr};

/// Kind of the activations and matrix products; parameters, optimizer state and statistics are always f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats throughout, as the reference pre-trains.
    #[default]
    F32,
    /// bfloat16 products and stored activations.
    Bf16,
}

impl Precision {
    /// The libtorch kind of the activations.
    #[must_use]
    pub fn kind(self) -> tch::Kind {
        match self {
            Precision::F32 => tch::Kind::Float,
            Precision::Bf16 => tch::Kind::BFloat16,
        }
    }

    /// As it is written in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
        }
    }
}

/// What is scored (`[loss]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// Whether each target patch is normalised by its own mean and standard deviation. Paper: yes.
    pub norm_pix_loss: bool,
}

impl Default for LossConfig {
    fn default() -> Self {
        LossConfig { norm_pix_loss: true }
    }
}

/// AdamW (`[optimizer]`; paper Table 8).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Learning rate after the warm-up, as it is. Above 0. Not together with `blr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Learning rate per 256 images of a step: `lr = blr · images per step / 256`. Above 0; 1.5e-4 (the
    /// paper's) where neither is given. Made for batches of thousands: at 32 images it is far too low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blr: Option<f64>,
    /// Decoupled weight decay, at least 0. Paper: 0.05.
    pub weight_decay: f64,
    /// Decay of the first and second moment, each in `[0, 1)`. Paper: `[0.9, 0.95]`.
    pub betas: [f64; 2],
    /// Added to the root of the second moment. Above 0.
    pub eps: f64,
    /// Whether GRN's gamma and beta are decayed: yes in the reference's pre-training.
    pub decay_grn: bool,
    /// Largest 2-norm of all gradients together; 0 = not clipped, as the reference.
    pub clip_grad: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        OptimizerConfig {
            lr: None,
            blr: None,
            weight_decay: 0.05,
            betas: [0.9, 0.95],
            eps: 1e-8,
            decay_grn: true,
            clip_grad: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// `blr` where a file gives neither `lr` nor `blr` (paper Table 8).
    pub const DEFAULT_BLR: f64 = 1.5e-4;

    /// The learning rate after the warm-up for `batch` images per optimizer step.
    #[must_use]
    pub fn peak_lr(&self, batch: usize) -> f64 {
        self.lr
            .unwrap_or_else(|| scaled_lr(self.blr.unwrap_or(Self::DEFAULT_BLR), batch))
    }

    pub(super) fn validate(&self) -> Result<(), InputError> {
        if self.lr.is_some() && self.blr.is_some() {
            let message = "`optimizer.blr` is given too and both set the learning rate; remove one of them";
            return Err(InputError::config("optimizer.lr", message));
        }
        for (key, value) in [("optimizer.lr", self.lr), ("optimizer.blr", self.blr)] {
            check(
                value.is_none_or(positive),
                key,
                &value.unwrap_or_default(),
                "a number above 0",
            )?;
        }
        check(
            not_negative(self.weight_decay),
            "optimizer.weight_decay",
            &self.weight_decay,
            "at least 0",
        )?;
        let is_decay = |beta: &f64| (0.0..1.0).contains(beta);
        check(
            self.betas.iter().all(is_decay),
            "optimizer.betas",
            &self.betas,
            "two numbers, each at least 0 and below 1",
        )?;
        check(positive(self.eps), "optimizer.eps", &self.eps, "a number above 0")?;
        check(
            not_negative(self.clip_grad),
            "optimizer.clip_grad",
            &self.clip_grad,
            "at least 0 (0 = off)",
        )
    }
}

/// Length of the run and shape of the learning rate (`[schedule]`; fact sheet §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Passes over the training images, at least 1. Paper: 800 (ablations) or 1600.
    pub epochs: u64,
    /// Epochs of linear warm-up, from 0 up to `epochs`; fractions are fine. Paper: 40.
    pub warmup_epochs: f64,
    /// Learning rate at the end of the cosine, at least 0.
    pub min_lr: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        ScheduleConfig {
            epochs: 800,
            warmup_epochs: 40.0,
            min_lr: 0.0,
        }
    }
}

impl ScheduleConfig {
    /// The learning rate over the run.
    #[must_use]
    pub fn build(&self, peak_lr: f64) -> Schedule {
        Schedule {
            peak_lr,
            min_lr: self.min_lr,
            epochs: self.epochs as f64,
            warmup_epochs: self.warmup_epochs,
        }
    }

    pub(super) fn validate(&self) -> Result<(), InputError> {
        check(
            (1..=1 << 32).contains(&self.epochs),
            "schedule.epochs",
            &self.epochs,
            "at least 1",
        )?;
        check(
            not_negative(self.min_lr),
            "schedule.min_lr",
            &self.min_lr,
            "at least 0",
        )?;
        let fits = not_negative(self.warmup_epochs) && self.warmup_epochs <= self.epochs as f64;
        if !fits {
            let message = format!(
                "{} is not between 0 and `schedule.epochs` = {}; lower it or train longer",
                self.warmup_epochs, self.epochs
            );
            return Err(InputError::config("schedule.warmup_epochs", message));
        }
        Ok(())
    }
}

/// How many images make a step (`[train]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Images that go through the network at once, at least 1: sets the memory that is needed.
    pub batch_size: usize,
    /// Batches whose gradients make one optimizer step, at least 1. The paper's 4096 images per step are
    /// 64 × 64 here.
    pub accumulate: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            batch_size: 64,
            accumulate: 64,
        }
    }
}

impl TrainConfig {
    /// Images per optimizer step.
    #[must_use]
    pub fn images_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate) // asked for before either is checked
    }

    /// Checks that `images` training images fill at least one optimizer step.
    ///
    /// # Errors
    /// Names the keys that make the step larger than the data set.
    pub fn check_data_size(&self, images: usize) -> Result<(), InputError> {
        let TrainConfig {
            batch_size,
            accumulate,
        } = self;
        if images >= self.images_per_step() {
            return Ok(());
        }
        let (key, lower) = if images < *batch_size {
            ("train.batch_size", "`train.batch_size`")
        } else {
            ("train.accumulate", "`train.accumulate`")
        };
        let message = format!(
            "a step of {batch_size} × {accumulate} (`train.accumulate`) images is larger than the {images} training \
             images; lower {lower}"
        );
        Err(InputError::config(key, message))
    }

    pub(super) fn validate(&self) -> Result<(), InputError> {
        let range = 1..=1 << 20;
        check(
            range.contains(&self.batch_size),
            "train.batch_size",
            &self.batch_size,
            "from 1 to 1048576",
        )?;
        check(
            range.contains(&self.accumulate),
            "train.accumulate",
            &self.accumulate,
            "from 1 to 1048576",
        )
    }
}

/// What is measured on held-out images (`[validation]`); in pre-training under masks that never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// A split of the data set that is held out as a whole, e.g. `"val"`; empty = none. Not together with
    /// `data.val_fraction`.
    pub split: String,
    /// Measured every so many epochs and after the last one; 0 = never.
    pub every_epochs: u64,
    /// Images that go through the network at once, at least 1.
    pub batch_size: usize,
    /// Decides which images are held out (`data.val_fraction`) and their masks. It is not the run's seed, so
    /// that losses compare between runs of different seeds.
    pub seed: u64,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        ValidationConfig {
            split: String::new(),
            every_epochs: 1,
            batch_size: 64,
            seed: 0,
        }
    }
}

impl ValidationConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        check(
            (1..=1 << 20).contains(&self.batch_size),
            "validation.batch_size",
            &self.batch_size,
            "from 1 to 1048576",
        )?;
        check(fits_toml(self.seed), "validation.seed", &self.seed, "below 2^63")
    }
}

/// When the run is saved (`[checkpoint]`); it is always saved at its end and when it is stopped by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// Saved after every so many epochs; 0 = not by epochs.
    pub every_epochs: u64,
    /// Saved after every so many optimizer steps; 0 = not by steps.
    pub every_steps: u64,
    /// The newest checkpoints that stay, at least 1. Each takes 12 bytes per parameter, in memory too while it is
    /// written beside the training.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        CheckpointConfig {
            every_epochs: 1,
            every_steps: 0,
            keep: 3,
        }
    }
}

impl CheckpointConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        check(
            (1..=1 << 20).contains(&self.keep),
            "checkpoint.keep",
            &self.keep,
            "at least 1",
        )
    }
}

/// What a run leaves to look at (`[log]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// A line in `metrics.jsonl` and a TensorBoard point every so many optimizer steps, at least 1.
    pub every_steps: u64,
    /// A picture of reconstructions every so many epochs and after the last one; 0 = none.
    pub reconstructions_every_epochs: u64,
    /// Images in that picture, from 1 to 64.
    pub reconstruction_images: usize,
    /// Whether `report.html` is kept up to date after each epoch.
    pub report: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            every_steps: 10,
            reconstructions_every_epochs: 10,
            reconstruction_images: 8,
            report: true,
        }
    }
}

impl LogConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        check(
            (1..=64).contains(&self.reconstruction_images),
            "log.reconstruction_images",
            &self.reconstruction_images,
            "from 1 to 64",
        )
    }
}

/// Refuses a value outside its range.
pub(super) fn check(
    fits: bool,
    key: &'static str,
    got: &dyn std::fmt::Debug,
    expected: &str,
) -> Result<(), InputError> {
    if fits {
        Ok(())
    } else {
        Err(InputError::config(
            key,
            format!("{got:?} is out of range; use {expected}"),
        ))
    }
}

/// TOML's integers are signed.
pub(super) fn fits_toml(value: u64) -> bool {
    i64::try_from(value).is_ok()
}

pub(crate) fn positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

pub(crate) fn not_negative(value: f64) -> bool {
    value >= 0.0 && value.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by `cargo xtask fuzz`.
    #[test]
    fn a_step_of_more_images_than_can_be_counted_is_refused_and_no_overflow() {
        let train = TrainConfig {
            batch_size: 1 << 40,
            accumulate: 1 << 40,
        };
        assert_eq!(train.images_per_step(), usize::MAX);
        assert!(train.validate().is_err());
    }

    #[test]
    fn a_step_larger_than_the_data_set_is_refused() {
        let train = TrainConfig {
            batch_size: 8,
            accumulate: 4,
        };
        train.check_data_size(32).unwrap();
        let message = |images| train.check_data_size(images).unwrap_err().to_string();
        assert_eq!(
            message(31),
            "`train.accumulate`: a step of 8 × 4 (`train.accumulate`) images is larger than the 31 training images; \
             lower `train.accumulate`"
        );
        assert!(
            message(7).starts_with("`train.batch_size`") && message(7).ends_with("lower `train.batch_size`")
        );
    }
}
