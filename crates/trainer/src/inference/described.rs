//! What a file of weights says beside them: how its images were read, what its classes are called.

use anyhow::{Context, Result};
use fcmae_checkpoint::{Preprocessing, Weights};
use fcmae_data::{Color, DataConfig, LabelConfig, LabelKind};
use fcmae_encoder::EncoderConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::Precision;
use crate::error::InputError;
use crate::inference::config::InferenceConfig;

/// What is taken from the config of the run that made the weights (`fcmae.config`); the rest is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RunConfig {
    model: Option<EncoderConfig>,
    data: Option<DataConfig>,
    labels: LabelConfig,
    loss: Loss,
    precision: Precision,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Loss {
    sigmoid: bool,
}

/// Completes the metadata of weights with what the config of their run says of images, so that it outlives a conversion
/// and changes of the network, which the config does not.
///
/// # Errors
/// A config that cannot be read; the error names the file.
pub fn keep_description(weights: &mut Weights) -> Result<()> {
    let run = run_config(weights)?;
    if is_sigmoid(&run, kind(&run, weights)?) {
        weights.set_sigmoid();
    }
    if let Some(data) = run.data {
        preprocessing(&data).complete(&mut weights.metadata);
    }
    Ok(())
}

/// What labels the weights learned from.
fn kind(run: &RunConfig, weights: &Weights) -> Result<LabelKind> {
    let mut kind = run.labels.kind;
    read(weights, "fcmae.labels", &mut kind)?;
    Ok(kind)
}

fn is_sigmoid(run: &RunConfig, kind: LabelKind) -> bool {
    kind == LabelKind::MultiLabel || run.loss.sigmoid
}

/// What the file of weights says of how their images are prepared.
pub(crate) fn preprocessing(data: &DataConfig) -> Preprocessing {
    Preprocessing {
        image_size: data.image_size,
        crop_pct: data.crop_pct,
        mean: data.mean.clone(),
        std: data.std.clone(),
    }
}

fn run_config(weights: &Weights) -> Result<RunConfig> {
    match weights.metadata.get("fcmae.config") {
        None => Ok(RunConfig::default()),
        Some(text) => fcmae_config::from_str(text, &[])
            .and_then(|resolved| resolved.parse())
            .with_context(|| format!("{}: its metadata `fcmae.config`", weights.file.display())),
    }
}

/// What is known of weights.
#[derive(Debug)]
pub(super) struct Described {
    /// What is assumed for want of knowledge.
    pub(super) note: Option<String>,
    /// Settings under which they are used as they were trained.
    pub(super) config: InferenceConfig,
    /// The network, where the weights come from a run.
    pub(super) model: Option<EncoderConfig>,
    /// Names of the classes; empty where they are not known.
    pub(super) class_names: Vec<String>,
    /// Whether each class is decided by itself.
    pub(super) is_sigmoid: bool,
}

/// Reads the metadata: the run's config, over it the single keys (which outlive a conversion), over both nothing.
/// Weights without either get ImageNet's statistics.
pub(super) fn describe(weights: &Weights) -> Result<Described> {
    let run = run_config(weights)?;
    let is_assumed = run.data.is_none() && !Preprocessing::is_known(weights);
    let kind = kind(&run, weights)?;
    let is_sigmoid = weights.is_sigmoid() || is_sigmoid(&run, kind);
    let mut data = match run.data {
        Some(data) => data,
        None => imagenet(weights)?,
    };
    let labels = LabelConfig {
        kind,
        fraction: 1.0, // of training, not of what comes after
        ..run.labels
    };
    let mut class_names = Vec::new();
    read(weights, "fcmae.color", &mut data.color)?;
    let images = preprocessing(&data).corrected_by(weights)?;
    data.image_size = images.image_size;
    data.crop_pct = images.crop_pct;
    (data.mean, data.std) = (images.mean, images.std);
    read(weights, "fcmae.class_names", &mut class_names)?;
    data.val_fraction = 0.0;
    Ok(Described {
        note: is_assumed.then(|| {
            "the weights do not say how their images were prepared: 224 px and ImageNet's statistics are assumed (`data.image_size`, \
             `data.mean`, `data.std`, `data.crop_pct`)"
                .to_owned()
        }),
        is_sigmoid,
        config: InferenceConfig {
            precision: run.precision,
            data,
            labels,
            ..InferenceConfig::default()
        },
        model: run.model,
        class_names,
    })
}

/// The value of a metadata key, JSON, where it is there.
fn read<T: DeserializeOwned>(weights: &Weights, key: &str, value: &mut T) -> Result<()> {
    if let Some(text) = weights.metadata.get(key) {
        let context = || format!("{}: its metadata `{key}` is {text:?}", weights.file.display());
        *value = serde_json::from_str(text).with_context(context)?;
    }
    Ok(())
}

/// Images as ImageNet's models read them: 224 px; for one channel the mean over the three.
fn imagenet(weights: &Weights) -> Result<DataConfig, InputError> {
    let colors = DataConfig::default();
    match weights.architecture.in_chans {
        3 => Ok(colors),
        1 => Ok(DataConfig {
            color: Color::Grey,
            mean: vec![0.449],
            std: vec![0.226],
            ..colors
        }),
        channels => Err(InputError::Argument {
            message: format!(
                "{}: these weights read images of {channels} channels; images here have 1 or 3",
                weights.file.display()
            ),
        }),
    }
}
