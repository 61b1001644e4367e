//! What came out: mean and spread of every measure over the seeds, beside what was published.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::measure::Measure;
use super::plan::Plan;
use super::store::{self, Store};
use crate::table;

/// A table with a row for each cell.
#[derive(Debug)]
pub(super) struct Results {
    title: String,
    axes: Vec<String>,
    measures: Vec<&'static Measure>,
    published: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Debug, Default)]
struct Row {
    name: String,
    values: Vec<Value>,
    /// What was measured, seed by seed.
    seeds: Vec<(u64, BTreeMap<String, f64>)>,
    published: BTreeMap<String, f64>,
    /// Seeds that failed.
    failed: usize,
}

impl Results {
    /// What the store has of a plan.
    pub(super) fn collect(plan: &Plan, store: &Store) -> Result<Results> {
        let mut rows: Vec<Row> = plan
            .cells
            .iter()
            .map(|cell| Row {
                name: cell.name.clone(),
                values: cell.values.clone(),
                published: cell.published.clone(),
                ..Row::default()
            })
            .collect();
        for work in &plan.works {
            let row = &mut rows[work.cell];
            let found = work.jobs.iter().filter_map(|job| store.done(&job.hash));
            let measures: BTreeMap<String, f64> = found.flat_map(|done| done.measures.clone()).collect();
            if !measures.is_empty() {
                row.seeds.push((work.seed, measures));
            }
            let failed = |hash: &str| {
                store
                    .find(hash)
                    .is_some_and(|entry| entry.record.failed.is_some())
            };
            row.failed += usize::from(work.jobs.iter().any(|job| failed(&job.hash)));
        }
        Ok(Results {
            title: plan.matrix.title.clone(),
            axes: plan.matrix.axes.iter().map(|axis| axis.name.clone()).collect(),
            measures: plan.profile()?.measures().collect(),
            published: plan.matrix.published.clone(),
            rows,
        })
    }

    /// Writes `results.json`, `.csv` and `.md` into a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        store::write(&folder.join("results.json"), &format!("{:#}\n", self.json()))?;
        store::write(&folder.join("results.csv"), &self.csv())?;
        store::write(&folder.join("results.md"), &self.markdown())
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let head = self.head();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        format!(
            "{}\n{}{}\n",
            self.title,
            table::columns(&head, &self.cells()),
            FOOT
        )
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let head = self.head();
        let rule: Vec<String> = (0..head.len())
            .map(|at| if at < self.axes.len() { "---" } else { "---:" }.to_owned())
            .collect();
        let rows: String = self.cells().iter().map(|row| line(row)).collect();
        format!(
            "## {}\n\n{}{}{rows}\n{FOOT}\n",
            self.title,
            line(&head),
            line(&rule)
        )
    }

    fn csv(&self) -> String {
        let own = |measure: &&Measure| [measure.key.to_owned(), format!("{}_sd", measure.key)];
        let head = ["cell".to_owned()]
            .into_iter()
            .chain(self.axes.clone())
            .chain(["seeds".to_owned()])
            .chain(self.measures.iter().flat_map(own))
            .chain(self.published.clone());
        let mut text = csv_line(head);
        for row in &self.rows {
            let numbers = self.measures.iter().flat_map(|measure| {
                let (mean, spread, _) = row.statistics(measure.key);
                [mean, spread].map(|number| number.map(|n| n.to_string()).unwrap_or_default())
            });
            let published = self.published.iter().map(|label| {
                let number = row.published.get(label);
                number.map(f64::to_string).unwrap_or_default()
            });
            let cells = [row.name.clone()]
                .into_iter()
                .chain(row.values.iter().map(plain))
                .chain([row.seeds.len().to_string()])
                .chain(numbers)
                .chain(published);
            text += &csv_line(cells);
        }
        text
    }

    /// What `fcmae report --matrix` reads.
    fn json(&self) -> Value {
        let measure = |measure: &&Measure| {
            let Measure {
                key,
                label,
                unit,
                better,
                ..
            } = measure;
            json!({"key": key, "label": label, "unit": unit, "better": better})
        };
        let cell = |row: &Row| {
            let values: Map<String, Value> = self.axes.iter().cloned().zip(row.values.clone()).collect();
            let seed = |(seed, measures): &(u64, BTreeMap<String, f64>)| {
                let shown: Map<String, Value> = self
                    .measures
                    .iter()
                    .filter_map(|measure| Some((measure.key.to_owned(), json!(measures.get(measure.key)?))))
                    .collect();
                json!({"seed": seed, "measures": shown})
            };
            let mut cell = json!({
                "name": row.name,
                "values": values,
                "seeds": row.seeds.iter().map(seed).collect::<Vec<_>>(),
            });
            if !row.published.is_empty() {
                cell["published"] = json!(row.published);
            }
            cell
        };
        json!({
            "title": self.title,
            "axes": self.axes,
            "measures": self.measures.iter().map(measure).collect::<Vec<_>>(),
            "cells": self.rows.iter().map(cell).collect::<Vec<_>>(),
        })
    }

    fn head(&self) -> Vec<String> {
        let measures = self.measures.iter().map(|measure| measure.head());
        let head = self.axes.iter().cloned().chain(["seeds".to_owned()]);
        head.chain(measures).chain(self.published.clone()).collect()
    }

    /// The table's body as text.
    fn cells(&self) -> Vec<Vec<String>> {
        let row = |row: &Row| {
            let measures = self.measures.iter().map(|measure| row.shown(measure));
            let published = self.published.iter().map(|label| {
                let number = row.published.get(label);
                number.map_or(NOTHING.to_owned(), f64::to_string)
            });
            let cells = row.values.iter().map(plain).chain([row.seeds.len().to_string()]);
            cells.chain(measures).chain(published).collect()
        };
        self.rows.iter().map(row).collect()
    }
}

const NOTHING: &str = "–";
const FOOT: &str = "mean ± sample standard deviation over the seeds";

impl Row {
    /// Mean, sample standard deviation and number of the seeds that have a measure.
    fn statistics(&self, key: &str) -> (Option<f64>, Option<f64>, usize) {
        let numbers: Vec<f64> = self
            .seeds
            .iter()
            .filter_map(|(_, measures)| measures.get(key).copied())
            .collect();
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        let spread = (numbers.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        ((!numbers.is_empty()).then_some(mean), spread, numbers.len())
    }

    fn shown(&self, measure: &Measure) -> String {
        let digits = measure.digits;
        let of = |n: usize| {
            if n == self.seeds.len() {
                String::new()
            } else {
                format!(" (of {n})")
            }
        };
        match self.statistics(measure.key) {
            (Some(mean), Some(spread), n) => format!("{mean:.digits$} ± {spread:.digits$}{}", of(n)),
            (Some(mean), None, n) => format!("{mean:.digits$}{}", of(n)),
            (None, ..) if self.failed > 0 => "failed".to_owned(),
            (None, ..) => NOTHING.to_owned(),
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A line of CSV (RFC 4180).
fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| {
        if cell.contains([',', '"', '\n']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::super::measure;
    use super::*;

    fn results() -> Results {
        let seed = |seed, loss: f64| {
            (
                seed,
                BTreeMap::from([("loss".to_owned(), loss), ("other".to_owned(), 1.0)]),
            )
        };
        let row = |name: &str, value: Value, seeds, published, failed| Row {
            name: name.to_owned(),
            values: vec![value],
            seeds,
            published,
            failed,
        };
        let label = "ImageNet, paper";
        Results {
            title: "Depth".to_owned(),
            axes: vec!["depth".to_owned()],
            measures: vec![measure::find("loss").unwrap()],
            published: vec![label.to_owned()],
            rows: vec![
                row(
                    "one",
                    json!(1),
                    vec![seed(0, 0.25), seed(1, 0.75)],
                    BTreeMap::from([(label.into(), 83.7)]),
                    0,
                ),
                row(
                    "more, \"8\"",
                    json!("8 | 9"),
                    vec![seed(0, 0.25)],
                    BTreeMap::new(),
                    0,
                ),
                row("none", json!(12), vec![], BTreeMap::new(), 1),
            ],
        }
    }

    #[test]
    fn the_table_has_mean_and_spread_beside_what_was_published() {
        let expected = "Depth\n\
                        depth  seeds    held-out loss  ImageNet, paper\n\
                        1          2  0.5000 ± 0.3536             83.7\n\
                        8 | 9      1           0.2500                –\n\
                        12         0           failed                –\n\
                        mean ± sample standard deviation over the seeds\n";
        assert_eq!(results().text(), expected);
    }

    #[test]
    fn markdown_and_csv_escape_what_they_must() {
        let text = results().markdown();
        assert!(
            text.contains(
                "| depth | seeds | held-out loss | ImageNet, paper |\n| --- | ---: | ---: | ---: |\n"
            ),
            "{text}"
        );
        assert!(text.contains("| 8 \\| 9 | 1 | 0.2500 | – |\n"), "{text}");
        let expected = "cell,depth,seeds,loss,loss_sd,\"ImageNet, paper\"\n\
                        one,1,2,0.5,0.3535533905932738,83.7\n\
                        \"more, \"\"8\"\"\",8 | 9,1,0.25,,\n\
                        none,12,0,,,\n";
        assert_eq!(results().csv(), expected);
    }

    #[test]
    fn the_report_gets_every_seed() {
        let json = results().json();
        assert_eq!(
            json["cells"][0]["seeds"][1],
            json!({"seed": 1, "measures": {"loss": 0.75}})
        );
        assert_eq!(json["cells"][0]["published"], json!({"ImageNet, paper": 83.7}));
        assert_eq!(json["cells"][1]["values"], json!({"depth": "8 | 9"}));
        assert!(json["cells"][1].get("published").is_none());
        assert_eq!(json["measures"][0]["better"], "lower");
    }
}
