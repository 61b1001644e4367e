//! A matrix of experiments as JSON: what an ablation found.
//!
//! ```json
//! {
//!   "title": "Table 2b: normalisation of GRN",
//!   "axes": ["model.grn.normaliser"],
//!   "measures": [{"key": "top1", "label": "top-1", "unit": "%", "better": "higher"}],
//!   "cells": [{
//!     "name": "divisive_mean",
//!     "values": {"model.grn.normaliser": "divisive_mean"},
//!     "seeds": [{"seed": 0, "measures": {"top1": 81.2}}, {"seed": 1, "measures": {"top1": 80.7}}],
//!     "published": {"ImageNet top-1": 83.7}
//!   }]
//! }
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ReportError;

/// Experiments that differ along axes, each repeated with several seeds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// What was asked.
    pub title: String,
    /// Names of what differs.
    pub axes: Vec<String>,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// The experiments, in the order of their table.
    pub cells: Vec<Cell>,
}

/// Something that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Its key in the measures of a seed.
    pub key: String,
    /// What it is called.
    pub label: String,
    /// Stands behind its values; empty = none.
    #[serde(default)]
    pub unit: String,
    /// Which values are better.
    pub better: Better,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Low ones, as of a loss.
    Lower,
    /// High ones, as of an accuracy.
    Higher,
}

/// An experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Its place on each axis: text, number or truth value.
    pub values: BTreeMap<String, Value>,
    /// What its runs found; those that are still to come are missing.
    #[serde(default)]
    pub seeds: Vec<Seed>,
    /// What others published, by what it is.
    #[serde(default)]
    pub published: BTreeMap<String, f64>,
}

/// A run of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seed {
    /// Its seed.
    pub seed: u64,
    /// What was measured; null is what came out as no number.
    pub measures: BTreeMap<String, Option<f64>>,
}

/// Mean and spread of a measure over seeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the sample (n − 1); 0 of one seed.
    pub spread: f64,
    /// Number of seeds.
    pub seeds: usize,
}

impl Matrix {
    /// Reads a matrix.
    ///
    /// # Errors
    /// The file cannot be read or is no such matrix.
    pub fn read(file: &Path) -> Result<Matrix, ReportError> {
        let text = fs::read_to_string(file).map_err(|source| ReportError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        let malformed = |problem: String| ReportError::Malformed {
            file: file.to_owned(),
            problem,
        };
        let matrix: Matrix = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        matrix.validate().map_err(malformed)?;
        Ok(matrix)
    }

    /// Each cell has a place on each axis.
    fn validate(&self) -> Result<(), String> {
        for cell in &self.cells {
            if let Some(axis) = self.axes.iter().find(|axis| !cell.values.contains_key(*axis)) {
                return Err(format!(
                    "the cell {:?} has no value on the axis {axis:?}",
                    cell.name
                ));
            }
        }
        Ok(())
    }
}

impl Cell {
    /// What the seeds say of a measure; `None` where none has a number.
    #[must_use]
    pub fn estimate(&self, measure: &str) -> Option<Estimate> {
        let values: Vec<f64> = self.values_of(measure).collect();
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let spread = if values.len() > 1 {
            (squares / (n - 1.0)).sqrt()
        } else {
            0.0
        };
        Some(Estimate {
            mean,
            spread,
            seeds: values.len(),
        })
    }

    /// The numbers of a measure, seed by seed.
    pub fn values_of(&self, measure: &str) -> impl Iterator<Item = f64> {
        let value = |seed: &Seed| seed.measures.get(measure).copied().flatten();
        self.seeds
            .iter()
            .filter_map(value)
            .filter(|value| value.is_finite())
    }

    /// The place on an axis, as it is written.
    #[must_use]
    pub fn place(&self, axis: &str) -> String {
        match self.values.get(axis) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }
}
