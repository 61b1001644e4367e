//! What measures are of: written into the files that hold them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::checkpoint::{read_json, sha256_file, write_json};
use fcmae::trainer::{Inference, InferenceConfig};
use serde::{Deserialize, Serialize};

/// What was measured, on what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Measured {
    weights: PathBuf,
    /// Of the file of weights.
    sha256: String,
    data: PathBuf,
    /// None where the data has no parts.
    split: Option<String>,
    /// How classes were assigned to outputs, where their names do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    classes: Option<String>,
    settings: InferenceConfig,
    /// Of this program.
    version: String,
}

/// A file of measures.
#[derive(Serialize)]
struct Report<'a, T: Serialize> {
    measured: &'a Measured,
    #[serde(flatten)]
    report: &'a T,
}

/// The part of it that is read again.
#[derive(Deserialize)]
struct Header {
    measured: Measured,
}

impl Measured {
    /// The weights of `inference` on the part `split` of the images at `data`, or on all of them.
    pub(super) fn new(inference: &Inference, data: &Path, split: Option<&str>) -> Result<Measured> {
        Ok(Measured {
            weights: inference.file.clone(),
            sha256: sha256_file(&inference.file)?,
            data: data.to_owned(),
            split: split.map(str::to_owned),
            classes: None,
            settings: inference.config.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// With how classes were assigned to outputs, where their names do not say.
    pub(super) fn with_classes(mut self, classes: Option<String>) -> Measured {
        self.classes = classes;
        self
    }

    /// Writes `report` as JSON, and says so where it takes the place of measures of something else.
    pub(super) fn write(&self, file: &Path, report: &impl Serialize) -> Result<()> {
        if let Ok(Header { measured: old }) = read_json::<Header>(file)
            && (&old.sha256, &old.data, &old.split) != (&self.sha256, &self.data, &self.split)
        {
            eprintln!(
                "note: {} was of {} on {}{}, and is replaced; `--output` keeps them apart",
                file.display(),
                old.weights.display(),
                old.data.display(),
                old.split.map_or(String::new(), |split| format!(", `{split}`"))
            );
        }
        Ok(write_json(
            file,
            &Report {
                measured: self,
                report,
            },
        )?)
    }
}
