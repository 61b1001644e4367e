//! What a run is given, checked before anything is made: config, device, images.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use fcmae_data::{DataConfig, Dataset, LabelConfig};
use tch::Device;

use super::Start;
use super::batches::steps_per_epoch;
use crate::config::{RunConfig, Settings};
use crate::data_stamp::DataStamp;
use crate::error::InputError;
use crate::machine::{DeviceChoice, Machine};
use crate::run_folder::fresh_name;
use crate::state::State;

/// A run's input, without fault.
#[derive(Debug)]
pub(crate) struct Input<C> {
    pub(crate) config: C,
    /// What `config` says that every kind of run has to say.
    pub(crate) settings: Settings,
    pub(crate) device: Device,
    /// The images to train on.
    pub(crate) dataset: Arc<Dataset>,
    /// Those that are held out, where the config asks for them.
    pub(crate) held_out: Option<Arc<Dataset>>,
    /// The state before the first step.
    pub(crate) beginning: State,
}

impl<C: RunConfig> Input<C> {
    /// Checks the config, finds the device and lists the images; sets libtorch's number of threads.
    pub(crate) fn check(config: &C, start: Start) -> Result<Input<C>> {
        config.validate()?;
        let mut config = config.clone();
        if start == Start::Fresh {
            let Settings { output_dir, name, .. } = config.settings();
            config.rename(fresh_name(&output_dir, &name));
        }
        let settings = config.settings();
        let device = settings.device.parse::<DeviceChoice>()?.find()?;
        let machine = Machine::set_up(device, settings.threads, settings.precision.kind())
            .except(settings.model.off_kernels(settings.labels.is_none()));
        let (dataset, held_out) = datasets(&settings)?;
        settings.train.check_data_size(dataset.len())?;
        let steps = steps_per_epoch(dataset.len(), settings.train);
        let text = fcmae_config::to_toml(&config)?;
        let stamp = DataStamp::of(&dataset, held_out.as_ref());
        let beginning = State::new(settings.seed, steps, stamp, machine, text);
        Ok(Input {
            config,
            settings,
            device,
            dataset: Arc::new(dataset),
            held_out: held_out.map(Arc::new),
            beginning,
        })
    }
}

/// The images to train on and those held out.
fn datasets(config: &Settings) -> Result<(Dataset, Option<Dataset>)> {
    let all = open(&config.data, config.labels.as_ref())?;
    let (train, held_out) = parts(config, all)?;
    let train = match &config.labels {
        Some(labels) if labels.fraction < 1.0 => train.label_subset(labels.fraction, config.seed)?,
        _ => train,
    };
    Ok((train, held_out))
}

fn parts(config: &Settings, all: Dataset) -> Result<(Dataset, Option<Dataset>)> {
    let validation = &config.validation;
    if !validation.split.is_empty() {
        let data = DataConfig {
            split: validation.split.clone(),
            ..config.data.clone()
        };
        // The held-out images have the classes of the others, whether or not all of them occur.
        let labels = config.labels.clone().map(|labels| LabelConfig {
            classes: all.class_names().to_vec(),
            ..labels
        });
        let held_out = open(&data, labels.as_ref())?;
        refuse_overlap(&all, &held_out, &validation.split)?;
        return Ok((all, Some(held_out)));
    }
    if config.data.val_fraction == 0.0 {
        return Ok((all, None));
    }
    let (train, held_out) = all.split_validation(config.data.val_fraction, validation.seed)?;
    Ok((train, Some(held_out)))
}

fn open(data: &DataConfig, labels: Option<&LabelConfig>) -> Result<Dataset> {
    Ok(match labels {
        Some(labels) => Dataset::open_labelled(data, labels)?,
        None => Dataset::open(data)?,
    })
}

/// A manifest, and a folder without parts, yield the same images whatever split is asked for.
fn refuse_overlap(train: &Dataset, held_out: &Dataset, split: &str) -> Result<(), InputError> {
    let trained: HashSet<&Path> = train
        .samples()
        .iter()
        .map(|sample| sample.location.path())
        .collect();
    let Some(both) = held_out
        .samples()
        .iter()
        .find(|sample| trained.contains(sample.location.path()))
    else {
        return Ok(());
    };
    let message = format!(
        "{split:?} gives images that are trained on, such as {}; hold out a share with `data.val_fraction` instead",
        both.location.path().display()
    );
    Err(InputError::config("validation.split", message))
}
