//! What the files of all kinds of runs say, whatever is trained.

use std::fmt::Debug;
use std::path::{Component, Path, PathBuf};

use fcmae_data::{DataConfig, LabelConfig};
use fcmae_encoder::EncoderConfig;
use fcmae_masking::PatchGrid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::guard::GuardConfig;
use super::sections::{
    CheckpointConfig, Precision, ScheduleConfig, TrainConfig, ValidationConfig, check, fits_toml,
};
use crate::error::InputError;
use crate::machine::{DeviceChoice, Machine};

/// The file of one kind of run.
pub(crate) trait RunConfig: Debug + Clone + Serialize + DeserializeOwned {
    /// What it says that every kind of run has to say.
    fn settings(&self) -> Settings;

    /// Changes the name of the run folder.
    fn rename(&mut self, name: String);

    /// Checks every section, and the sections against each other; the first problem is returned.
    fn validate(&self) -> Result<(), InputError>;
}

/// What every kind of run has to say; the keys are documented where they stand in a file, e.g. in
/// [`PretrainConfig`](super::PretrainConfig).
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) output_dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) device: String,
    pub(crate) precision: Precision,
    pub(crate) threads: usize,
    pub(crate) model: EncoderConfig,
    pub(crate) data: DataConfig,
    /// What the images are labelled with, where labels are learnt.
    pub(crate) labels: Option<LabelConfig>,
    /// Learning rate after the warm-up.
    pub(crate) peak_lr: f64,
    pub(crate) clip_grad: f64,
    pub(crate) schedule: ScheduleConfig,
    pub(crate) train: TrainConfig,
    pub(crate) validation: ValidationConfig,
    pub(crate) guard: GuardConfig,
    pub(crate) checkpoint: CheckpointConfig,
    /// A line of metrics every so many steps.
    pub(crate) log_every_steps: u64,
    /// Whether the report is kept up to date.
    pub(crate) report: bool,
}

impl Settings {
    /// The folder of this run.
    pub(crate) fn run_folder(&self) -> PathBuf {
        self.output_dir.join(&self.name)
    }

    /// The grid of patches of one image.
    pub(crate) fn grid(&self) -> Result<PatchGrid, InputError> {
        let [height, width] = self.data.image_size;
        PatchGrid::for_image(height, width, self.model.total_stride())
            .map_err(|error| InputError::config("data.image_size", error.to_string()))
    }

    /// Checks all of it; the optimizer's section is checked where it belongs.
    pub(crate) fn validate(&self) -> Result<(), InputError> {
        check_name(&self.name)?;
        check(fits_toml(self.seed), "seed", &self.seed, "a number below 2^63")?;
        Machine::check_threads(self.threads)?;
        self.device.parse::<DeviceChoice>()?;
        self.model.validate().map_err(InputError::section)?;
        self.data.validate().map_err(InputError::section)?;
        self.check_channels()?;
        self.check_held_out()?;
        self.grid()?;
        self.schedule.validate()?;
        self.train.validate()?;
        self.validation.validate()?;
        self.guard.validate()?;
        self.checkpoint.validate()?;
        check(
            self.log_every_steps > 0,
            "log.every_steps",
            &self.log_every_steps,
            "at least 1",
        )
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
