//! Features of a data set, computed once.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

use anyhow::Result;
use fcmae_checkpoint::{Tensors, read_safetensors, sha256_file, write_safetensors};
use fcmae_data::Dataset;
use fcmae_random::hash64;
use tch::{Kind, Tensor};

use crate::error::InputError;
use crate::inference::embed::Level;
use crate::inference::network::Inference;
use crate::inference::stream::Unreadable;

/// The layer that is all stages side by side.
pub(super) const LAST: &str = "all";

/// Metadata of a cache file: everything that decided its numbers.
const KEY: &str = "fcmae.features";

/// Metadata of a cache file: the pictures that could not be read, JSON.
const UNREADABLE: &str = "fcmae.unreadable";

/// One tensor `[N, C]` per layer: the mean of every stage's map, then all of them side by side. Rows are in the
/// order of the data set, without the pictures that could not be read.
#[derive(Debug)]
pub(super) struct Features {
    pub(super) layers: Vec<Tensor>,
    pub(super) unreadable: Vec<Unreadable>,
    /// Whether an earlier call has computed them.
    pub(super) cached: bool,
}

impl Features {
    /// Takes the features of `dataset` from `folder`, or computes and leaves them there; and the images that they are
    /// of: those that can be read.
    pub(super) fn load_or_compute(
        inference: &Inference,
        dataset: &Dataset,
        split: &str,
        folder: &Path,
    ) -> Result<(Dataset, Features)> {
        let key = key(inference, dataset)?;
        let file = folder.join(format!(
            "features-{split}-{:016x}.safetensors",
            hash64(key.as_bytes())
        ));
        if let Some(features) = load(&file, &key, inference.model.dims.len()) {
            return Ok((features.readable(dataset), features));
        }
        make_folder(folder)?;
        let files = dataset.locations().into_iter().map(Ok);
        let embedding = inference.embed(files, Level::Stages)?;
        let tensors: Tensors = embedding
            .features
            .iter()
            .map(|(name, t)| (name.clone(), fcmae_model::to_data(t)))
            .collect();
        let unreadable = serde_json::to_string(&embedding.unreadable)?;
        let metadata = [(KEY.to_owned(), key), (UNREADABLE.to_owned(), unreadable)];
        write_safetensors(&file, &tensors, &metadata.into())?;
        let stages = embedding.features.into_values().collect();
        let features = Features::new(stages, embedding.unreadable, false);
        Ok((features.readable(dataset), features))
    }

    fn new(mut stages: Vec<Tensor>, unreadable: Vec<Unreadable>, cached: bool) -> Features {
        let all = Tensor::cat(&stages.iter().collect::<Vec<_>>(), 1);
        stages.push(all);
        Features {
            layers: stages,
            unreadable,
            cached,
        }
    }

    /// The images of `dataset` that have a row.
    fn readable(&self, dataset: &Dataset) -> Dataset {
        let left_out: HashSet<&Path> = self.unreadable.iter().map(|one| one.file.as_path()).collect();
        dataset.part(|index| !left_out.contains(dataset.samples()[index].location.path()))
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
        "crop_pct": data.crop_pct,
        "color": data.color,
        "mean": data.mean,
        "std": data.std,
        "precision": config.precision,
        "kernels": fcmae_kernels::backend(inference.device, config.precision.kind()),
        "images": format!("{:016x}", hash64(images.as_bytes())),
    });
    Ok(key.to_string())
}

fn make_folder(folder: &Path) -> Result<(), InputError> {
    fs::create_dir_all(folder).map_err(|error| InputError::Argument {
        message: format!("--output {}: {error}; choose another folder", folder.display()),
    })
}

/// The features, if the file is there, whole, and made of the same.
fn load(file: &Path, key: &str, stages: usize) -> Option<Features> {
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
    let unreadable = serde_json::from_str(metadata.get(UNREADABLE)?).ok()?;
    Some(Features::new(
        (0..stages).map(stage).collect::<Option<_>>()?,
        unreadable,
        true,
    ))
}
