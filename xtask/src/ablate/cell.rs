//! The cells of a matrix: every combination of values, with a name, its settings and what was published of it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::Value;

use super::matrix::{AxisValue, Matrix, Published, Which};
use super::settings::Settings;
use crate::process::BadInput;

/// One combination of values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    /// Stable, and the name of its folder.
    pub(super) name: String,
    /// The value of each axis: a number, or its label.
    pub(super) values: Vec<Value>,
    /// Whether there is no pre-training.
    pub(super) from_scratch: bool,
    /// Over the configs of the profile.
    pub(super) settings: Settings,
    /// By column.
    pub(super) published: BTreeMap<String, f64>,
}

/// All cells, the last axis changing fastest.
pub(super) fn all(matrix: &Matrix, which: Which) -> Result<Vec<Cell>> {
    let mut combinations: Vec<Vec<usize>> = vec![Vec::new()];
    for axis in &matrix.axes {
        let longer = |chosen: &Vec<usize>| {
            let chosen = chosen.clone();
            (0..axis.values.len()).map(move |next| [&chosen[..], &[next]].concat())
        };
        combinations = combinations.iter().flat_map(longer).collect();
    }
    let cells: Vec<Cell> = combinations
        .iter()
        .map(|chosen| cell(matrix, which, chosen))
        .collect::<Result<_>>()?;
    for (at, cell) in cells.iter().enumerate() {
        if cells[..at].iter().any(|other| other.name == cell.name) {
            let message = format!(
                "two cells would be called `{}`; give their values other labels",
                cell.name
            );
            return Err(BadInput(message).into());
        }
    }
    Ok(cells)
}

fn cell(matrix: &Matrix, which: Which, chosen: &[usize]) -> Result<Cell> {
    let values: Vec<&AxisValue> = matrix
        .axes
        .iter()
        .zip(chosen)
        .map(|(axis, &at)| &axis.values[at])
        .collect();
    let mut settings = matrix.profile(which)?.settings.clone();
    settings.merge(&matrix.settings);
    for (axis, value) in matrix.axes.iter().zip(&values) {
        if let (Some(key), Some(value)) = (&axis.key, &value.value) {
            settings.merge(&Settings::of_key(key, value)?);
        }
        value
            .settings(which)
            .into_iter()
            .for_each(|own| settings.merge(own));
    }
    Ok(Cell {
        name: name(matrix, &values)?,
        values: values.iter().map(|value| shown(value)).collect(),
        from_scratch: values.iter().any(|value| value.from_scratch),
        settings,
        published: published(matrix, &values)?,
    })
}

/// The labels of all values, led by the axis where a label is a mere value of its key.
fn name(matrix: &Matrix, values: &[&AxisValue]) -> Result<String, BadInput> {
    let parts = matrix
        .axes
        .iter()
        .zip(values)
        .map(|(axis, value)| match axis.key {
            Some(_) => slug(&format!("{} {}", axis.name, value.label)),
            None => slug(&value.label),
        });
    let parts: Vec<String> = parts.collect();
    if parts.iter().any(String::is_empty) {
        return Err(BadInput("a label needs a letter or a digit".to_owned()));
    }
    Ok(parts.join("_"))
}

/// A number stays one, for plots; everything else is its label.
fn shown(value: &AxisValue) -> Value {
    match &value.value {
        Some(toml::Value::Integer(number)) => (*number).into(),
        Some(toml::Value::Float(number)) => (*number).into(),
        _ => value.label.clone().into(),
    }
}

/// The published numbers of a combination: those of its first value that has some.
fn published(matrix: &Matrix, values: &[&AxisValue]) -> Result<BTreeMap<String, f64>, BadInput> {
    let first = values.iter().position(|value| value.published.is_some());
    let Some((at, mut found)) = first.and_then(|at| Some((at, values[at].published.as_ref()?))) else {
        return Ok(BTreeMap::new());
    };
    let mut rest = values[at + 1..].iter();
    let numbers = loop {
        match found {
            Published::One(number) => break vec![*number],
            Published::Several(numbers) => break numbers.clone(),
            Published::By(table) => match rest.next().map(|value| table.get(&value.label)) {
                Some(Some(next)) => found = next,
                Some(None) => return Ok(BTreeMap::new()),
                None => {
                    let label = &values[at].label;
                    return Err(BadInput(format!(
                        "{label:?}: `published` goes deeper than there are axes"
                    )));
                }
            },
        }
    };
    if numbers.len() > matrix.published.len() {
        let (label, columns) = (&values[at].label, matrix.published.len());
        let message = format!(
            "{label:?} has {} published numbers, but `published` names {columns} column(s)",
            numbers.len()
        );
        return Err(BadInput(message));
    }
    Ok(matrix.published.iter().cloned().zip(numbers).collect())
}

/// `UNet, with skips` → `unet-with-skips`.
fn slug(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let dashed: String = text.chars().map(plain).collect();
    dashed
        .split('-')
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// Whether a name fits a pattern, in which `*` stands for any characters.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            (0..=name.len()).any(|at| name.is_char_boundary(at) && fits(rest, &name[at..]))
        }),
    }
}
