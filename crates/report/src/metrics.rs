//! `metrics.jsonl` as curves: whatever numbers its lines hold, by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fcmae_plot::Point;
use serde_json::{Map, Value};

use crate::error::ReportError;

/// The numbers of a run over its epochs.
///
/// A number inside an object goes by its path, `val.top1`; that of a line with a `kind` other than `step` and
/// `epoch` by the kind too, `monitor.rank`. Lists of numbers are [profiles](Profile); a list of texts beside them names
/// their places.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    /// Numbers of the logged steps; x is the epoch, a fraction.
    pub steps: BTreeMap<String, Vec<Point>>,
    /// Numbers of the epochs; x is the epoch.
    pub epochs: BTreeMap<String, Vec<Point>>,
    /// Lists that the epochs hold.
    pub profiles: BTreeMap<String, Profile>,
    /// Epochs that are over.
    pub epochs_done: u64,
    /// Optimizer steps of the newest line.
    pub steps_done: u64,
}

/// A list of numbers for each of some epochs, e.g. one number per layer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profile {
    /// Names of the places, where the list gives them.
    pub names: Vec<String>,
    /// The epochs and their lists.
    pub rows: Vec<(f64, Vec<f64>)>,
}

impl Metrics {
    /// Reads the file of a run; a run that has written none yet has no numbers.
    ///
    /// # Errors
    /// The file is there and cannot be read. A line that is no JSON object is the torn end of a killed write, or one
    /// that is being written: it is left out.
    pub fn read(file: &Path) -> Result<Metrics, ReportError> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(Metrics::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Metrics::default()),
            Err(source) => Err(ReportError::Unreadable {
                file: file.to_owned(),
                source,
            }),
        }
    }

    /// The lines of such a file.
    #[must_use]
    pub fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics::default();
        for line in text.lines() {
            if let Ok(record) = serde_json::from_str::<Map<String, Value>>(line) {
                metrics.add(&record);
            }
        }
        metrics
    }

    /// The newest number of a name among the epochs.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<f64> {
        Some(self.epochs.get(name)?.last()?[1])
    }

    /// The numbers of a name among the epochs.
    #[must_use]
    pub fn of_epochs(&self, name: &str) -> &[Point] {
        self.epochs.get(name).map_or(&[], Vec::as_slice)
    }

    /// The numbers of a name among the steps.
    #[must_use]
    pub fn of_steps(&self, name: &str) -> &[Point] {
        self.steps.get(name).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, record: &Map<String, Value>) {
        let Some(epoch) = record.get("epoch").and_then(Value::as_f64) else {
            return;
        };
        let kind = record.get("kind").and_then(Value::as_str).unwrap_or("epoch");
        let step = record.get("step").and_then(Value::as_u64).unwrap_or_default();
        self.steps_done = self.steps_done.max(step);
        if kind == "epoch" {
            self.epochs_done = self.epochs_done.max(epoch as u64);
        }
        let own = |name: &&String| !matches!(name.as_str(), "kind" | "epoch" | "step");
        for name in record.keys().filter(own) {
            let path = match kind {
                "step" | "epoch" => name.clone(),
                kind => format!("{kind}.{name}"),
            };
            self.add_value(kind == "step", path, epoch, &record[name], &[]);
        }
    }

    /// `names` are those of the places of lists, from around the value.
    fn add_value(&mut self, is_step: bool, path: String, epoch: f64, value: &Value, names: &[String]) {
        match value {
            Value::Object(inner) => {
                let own = inner.values().find_map(texts);
                let names = own.as_deref().unwrap_or(names);
                for (name, value) in inner {
                    self.add_value(is_step, format!("{path}.{name}"), epoch, value, names);
                }
            }
            Value::Array(list) => self.add_list(path, epoch, list, names),
            // JSON has no NaN: it is written as null, and shown as a gap
            Value::Number(_) | Value::Null => {
                let table = if is_step {
                    &mut self.steps
                } else {
                    &mut self.epochs
                };
                let number = value.as_f64().unwrap_or(f64::NAN);
                table.entry(path).or_default().push([epoch, number]);
            }
            Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn add_list(&mut self, path: String, epoch: f64, list: &[Value], names: &[String]) {
        let is_row = list.iter().all(|value| value.is_number() || value.is_null());
        if list.is_empty() || !is_row {
            return;
        }
        let profile = self.profiles.entry(path).or_default();
        profile.names = if names.len() == list.len() {
            names.to_vec()
        } else {
            Vec::new()
        };
        let row = list.iter().map(|value| value.as_f64().unwrap_or(f64::NAN));
        profile.rows.push((epoch, row.collect()));
    }
}

/// The texts of a list that holds nothing else.
fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    list.iter()
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_by_their_path() {
        let metrics = Metrics::parse(
            r#"{"kind":"step","step":10,"epoch":0.5,"loss":0.9,"lr":1e-3}
               {"kind":"epoch","step":20,"epoch":1,"train_loss":0.8,"val":{"top1":0.7,"auroc":null}}
               {"kind":"monitor","step":20,"epoch":1,"rank":12.5,"collapse":{"gelu":[0.1,0.2]}}
               {"kind":"epoch","step":40,"epoch":2,"train_loss":null,"note":"text","is":true}
               {"kind":"epoch","st"#,
        );
        assert_eq!(metrics.of_steps("loss"), [[0.5, 0.9]]);
        assert_eq!(metrics.of_epochs("val.top1"), [[1.0, 0.7]]);
        assert!(metrics.last("val.auroc").unwrap().is_nan() && metrics.last("train_loss").unwrap().is_nan());
        assert_eq!(metrics.last("monitor.rank"), Some(12.5));
        assert_eq!(
            metrics.profiles["monitor.collapse.gelu"].rows,
            [(1.0, vec![0.1, 0.2])]
        );
        assert_eq!((metrics.epochs_done, metrics.steps_done), (2, 40));
        assert_eq!(metrics.epochs.len(), 4);
    }

    #[test]
    fn texts_beside_lists_name_their_places() {
        let line = r#"{"kind":"epoch","step":1,"epoch":1,
            "monitor":{"blocks":["a","b"],"dead":{"gelu":[0.5,null]},"rank":[1,2,3]},"mixed":[1,"x"]}"#;
        let metrics = Metrics::parse(&line.replace('\n', " "));
        let dead = &metrics.profiles["monitor.dead.gelu"];
        assert_eq!(dead.names, ["a", "b"]);
        assert!(dead.rows[0].1[0] == 0.5 && dead.rows[0].1[1].is_nan());
        assert_eq!(metrics.profiles["monitor.rank"].names, [""; 0], "of other length");
        assert_eq!(metrics.profiles.len(), 2);
    }

    #[test]
    fn a_run_without_a_line_has_no_numbers() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Metrics::read(&folder.path().join("metrics.jsonl")).unwrap(),
            Metrics::default()
        );
        assert_eq!(Metrics::parse("\n[1]\nnull\n{}\n"), Metrics::default());
    }
}
