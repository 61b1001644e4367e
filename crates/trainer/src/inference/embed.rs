//! Features of pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae_checkpoint::{TensorData, write_safetensors};
use fcmae_data::Location;
use tch::{Device, Kind, Tensor};

use super::network::Inference;
use super::npy::write_npy;
use super::predict::none_read;
use super::stream::Unreadable;
use crate::error::InputError;

/// Which features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The mean of the last stage's map, before the norm that stands in front of a head: `features [N, C]`. It is
    /// what `probe` learns from, and weights of pre-training, which have no such norm, have it too.
    #[default]
    Pooled,
    /// The same after the norm, which is what the head of a classifier sees: `features [N, C]`. It is the reference's
    /// `forward_features` and timm's `forward_head(…, pre_logits=True)`.
    Normed,
    /// The mean of every stage's map: `stage0 [N, C_0]`, `stage1 [N, C_1]`, ….
    Stages,
    /// Every stage's whole map: `stage0 [N, C_0, H_0, W_0]`, ….
    Maps,
}

impl Level {
    /// Whether there is one tensor.
    fn is_one(self) -> bool {
        matches!(self, Level::Pooled | Level::Normed)
    }
}

/// Features of N pictures.
#[derive(Debug)]
pub struct Embedding {
    /// The pictures, in the order of the rows.
    pub files: Vec<PathBuf>,
    /// By name, see [`Level`]; f32.
    pub features: BTreeMap<String, Tensor>,
    /// Pictures that could not be read: they have no rows.
    pub unreadable: Vec<Unreadable>,
}

impl Inference {
    /// Features of pictures. They are held in memory: N·C·4 bytes, for maps times their sites.
    ///
    /// # Errors
    /// No picture that can be read; what `files` returns.
    pub fn embed(
        &self,
        files: impl Iterator<Item = Result<Location>> + Send + 'static,
        level: Level,
    ) -> Result<Embedding> {
        let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
        let mut rows: Vec<Vec<Tensor>> = Vec::new();
        for batch in self.decoder().batches(files)? {
            let batch = batch?;
            if !batch.images.is_empty() {
                rows.push(self.features(&batch, level)?);
            }
            for (file, result) in batch.files {
                match result {
                    Ok(()) => kept.push(file.path().to_owned()),
                    Err(error) => unreadable.push(Unreadable::new(&file, &error)),
                }
            }
        }
        if kept.is_empty() {
            let first = unreadable.first().map(|first| first.problem.as_str());
            return Err(none_read(unreadable.len(), first).into());
        }
        let parts = rows.first().map_or(0, Vec::len);
        let joined = |part: usize| {
            let all: Vec<&Tensor> = rows.iter().map(|batch| &batch[part]).collect();
            let name = if level.is_one() {
                "features".to_owned()
            } else {
                format!("stage{part}")
            };
            (name, Tensor::cat(&all, 0))
        };
        Ok(Embedding {
            files: kept,
            features: (0..parts).map(joined).collect(),
            unreadable,
        })
    }

    fn features(&self, batch: &super::stream::Decoded, level: Level) -> Result<Vec<Tensor>> {
        Ok(match level {
            Level::Pooled => self.pooled(batch)?.pop().into_iter().collect(),
            Level::Normed => vec![self.normed(batch)?],
            Level::Stages => self.pooled(batch)?,
            Level::Maps => {
                let to_cpu = |map: Tensor| map.to_kind(Kind::Float).to_device(Device::Cpu).contiguous();
                self.maps(batch)?.into_iter().map(to_cpu).collect()
            }
        })
    }
}

impl Embedding {
    /// Refuses a place where features of `level` cannot be written, before they are computed: no such folder, another
    /// extension than [`write`](Embedding::write) takes.
    ///
    /// # Errors
    /// [`InputError::Argument`].
    pub fn check_output(path: &Path, level: Level) -> Result<(), InputError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let problem = match path.extension().and_then(|extension| extension.to_str()) {
            _ if parent.is_some_and(|parent| !parent.is_dir()) => "there is no such folder; make it first",
            _ if path.is_dir() => "this is a folder; give the name of a file",
            Some("safetensors") => return Ok(()),
            Some("npy") if level.is_one() => return Ok(()),
            Some("npy") => "a .npy holds one tensor; write the stages to a .safetensors",
            _ => "features are written as .safetensors or .npy",
        };
        Err(refused(path, problem))
    }

    /// Writes `.safetensors` (all features; the pictures as a JSON list in the metadata `files`) or `.npy` (a single
    /// tensor, and `<name>.files.json` beside it); atomically.
    ///
    /// # Errors
    /// Another extension; several tensors as `.npy`; what the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => {
                let files = serde_json::to_string(&self.files)?;
                let tensors = self
                    .features
                    .iter()
                    .map(|(name, t)| (name.clone(), fcmae_model::to_data(t)))
                    .collect();
                Ok(write_safetensors(
                    path,
                    &tensors,
                    &[("files".to_owned(), files)].into(),
                )?)
            }
            Some("npy") => {
                let mut all = self.features.values();
                let (Some(features), None) = (all.next(), all.next()) else {
                    return Err(refused(path, "a .npy holds one tensor; these are several").into());
                };
                let data: TensorData = fcmae_model::to_data(features);
                write_npy(path, &data.shape, &data.bytes)?;
                Ok(fcmae_checkpoint::write_json(
                    path.with_extension("files.json"),
                    &self.files,
                )?)
            }
            _ => Err(refused(path, "features are written as .safetensors or .npy").into()),
        }
    }
}

fn refused(path: &Path, problem: &str) -> InputError {
    InputError::Argument {
        message: format!("--output {}: {problem}", path.display()),
    }
}
