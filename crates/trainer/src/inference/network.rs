//! Weights of any origin as a network that is ready to be used.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae_blocks::Pass;
use fcmae_checkpoint::{ReadOptions, Weights, read_weights_with};
use fcmae_data::LabelKind;
use fcmae_encoder::{Classifier, EncoderConfig, SparseEncoder};
use fcmae_kernels::GrnScope;
use fcmae_masking::PatchGrid;
use fcmae_model::encoder_config;
use tch::{Device, Kind, Tensor, nn, no_grad};

use super::config::InferenceConfig;
use super::described::{Described, describe};
use super::stream::{Decoded, Decoder};
use crate::error::InputError;
use crate::machine::{DeviceChoice, Machine};

/// Weights, and how they are used.
#[derive(Debug)]
pub struct Inference {
    /// The file they came from.
    pub file: PathBuf,
    /// What a user should know of how they were read.
    pub notes: Vec<String>,
    /// The settings; what is decided by the weights is as they say.
    pub config: InferenceConfig,
    /// The encoder's.
    pub model: EncoderConfig,
    /// Names of the classes, one per output; empty without a head.
    pub class_names: Vec<String>,
    /// Whether the classes' names come from the weights or the settings; else they are numbers.
    pub are_named: bool,
    /// Whether each class is decided by itself (sigmoid) rather than one of all (softmax).
    pub is_sigmoid: bool,
    network: Network,
    pub(super) device: Device,
}

#[derive(Debug)]
enum Network {
    Headless(SparseEncoder),
    Classifier(Box<Classifier>),
}

impl Inference {
    /// Opens weights: a file of fcmae, the reference, timm or transformers, or the folder of a run or checkpoint
    /// ([`read_weights`](fcmae_checkpoint::read_weights)). `overrides` are `key=value` of [`InferenceConfig`].
    ///
    /// # Errors
    /// Weights that cannot be read or used; settings that are unknown or out of range.
    pub fn open(path: &Path, overrides: &[String]) -> Result<Inference> {
        Inference::open_with(path, &ReadOptions::default(), overrides)
    }

    /// [`open`](Inference::open), with a choice of what is taken from the file: averaged weights, say.
    ///
    /// # Errors
    /// As [`open`](Inference::open); and averaged weights that were asked for and are not there.
    pub fn open_with(path: &Path, options: &ReadOptions, overrides: &[String]) -> Result<Inference> {
        let mut weights = read_weights_with(path, options)?;
        let described = describe(&weights)?;
        let text = fcmae_config::to_toml(&described.config)?;
        let config: InferenceConfig = fcmae_config::from_str(&text, overrides)?.parse()?;
        config.validate()?;
        weights.adapt_input_channels(config.data.color.channels())?;
        let device = config.device.parse::<DeviceChoice>()?.find()?;
        let _ = Machine::set_up(device, config.threads, config.precision.kind());
        let model = EncoderConfig {
            in_chans: weights.architecture.in_chans,
            drop_path: 0.0,
            grn_scope: GrnScope::Sample, // the dense network's, whatever the scope of pre-training was (fact sheet §2.4)
            ..described
                .model
                .clone()
                .unwrap_or_else(|| encoder_config(&weights.architecture))
        };
        let network = Network::load(&weights, &model, device)?;
        let (class_names, are_named) = class_names(&weights, &described, &config)?;
        Ok(Inference {
            file: weights.file.clone(),
            notes: weights.notes.into_iter().chain(described.note).collect(),
            model,
            class_names,
            are_named,
            is_sigmoid: described.is_sigmoid || config.labels.kind == LabelKind::MultiLabel,
            config,
            network,
            device,
        })
    }

    /// The same weights on other images, see [`DataConfig::set_source`](fcmae_data::DataConfig::set_source).
    #[must_use]
    pub fn with_data(mut self, data: &str) -> Inference {
        self.config.data.set_source(data);
        self
    }

    /// Whether there is a head.
    #[must_use]
    pub fn is_classifier(&self) -> bool {
        matches!(self.network, Network::Classifier(_))
    }

    /// The network with its head; weights without one are refused, and images that are not whole patches.
    pub(super) fn classifier(&self) -> Result<&Classifier, InputError> {
        match &self.network {
            Network::Classifier(classifier) => {
                let [height, width] = self.config.data.image_size;
                PatchGrid::for_image(height, width, self.model.total_stride())
                    .map_err(|error| InputError::config("data.image_size", error.to_string()))?;
                Ok(classifier)
            }
            Network::Headless(_) => Err(InputError::Argument {
                message: format!(
                    "{}: these weights have no head, so they name no classes; fine-tune them first, or use `fcmae \
                     probe` or `fcmae embed`",
                    self.file.display()
                ),
            }),
        }
    }

    /// Normalised images → logits `[N, K]`, row-major.
    pub(super) fn logits(&self, batch: &Decoded) -> Result<Vec<f32>> {
        let classifier = self.classifier()?;
        let images = self.tensor(batch)?;
        let logits =
            no_grad(|| classifier.forward(&images, &Pass::default())).map_err(InputError::section)?;
        Ok(Vec::try_from(
            logits
                .to_kind(Kind::Float)
                .to_device(Device::Cpu)
                .contiguous()
                .view([-1]),
        )?)
    }

    /// Normalised images → the map of every stage, `[N, C_s, H_s, W_s]`.
    pub(super) fn maps(&self, batch: &Decoded) -> Result<Vec<Tensor>> {
        let images = self.tensor(batch)?;
        let maps = no_grad(|| self.encoder().forward_maps(&images, &Pass::default()));
        Ok(maps.map_err(InputError::section)?)
    }

    /// The network without its head.
    pub(super) fn encoder(&self) -> &SparseEncoder {
        match &self.network {
            Network::Headless(encoder) => encoder,
            Network::Classifier(classifier) => classifier.encoder(),
        }
    }

    /// Normalised images → the mean of every stage's map, `[N, C_s]`, f32 on the CPU.
    pub(super) fn pooled(&self, batch: &Decoded) -> Result<Vec<Tensor>> {
        let pool = |map: Tensor| {
            let map = map.to_kind(Kind::Float);
            map.mean_dim([2i64, 3].as_slice(), false, Kind::Float)
                .to_device(Device::Cpu)
        };
        Ok(self.maps(batch)?.into_iter().map(pool).collect())
    }

    /// Normalised images → what the head sees, `[N, C]`, f32 on the CPU.
    pub(super) fn normed(&self, batch: &Decoded) -> Result<Tensor> {
        let classifier = self.classifier()?;
        let images = self.tensor(batch)?;
        let features = no_grad(|| classifier.forward_features(&images, &Pass::default()))
            .map_err(InputError::section)?;
        Ok(features.to_kind(Kind::Float).to_device(Device::Cpu).contiguous())
    }

    /// What reads images as these weights want them.
    pub(super) fn decoder(&self) -> Decoder {
        Decoder::new(&self.config)
    }

    fn tensor(&self, batch: &Decoded) -> Result<Tensor> {
        Ok(self.exact(batch)?.to_kind(self.config.precision.kind()))
    }

    /// The images in f32, whatever the precision.
    pub(super) fn exact(&self, batch: &Decoded) -> Result<Tensor> {
        let images = Tensor::f_from_slice(&batch.images)?.f_view(batch.shape().map(|side| side as i64))?;
        Ok(images.f_to_device(self.device)?)
    }
}

impl Network {
    fn load(weights: &Weights, model: &EncoderConfig, device: Device) -> Result<Network> {
        let vs = nn::VarStore::new(device);
        let file = || weights.file.display().to_string();
        let network = match weights.architecture.classes {
            Some(classes) => Network::Classifier(Box::new(Classifier::new(&vs.root(), model, classes)?)),
            None => Network::Headless(SparseEncoder::new(&vs.root(), model)?),
        };
        let tensors = match network {
            Network::Classifier(_) => weights.classifier_tensors(),
            Network::Headless(_) => weights.encoder.clone(),
        };
        fcmae_model::load(&vs, &tensors).with_context(file)?;
        Ok(network)
    }
}

/// Names of the outputs: those of the settings, else of the file, else numbers; and whether they are names.
fn class_names(
    weights: &Weights,
    described: &Described,
    config: &InferenceConfig,
) -> Result<(Vec<String>, bool), InputError> {
    let Some(classes) = weights.architecture.classes else {
        return Ok((Vec::new(), false));
    };
    let given = [&config.labels.classes, &described.class_names]
        .into_iter()
        .find(|names| !names.is_empty());
    match given {
        None => Ok(((0..classes).map(|class| class.to_string()).collect(), false)),
        Some(names) if names.len() == classes => Ok((names.clone(), true)),
        Some(names) => Err(InputError::config(
            "labels.classes",
            format!(
                "{} names for the {classes} outputs of {}; give one for each",
                names.len(),
                weights.file.display()
            ),
        )),
    }
}
