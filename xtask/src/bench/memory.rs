//! `bench memory`: the most memory that the whole process held, ours and the peer's.

use std::str::FromStr;

use anyhow::Result;
use serde_json::{Value, json};

use super::job::{Dtype, Job, Measured, Task};
use super::programs::{Ours, Peer, PeerOptions};
use super::report;
use crate::table;

/// Options of `bench memory`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// A model and its batch; can be repeated
    #[arg(long = "model", value_name = "NAME:BATCH", default_values = ["atto:32", "tiny:16"])]
    models: Vec<ModelBatch>,
    /// Precision of the matrix products; can be repeated
    #[arg(long, value_enum, default_values_t = [Dtype::F32, Dtype::Bf16])]
    dtype: Vec<Dtype>,
    /// What a step is
    #[arg(long, value_enum, default_value_t = Task::Pretrain)]
    task: Task,
    /// Side of the square images in pixels, a multiple of 32
    #[arg(long, default_value_t = 224)]
    size: u32,
    /// Steps after three to warm up; the peak is reached in the first
    #[arg(long, default_value_t = 1)]
    steps: u32,
    /// Threads of both [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    #[command(flatten)]
    peer: PeerOptions,
}

/// A model with the number of images in a batch, `atto:32`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ModelBatch {
    model: String,
    batch: u32,
}

impl FromStr for ModelBatch {
    type Err = String;

    fn from_str(text: &str) -> Result<ModelBatch, String> {
        let parts = text.split_once(':');
        let parsed = parts.and_then(|(model, batch)| Some((model, batch.parse().ok()?)));
        match parsed {
            Some((model, batch)) if !model.is_empty() && batch > 0 => Ok(ModelBatch {
                model: model.to_owned(),
                batch,
            }),
            _ => Err("give a model and a batch, like `atto:32`".to_owned()),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    job: Job,
    ours: Measured,
    peer: Measured,
}

impl Row {
    /// Our peak over the peer's.
    fn ratio(&self) -> f64 {
        self.ours.peak_mib / self.peer.peak_mib
    }

    fn to_json(&self) -> Value {
        json!({
            "model": self.job.model,
            "batch": self.job.batch,
            "dtype": self.job.dtype.name(),
            "ours_mib": self.ours.peak_mib,
            "peer_mib": self.peer.peak_mib,
            "ratio": self.ratio(),
        })
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    let peer = Peer::open(&options.peer)?;
    let ours = Ours::build()?;
    let mut rows = Vec::new();
    for job in jobs(options) {
        let (ours, peer) = (ours.measure(&job)?, peer.measure(&job)?);
        rows.push(Row { job, ours, peer });
    }
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let report = json!({
        "task": options.task.name(),
        "size": options.size,
        "threads": first.job.threads(),
        "peer": peer.name(),
        "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>(),
    });
    let report = report::signed(report, &[&first.ours, &first.peer]);
    let place = report::place(first.job.threads(), &report);
    let (task, size) = (options.task.name(), options.size);
    print!("{task} at {size} px; {place}\n{}", table(&rows, peer.name()));
    report::write("memory", &report)
}

/// Each model in each precision.
fn jobs(options: &Options) -> Vec<Job> {
    let job = |model: &ModelBatch, dtype| Job {
        task: options.task,
        model: model.model.clone(),
        batch: model.batch,
        size: options.size,
        dtype,
        mask_ratio: None,
        steps: options.steps,
        threads: options.threads,
    };
    let of_model = |model| options.dtype.iter().map(move |&dtype| job(model, dtype));
    options.models.iter().flat_map(of_model).collect()
}

fn table(rows: &[Row], peer: &str) -> String {
    let cells = |row: &Row| {
        vec![
            format!(
                "{} batch {}, {}",
                row.job.model,
                row.job.batch,
                row.job.dtype.name()
            ),
            format!("{:.0}", row.ours.peak_mib),
            format!("{:.0}", row.peer.peak_mib),
            format!("{:.2}", row.ratio()),
        ]
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    table::columns(&["peak MiB", "fcmae", peer, "ratio"], &rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::job::tests::measured;
    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn parse(words: &[&str]) -> Result<Options, clap::Error> {
        Cli::try_parse_from([&["memory"], words].concat()).map(|cli| cli.options)
    }

    #[test]
    fn every_model_is_measured_in_every_precision() {
        let names = |words: &[&str]| -> Vec<_> {
            let jobs = jobs(&parse(words).unwrap());
            jobs.iter()
                .map(|job| format!("{}:{} {}", job.model, job.batch, job.dtype.name()))
                .collect()
        };
        assert_eq!(
            names(&[]),
            ["atto:32 f32", "atto:32 bf16", "tiny:16 f32", "tiny:16 bf16"]
        );
        assert_eq!(
            names(&["--model", "nano:8", "--model", "base:2", "--dtype", "f32"]),
            ["nano:8 f32", "base:2 f32"]
        );
    }

    #[test]
    fn a_model_needs_its_batch() {
        for bad in ["atto", "atto:", ":4", "atto:0", "atto:x"] {
            let error = parse(&["--model", bad]).unwrap_err().to_string();
            assert!(
                error.contains("give a model and a batch, like `atto:32`"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_ratio_is_ours_over_theirs() {
        let job = jobs(&parse(&[]).unwrap()).remove(0);
        let row = Row {
            job,
            ours: measured(1.0, 500.0),
            peer: measured(1.0, 2000.0),
        };
        let expected =
            "peak MiB            fcmae  PyTorch  ratio\natto batch 32, f32    500     2000   0.25\n";
        assert_eq!(table(&[row], "PyTorch"), expected);
    }
}
