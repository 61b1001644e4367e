//! What a sample of a shard is made of: the names of its members, and what stands beside the image.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::shape::Shaped;
use crate::error::DataError;
use crate::source::{NAME, Row, Table, number_labels};

/// The samples of a table, in its order.
pub(super) struct Members<'a> {
    table: &'a Table,
    keys: Vec<Key>,
    labels: Labels,
}

impl<'a> Members<'a> {
    pub(super) fn of(table: &'a Table) -> Result<Members<'a>, DataError> {
        Ok(Members {
            labels: Labels::of(table)?,
            keys: keys(table),
            table,
        })
    }

    /// The members of the sample in that row, with their names.
    pub(super) fn sample(&self, at: usize, image: Shaped) -> Vec<(String, Vec<u8>)> {
        let (row, key) = (&self.table.rows[at], &self.keys[at]);
        let name = key.image(row.location.path(), image.extension, image.smaller);
        let json = self.labels.json(row, &name);
        let mut sample = vec![(name, image.bytes)];
        sample.extend(self.labels.class(at).map(|class| (key.with("cls"), class)));
        sample.extend(json.map(|json| (key.with("json"), json)));
        sample
    }

    /// How many samples.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// All that decides the sample in that row, or that there is none: where two have the same text they are the same
    /// bytes. `None` where nothing tells one version of the image from the next.
    pub(super) fn text(&self, at: usize) -> Option<String> {
        let Some(row) = self.table.rows.get(at) else {
            return Some("the end".to_owned());
        };
        let (bytes, version) = Some(row.location.stamp()).filter(|&(_, version)| version != 0)?;
        let cells = self.labels.columns.iter().map(|(at, name)| (name, row.cell(*at)));
        Some(format!(
            "{:?}",
            (
                row.location.path(),
                bytes,
                version,
                &self.keys[at].0,
                &row.name,
                self.labels.classes[at],
                cells.collect::<Vec<_>>()
            )
        ))
    }
}

/// The key of a sample.
struct Key(String);

impl Key {
    fn with(&self, extension: &str) -> String {
        format!("{}.{extension}", self.0)
    }

    /// The member's name: that of the source where its ending says what the bytes are.
    fn image(&self, source: &Path, extension: &str, smaller: bool) -> String {
        let ending = source.extension().and_then(|ending| ending.to_str());
        match ending {
            Some(ending) if !smaller && crate::source::is_image_name(source) => self.with(ending),
            _ => self.with(extension),
        }
    }
}

/// One key per row: the name without ending, made such that nobody takes it for something else.
fn keys(table: &Table) -> Vec<Key> {
    let mut taken = HashSet::new();
    let key = |row: &Row| {
        let path = Path::new(&row.name);
        let parts = path.components().filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None, // neither `/` nor `..`
        });
        let mut parts: Vec<String> = parts.collect();
        let last = path.file_stem().unwrap_or_default().to_string_lossy();
        // A key ends at the first dot, and members with control characters are refused.
        parts.pop();
        parts.push(last.replace(|c: char| c == '.' || c.is_control(), "_"));
        let wanted = parts.join("/");
        let mut key = wanted.clone();
        for number in 2.. {
            if taken.insert(key.clone()) {
                break;
            }
            key = format!("{wanted}_{number}");
        }
        Key(key)
    };
    table.rows.iter().map(key).collect()
}

/// What is written beside an image.
struct Labels {
    classes: Vec<Option<u32>>,
    /// Columns that `.json` repeats.
    columns: Vec<(usize, String)>,
}

impl Labels {
    fn of(table: &Table) -> Result<Labels, DataError> {
        let label = table.find("label");
        let (classes, class_names) = match label {
            Some(column) => number_labels(table, column)?,
            None => (vec![None; table.rows.len()], Vec::new()),
        };
        let is_numbered = class_names
            .iter()
            .enumerate()
            .all(|(at, name)| *name == at.to_string());
        let repeats = |name: &str| match name {
            "path" | "cls" | NAME => false,
            "label" => !is_numbered,
            _ => true,
        };
        let columns = table.header.iter().cloned().enumerate();
        Ok(Labels {
            classes,
            columns: columns.filter(|(_, name)| repeats(name)).collect(),
        })
    }

    fn class(&self, row: usize) -> Option<Vec<u8>> {
        Some(self.classes[row]?.to_string().into_bytes())
    }

    /// `member`: what the image is called in the shard.
    fn json(&self, row: &Row, member: &str) -> Option<Vec<u8>> {
        let mut fields: BTreeMap<&str, Value> = self
            .columns
            .iter()
            .filter(|(at, _)| !row.cell(*at).is_empty())
            .map(|(at, name)| (name.as_str(), value(row.cell(*at))))
            .collect();
        if row.name != member {
            fields.insert(NAME, Value::String(row.name.clone()));
        }
        if fields.is_empty() {
            return None;
        }
        serde_json::to_vec(&fields).ok()
    }
}

/// A number where it would be read back as the same text.
fn value(cell: &str) -> Value {
    match serde_json::from_str(cell) {
        Ok(Value::Number(number)) if number.to_string() == cell => Value::Number(number),
        _ => Value::String(cell.to_owned()),
    }
}
