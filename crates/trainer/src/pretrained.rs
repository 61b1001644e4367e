//! A model as a run left it, ready to be looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use fcmae_analysis::Reconstruction;
use fcmae_checkpoint::{ReadOptions, find_weights_file, read_safetensors};
use fcmae_data::{Dataset, Location, is_collection, read_image};
use fcmae_model::Fcmae;
use tch::{Device, nn};

use crate::config::PretrainConfig;
use crate::error::InputError;
use crate::evaluation::{Hide, Images};
use crate::run::key;

/// Weights, with the config they were trained under.
#[derive(Debug)]
pub struct Pretrained {
    /// The file they came from.
    pub file: PathBuf,
    /// The run's config as far as it decided the weights; the rest (name, folder, workers, …) has its defaults.
    pub config: PretrainConfig,
    /// Optimizer steps they were trained for.
    pub step: u64,
    /// Names of the data set's classes; empty where it had none.
    pub class_names: Vec<String>,
    /// The model.
    pub model: Fcmae,
    /// Its parameters.
    pub vs: nn::VarStore,
}

impl Pretrained {
    /// Opens the weights at `path`: a run folder (its newest checkpoint), a checkpoint folder, or a
    /// `model.safetensors`.
    ///
    /// # Errors
    /// A path without weights, a damaged file, a file that was not written by a run, weights that do not fit the
    /// config beside them.
    pub fn open(path: &Path, device: Device) -> Result<Pretrained> {
        if !path.exists() {
            let (path, problem) = (path.to_owned(), "there is no such path".to_owned());
            return Err(InputError::Weights { path, problem }.into());
        }
        let file = find_weights_file(path, &ReadOptions::default())?;
        let (tensors, metadata) = read_safetensors(&file)?;
        let refused = |problem: &str| InputError::Weights {
            path: file.clone(),
            problem: problem.to_owned(),
        };
        if metadata.contains_key(key::LABELS) {
            return Err(refused("these weights are a classifier's, without a decoder").into());
        }
        let no_config = || refused("these weights do not carry the config of their run");
        let text = metadata.get(key::CONFIG).ok_or_else(no_config)?;
        let name = || file.display().to_string();
        let config: PretrainConfig = fcmae_config::from_str(text, &[])
            .and_then(|resolved| resolved.parse())
            .with_context(name)?;
        config.validate().with_context(name)?;
        let vs = nn::VarStore::new(device);
        let model = Fcmae::new(&vs.root(), &config.fcmae())?;
        fcmae_model::load(&vs, &tensors).with_context(name)?;
        let classes = metadata.get(key::CLASSES).map(|text| serde_json::from_str(text));
        Ok(Pretrained {
            step: metadata
                .get(key::STEP)
                .and_then(|step| step.parse().ok())
                .unwrap_or_default(),
            class_names: classes.transpose().with_context(name)?.unwrap_or_default(),
            file,
            config,
            model,
            vs,
        })
    }

    /// The images at `path`, as this model's config reads images: one image, or those of a folder, manifest or shards.
    ///
    /// # Errors
    /// A path without images.
    pub fn image_files(&self, path: &Path) -> Result<Vec<Location>> {
        if path.is_file() && !is_collection(path) {
            return Ok(vec![path.into()]);
        }
        Ok(Dataset::open_all(path, &self.config.data)?.locations())
    }

    /// Reconstructs images. A random mask is keyed by the image's place in `files`.
    ///
    /// # Errors
    /// An image that cannot be read; patches or a ratio that do not fit the model's grid.
    pub fn reconstruct(&self, files: &[Location], hide: &Hide) -> Result<Vec<Reconstruction>> {
        let (options, device) = (self.config.data.decode_options(), self.vs.device());
        let read = |(id, file): (usize, &Location)| Ok((id as u64, Arc::new(read_image(file, &options)?)));
        let images = Images::new(files.iter().enumerate().map(read), &self.config.data, device)?;
        let mask = hide.mask(self.config.grid()?, &images.ids)?;
        images.reconstruct(&self.model, &mask, self.config.precision.kind())
    }
}
