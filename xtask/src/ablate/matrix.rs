//! A matrix file as it is written: what is varied, upon which configs, what is measured.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae_config::{Origin, Resolved};
use serde::Deserialize;
use toml::{Table, Value};

use super::measure::{self, Measure};
use super::settings::Settings;
use crate::process::BadInput;

/// A matrix file, with the files it extends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Matrix {
    /// First line of the table.
    pub(super) title: String,
    /// What the published numbers are, a column each: `"ConvNeXt-B, ImageNet, paper: top-1 %"`.
    #[serde(default)]
    pub(super) published: Vec<String>,
    /// Set in every cell.
    #[serde(default)]
    pub(super) settings: Settings,
    /// What is varied; cells are all combinations, and the last axis changes fastest.
    pub(super) axes: Vec<Axis>,
    /// The paper's recipe.
    full: Option<Profile>,
    /// The same in small.
    quick: Option<Profile>,
}

/// What is varied.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Axis {
    /// Head of its column.
    pub(super) name: String,
    /// What plain values set: a key of a config behind `pretrain.`, `finetune.`, `inference.` or `both.`
    pub(super) key: Option<String>,
    /// A value of the key, or a table with names ([`AxisValue`]).
    pub(super) values: Vec<AxisValue>,
}

/// One value of an axis.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct AxisValue {
    /// What the key of the axis is set to.
    pub(super) value: Option<Value>,
    /// What it is called in tables.
    pub(super) label: String,
    /// Whether there is no pre-training: fine-tuning starts with drawn weights.
    pub(super) from_scratch: bool,
    /// Set besides.
    pub(super) settings: Settings,
    /// Set in one profile alone.
    full: Settings,
    quick: Settings,
    /// Published numbers.
    pub(super) published: Option<Published>,
}

/// Published numbers of a value.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "a number, a list of numbers, or a table of them by the labels of the next axis"
)]
pub(super) enum Published {
    /// Of the first column.
    One(f64),
    /// Of the first columns.
    Several(Vec<f64>),
    /// By the label of the next axis.
    By(BTreeMap<String, Published>),
}

/// The configs under a matrix, and what is measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// Config of the pre-training, relative to the file that names it.
    pub(super) pretrain: Option<PathBuf>,
    /// Config of the fine-tuning, relative to the file that names it.
    pub(super) finetune: Option<PathBuf>,
    /// Runs of each cell, with the seeds 0, 1, ….
    pub(super) seeds: u64,
    /// Keys of [`measure::ALL`], in the order of the columns.
    measures: Vec<String>,
    /// Training images, for the estimate of hours alone.
    pub(super) images: Option<u64>,
    /// Set in every cell, under the settings of the matrix.
    #[serde(default)]
    pub(super) settings: Settings,
}

/// Which profile of a matrix is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Full,
    Quick,
}

impl Which {
    pub(super) fn key(self) -> &'static str {
        match self {
            Which::Full => "full",
            Which::Quick => "quick",
        }
    }
}

impl Matrix {
    /// Reads a file, and checks what can be told without the program.
    pub(super) fn load(file: &Path) -> Result<Matrix> {
        let resolved = fcmae_config::load(file, &[]).map_err(|error| BadInput(error.to_string()))?;
        let mut matrix: Matrix = resolved.parse().map_err(|error| BadInput(error.to_string()))?;
        matrix.find_files(&resolved);
        matrix.check().with_context(|| file.display().to_string())?;
        Ok(matrix)
    }

    /// The profile that was asked for.
    pub(super) fn profile(&self, which: Which) -> Result<&Profile> {
        let profile = match which {
            Which::Full => &self.full,
            Which::Quick => &self.quick,
        };
        profile.as_ref().ok_or_else(|| {
            let message = match which {
                Which::Full => "this matrix has no profile [full]; take `--quick`, or add one",
                Which::Quick => "this matrix has no profile [quick]; leave `--quick` out, or add one",
            };
            BadInput(message.to_owned()).into()
        })
    }

    /// Paths become relative to where the user is.
    fn find_files(&mut self, resolved: &Resolved) {
        for (which, profile) in [(Which::Full, &mut self.full), (Which::Quick, &mut self.quick)] {
            let Some(profile) = profile else { continue };
            for (name, path) in [
                ("pretrain", &mut profile.pretrain),
                ("finetune", &mut profile.finetune),
            ] {
                let origin = resolved.origin(&format!("{}.{name}", which.key()));
                if let (Some(path), Some(Origin::File { file, .. })) = (path, origin) {
                    *path = file.parent().unwrap_or(Path::new("")).join(&*path);
                }
            }
        }
    }

    fn check(&self) -> Result<(), BadInput> {
        if self.axes.is_empty() {
            return Err(BadInput("`axes` is empty; give at least one [[axes]]".to_owned()));
        }
        self.axes.iter().try_for_each(Axis::check)?;
        for (which, profile) in [(Which::Full, &self.full), (Which::Quick, &self.quick)] {
            profile.as_ref().map_or(Ok(()), |profile| profile.check(which))?;
        }
        Ok(())
    }
}

impl Axis {
    fn check(&self) -> Result<(), BadInput> {
        let name = &self.name;
        let problem = |value: &AxisValue| match (&self.key, &value.value) {
            (Some(key), Some(value)) => Settings::of_key(key, value).map(drop),
            (Some(_), None) => {
                let label = &value.label;
                Err(BadInput(format!(
                    "the axis `{name}` has a `key`, but {label:?} no `value`"
                )))
            }
            (None, Some(got)) => Err(BadInput(format!(
                "the axis `{name}` has no `key` that {got} could be a value of"
            ))),
            (None, None) => Ok(()),
        };
        if self.values.is_empty() {
            return Err(BadInput(format!("the axis `{name}` has no values")));
        }
        self.values.iter().try_for_each(problem)
    }
}

impl Profile {
    /// What is measured, in the order of the columns.
    pub(super) fn measures(&self) -> impl Iterator<Item = &'static Measure> {
        self.measures.iter().filter_map(|key| measure::find(key).ok())
    }

    fn check(&self, which: Which) -> Result<(), BadInput> {
        let place = which.key();
        for key in &self.measures {
            measure::find(key).map_err(|message| BadInput(format!("`{place}.measures`: {message}")))?;
        }
        if self.measures.is_empty() || self.seeds == 0 {
            return Err(BadInput(format!(
                "`{place}`: give at least one of `measures`, and `seeds` above 0"
            )));
        }
        if self.pretrain.is_none() && self.finetune.is_none() {
            return Err(BadInput(format!(
                "`{place}`: name a config as `pretrain` or `finetune`"
            )));
        }
        Ok(())
    }
}

impl AxisValue {
    /// What it sets in a profile.
    pub(super) fn settings(&self, which: Which) -> [&Settings; 2] {
        let own = match which {
            Which::Full => &self.full,
            Which::Quick => &self.quick,
        };
        [&self.settings, own]
    }
}

/// A value of an axis that is more than a value of its key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    value: Option<Value>,
    label: Option<String>,
    #[serde(default)]
    from_scratch: bool,
    #[serde(default)]
    both: Table,
    #[serde(default)]
    pretrain: Table,
    #[serde(default)]
    finetune: Table,
    #[serde(default)]
    inference: Table,
    #[serde(default)]
    full: Settings,
    #[serde(default)]
    quick: Settings,
    published: Option<Published>,
}

impl TryFrom<Value> for AxisValue {
    type Error = String;

    fn try_from(value: Value) -> Result<AxisValue, String> {
        let named = match value {
            Value::Table(table) => Named::deserialize(table).map_err(|error| error.message().to_owned())?,
            value => Named {
                value: Some(value),
                ..Named::deserialize(Table::new()).map_err(|error| error.message().to_owned())?
            },
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let label = named.label.or_else(|| named.value.as_ref().map(text));
        Ok(AxisValue {
            label: label.ok_or("a value needs a `label`, or a `value` where the axis has a `key`")?,
            value: named.value,
            from_scratch: named.from_scratch,
            settings: Settings {
                both: named.both,
                pretrain: named.pretrain,
                finetune: named.finetune,
                inference: named.inference,
            },
            full: named.full,
            quick: named.quick,
            published: named.published,
        })
    }
}
