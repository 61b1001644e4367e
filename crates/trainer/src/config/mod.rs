//! One file describes a pre-training run: its sections, their defaults (the paper's recipe), their checks.

mod load;
mod sections;

use std::path::{Component, Path, PathBuf};

use fcmae_data::{AugmentConfig, DataConfig};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use fcmae_masking::{MaskConfig, PatchGrid};
use fcmae_model::{Activation, FcmaeConfig, Init};
use serde::{Deserialize, Serialize};

use crate::error::InputError;
use crate::machine::DeviceChoice;
use sections::{check, fits_toml};

pub use sections::{
    CheckpointConfig, LogConfig, LossConfig, OptimizerConfig, Precision, ScheduleConfig, TrainConfig,
    ValidationConfig,
};

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
            checkpoint: CheckpointConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl PretrainConfig {
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
        let [height, width] = self.data.image_size;
        PatchGrid::for_image(height, width, self.model.total_stride())
            .map_err(|error| InputError::config("data.image_size", error.to_string()))
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
        check_name(&self.name)?;
        check(fits_toml(self.seed), "seed", &self.seed, "a number below 2^63")?;
        check(
            self.threads <= 1024,
            "threads",
            &self.threads,
            "at most 1024 (0 = one per core)",
        )?;
        self.device.parse::<DeviceChoice>()?;
        self.model.validate().map_err(InputError::section)?;
        self.decoder.validate().map_err(InputError::section)?;
        self.data.validate().map_err(InputError::section)?;
        self.augment.validate().map_err(InputError::section)?;
        self.check_channels()?;
        self.check_held_out()?;
        self.mask.validate(&self.grid()?).map_err(InputError::section)?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.train.validate()?;
        self.validation.validate()?;
        self.checkpoint.validate()?;
        self.log.validate()
    }

    fn check_channels(&self) -> Result<(), InputError> {
        let (model, data) = (self.model.in_chans, self.data.color.channels());
        if model == data {
            return Ok(());
        }
        let color = self.data.color.name();
        let message =
            format!("{model}, but `data.color` = \"{color}\" gives {data} channel(s); change one of the two");
        Err(InputError::config("model.in_chans", message))
    }

    fn check_held_out(&self) -> Result<(), InputError> {
        if self.validation.split.is_empty() || self.data.val_fraction == 0.0 {
            return Ok(());
        }
        let message = format!(
            "{:?}, but `data.val_fraction` = {} holds images out too; set one of the two",
            self.validation.split, self.data.val_fraction
        );
        Err(InputError::config("validation.split", message))
    }

    /// Checks that `images` training images fill at least one optimizer step.
    ///
    /// # Errors
    /// Names the keys that make the step larger than the data set.
    pub fn check_data_size(&self, images: usize) -> Result<(), InputError> {
        let TrainConfig {
            batch_size,
            accumulate,
        } = self.train;
        if images >= batch_size * accumulate {
            return Ok(());
        }
        let (key, lower) = if images < batch_size {
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
}

/// A name is one folder, inside `output_dir`.
fn check_name(name: &str) -> Result<(), InputError> {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(part)) if part == name);
    check(
        is_one && components.next().is_none(),
        "name",
        &name,
        "the name of one folder, without slashes",
    )
}

#[cfg(test)]
mod tests {
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
        let cases: [(Change, &str); 18] = [
            (|c| c.name = "a/b".into(), "`name`"),
            (|c| c.name = String::new(), "`name`"),
            (|c| c.name = "..".into(), "`name`"),
            (|c| c.seed = u64::MAX, "`seed`"),
            (|c| c.device = "tpu".into(), "`device`"),
            (|c| c.model.dims[0] = 0, "`model.dims`"),
            (|c| c.decoder.depth = 0, "`decoder.depth`"),
            (|c| c.mask.mask_ratio = 1.0, "`mask.mask_ratio`"),
            (|c| c.data.std = vec![1.0], "`data.std`"),
            (|c| c.augment.hflip = 2.0, "`augment.hflip`"),
            (|c| c.optimizer.lr = Some(0.0), "`optimizer.lr`"),
            (|c| c.optimizer.betas[1] = 1.0, "`optimizer.betas`"),
            (|c| c.optimizer.clip_grad = -1.0, "`optimizer.clip_grad`"),
            (|c| c.schedule.epochs = 0, "`schedule.epochs`"),
            (|c| c.train.batch_size = 0, "`train.batch_size`"),
            (|c| c.validation.batch_size = 0, "`validation.batch_size`"),
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

    #[test]
    fn a_step_larger_than_the_data_set_is_refused() {
        let config = PretrainConfig {
            train: TrainConfig {
                batch_size: 8,
                accumulate: 4,
            },
            ..paper()
        };
        config.check_data_size(32).unwrap();
        let message = |images| config.check_data_size(images).unwrap_err().to_string();
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
