//! Features of a data set, computed once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use fcmae_checkpoint::{Tensors, read_safetensors, sha256_file, write_safetensors};
use fcmae_data::Dataset;
use fcmae_random::hash64;
use tch::{Kind, Tensor};

use crate::inference::embed::Level;
use crate::inference::network::Inference;

/// The layer that is all stages side by side.
pub(super) const LAST: &str = "all";

/// Metadata of a cache file: everything that decided its numbers.
const KEY: &str = "fcmae.features";

/// One tensor `[N, C]` per layer: the mean of every stage's map, then all of them side by side. Rows are in the
/// order of the data set.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) layers: Vec<Tensor>,
}

impl Features {
    /// Takes the features of `dataset` from `folder`, or computes and leaves them there; and whether they were there.
    pub(super) fn load_or_compute(
        inference: &Inference,
        dataset: &Dataset,
        split: &str,
        folder: &Path,
    ) -> Result<(Features, bool)> {
        let key = key(inference, dataset)?;
        let file = folder.join(format!(
            "features-{split}-{:016x}.safetensors",
            hash64(key.as_bytes())
        ));
        if let Some(stages) = load(&file, &key, inference.model.dims.len()) {
            return Ok((Features::new(stages), true));
        }
        let files = dataset.locations().into_iter().map(Ok);
        let mut embedding = inference.embed(files, Level::Stages)?;
        if !embedding.unreadable.is_empty() {
            let first = embedding.unreadable.swap_remove(0);
            return Err(crate::error::InputError::Argument {
                message: format!(
                    "{}; a probe needs every picture: mend or remove it",
                    first.problem
                ),
            }
            .into());
        }
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let tensors: Tensors = embedding
            .features
            .iter()
            .map(|(name, t)| (name.clone(), fcmae_model::to_data(t)))
            .collect();
        write_safetensors(&file, &tensors, &[(KEY.to_owned(), key)].into())?;
        Ok((Features::new(embedding.features.into_values().collect()), false))
    }

    fn new(mut stages: Vec<Tensor>) -> Features {
        let all = Tensor::cat(&stages.iter().collect::<Vec<_>>(), 1);
        stages.push(all);
        Features { layers: stages }
    }

    /// The rows of a part of the data set that these features are of.
    pub(super) fn rows_of(&self, whole: &Dataset, part: &Dataset) -> Vec<Tensor> {
        let places: HashMap<u64, i64> = whole
            .samples()
            .iter()
            .zip(0i64..)
            .map(|(sample, at)| (sample.id, at))
            .collect();
        let rows: Vec<i64> = part.samples().iter().map(|sample| places[&sample.id]).collect();
        let rows = Tensor::from_slice(&rows);
        self.layers
            .iter()
            .map(|layer| layer.index_select(0, &rows))
            .collect()
    }
}

/// What decides the numbers: the weights, how images are read, and the images by name, size and time of change.
fn key(inference: &Inference, dataset: &Dataset) -> Result<String> {
    let (config, data) = (&inference.config, &inference.config.data);
    let mut images = String::new();
    for sample in dataset.samples() {
        let (size, changed) = sample.location.stamp(); // zeros where it cannot be told: reading it will say more
        images += &format!("{}\t{size}\t{changed}\n", sample.location.path().display());
    }
    let key = serde_json::json!({
        "weights": sha256_file(&inference.file)?,
        "image_size": data.image_size,
        "crop_pct": config.crop_pct,
        "color": data.color,
        "mean": data.mean,
        "std": data.std,
        "precision": config.precision,
        "kernels": fcmae_kernels::backend(inference.device, config.precision.kind()),
        "images": format!("{:016x}", hash64(images.as_bytes())),
    });
    Ok(key.to_string())
}

/// The stages' features, if the file is there, whole, and made of the same.
fn load(file: &Path, key: &str, stages: usize) -> Option<Vec<Tensor>> {
    let (tensors, metadata) = read_safetensors(file).ok()?;
    if metadata.get(KEY)? != key {
        return None;
    }
    let stage = |s: usize| {
        let name = format!("stage{s}");
        fcmae_model::from_data(&name, tensors.get(&name)?)
            .ok()
            .filter(|t| t.kind() == Kind::Float)
    };
    (0..stages).map(stage).collect()
}
