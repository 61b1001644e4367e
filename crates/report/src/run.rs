//! A run folder as a report reads it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Table;

use crate::error::ReportError;
use crate::metrics::Metrics;
use crate::provenance::Provenance;

/// What a run folder says, pictures aside.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The folder.
    pub folder: PathBuf,
    /// Name of the run: that of its folder.
    pub name: String,
    /// The resolved config.
    pub config: Table,
    /// Where the run came from.
    pub provenance: Provenance,
    /// Its numbers.
    pub metrics: Metrics,
    /// Whether it ended before its last epoch because it no longer got better.
    pub ended_early: bool,
}

impl Run {
    /// Reads `config.toml`, `metrics.jsonl`, `provenance.json` and the newest `state.json`; all but the first may be
    /// missing.
    ///
    /// # Errors
    /// [`ReportError::NoRun`]; a file that cannot be read or is damaged.
    pub fn read(folder: &Path) -> Result<Run, ReportError> {
        let file = folder.join("config.toml");
        let text = read(&file)?.ok_or_else(|| ReportError::NoRun {
            folder: folder.to_owned(),
        })?;
        let malformed = |problem: String| ReportError::Malformed {
            file: file.clone(),
            problem,
        };
        let config = text
            .parse()
            .map_err(|error: toml::de::Error| malformed(error.message().to_owned()))?;
        let state = json(&folder.join("checkpoints/last/state.json"))?.unwrap_or_default();
        Ok(Run {
            folder: folder.to_owned(),
            name: name(folder),
            config,
            provenance: provenance(&folder.join("provenance.json"), &state)?,
            metrics: Metrics::read(&folder.join("metrics.jsonl"))?,
            ended_early: state["ended_early"].as_bool().unwrap_or_default(),
        })
    }

    /// Epochs of the whole run, as its config says.
    #[must_use]
    pub fn epochs(&self) -> Option<u64> {
        let epochs = self.config.get("schedule")?.get("epochs")?.as_integer()?;
        u64::try_from(epochs).ok()
    }

    /// Whether no epoch is left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.ended_early
            || self
                .epochs()
                .is_some_and(|epochs| self.metrics.epochs_done >= epochs)
    }

    /// The verb that makes such a run.
    #[must_use]
    pub fn verb(&self) -> &str {
        match self.provenance.task.as_str() {
            "" if self.config.contains_key("labels") => "finetune",
            "" => "pretrain",
            task => task,
        }
    }

    /// Height and width of the images, `data.image_size`.
    #[must_use]
    pub fn image_size(&self) -> Option<[u32; 2]> {
        let side = |value: &toml::Value| u32::try_from(value.as_integer()?).ok();
        let sides = self.config.get("data")?.get("image_size")?;
        match sides.as_array().map(Vec::as_slice) {
            Some([height, width]) => Some([side(height)?, side(width)?]),
            Some(_) => None,
            None => Some([side(sides)?; 2]),
        }
    }
}

fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    whole
        .file_name()
        .unwrap_or(whole.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// What the run wrote at its start; of a run that wrote nothing, what its checkpoint knows.
fn provenance(file: &Path, state: &Value) -> Result<Provenance, ReportError> {
    if let Some(value) = json(file)? {
        return serde_json::from_value(value).map_err(|error| ReportError::Malformed {
            file: file.to_owned(),
            problem: error.to_string(),
        });
    }
    let machine = state["machine"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(Provenance {
        machine: machine.map(|(name, value)| (name.clone(), text(value))).collect(),
        ..Provenance::default()
    })
}

/// The text of a file; `None` if it is not there.
fn read(file: &Path) -> Result<Option<String>, ReportError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(source) => Err(ReportError::Unreadable {
            file: file.to_owned(),
            source,
        }),
    }
}

fn json(file: &Path) -> Result<Option<Value>, ReportError> {
    let Some(text) = read(file)? else {
        return Ok(None);
    };
    let value = serde_json::from_str(&text).map_err(|error| ReportError::Malformed {
        file: file.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(Some(value))
}
