//! How long the rest takes: from the recorded times of jobs that are done, else from a few timed steps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::job::Job;
use super::measure::Kind;
use super::plan::{Plan, Work};
use super::settings::flat;
use super::store::Store;
use crate::process;

/// Seconds of what is still to do, and where they come from.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Estimate {
    seconds: f64,
    recorded: usize,
    timed: usize,
    unknown: Vec<&'static str>,
}

/// Estimates every open job.
pub(super) fn estimate(plan: &Plan, store: &Store, program: &Path) -> Result<Estimate> {
    let mut estimate = Estimate::default();
    // one timing for all seeds of a cell
    let mut timed: BTreeMap<(usize, Kind), Option<f64>> = BTreeMap::new();
    for (work, job) in plan.open(store) {
        if let Some(seconds) = recorded(plan, store, work, job) {
            estimate.seconds += seconds;
            estimate.recorded += 1;
            continue;
        }
        let key = (work.cell, job.kind);
        let seconds = match timed.get(&key) {
            Some(known) => *known,
            None => time(plan, job, program)?,
        };
        timed.insert(key, seconds);
        match seconds {
            Some(seconds) => {
                estimate.seconds += seconds;
                estimate.timed += 1;
            }
            None => estimate.unknown.push(job.kind.verb()),
        }
    }
    Ok(estimate)
}

/// The mean of jobs of the kind that are done: those of the same cell, else those of the same matrix.
fn recorded(plan: &Plan, store: &Store, work: &Work, job: &Job) -> Option<f64> {
    let cell = plan.folder.join(&plan.cells[work.cell].name);
    [&cell, &plan.folder].into_iter().find_map(|folder| {
        let done = store
            .all_done()
            .filter(|(entry, _)| entry.record.kind == job.kind && entry.stem.starts_with(folder));
        let seconds: Vec<f64> = done.map(|(_, done)| done.seconds).collect();
        (!seconds.is_empty()).then(|| seconds.iter().sum::<f64>() / seconds.len() as f64)
    })
}

/// Times a few steps of a run on random images, and multiplies; of what is no run, nothing is known beforehand.
fn time(plan: &Plan, job: &Job, program: &Path) -> Result<Option<f64>> {
    let (Some(images), true) = (plan.profile()?.images, job.is_run()) else {
        return Ok(None);
    };
    let text = process::capture(&mut bench(plan, job, program)?)?;
    let output: Value = serde_json::from_str(text.trim()).context("`bench-step` printed no JSON")?;
    let rate = output["images_per_second"]
        .as_f64()
        .context("`bench-step` told no `images_per_second`")?;
    let epochs = job
        .find(&["schedule", "epochs"])
        .and_then(toml::Value::as_integer);
    Ok(epochs.map(|epochs| images as f64 * epochs as f64 / rate))
}

/// `bench-step` for the network of a job. It reads configs of pre-training, so a classifier's network is set over one.
fn bench(plan: &Plan, job: &Job, program: &Path) -> Result<Command> {
    let text = |key: &str, default: &str| {
        let value = job.find(&[key]).and_then(toml::Value::as_str);
        value.unwrap_or(default).to_owned()
    };
    let number = |keys: &[&str], default: i64| {
        let value = job.find(keys).map(|value| value.get(0).unwrap_or(value)); // [height, width]
        value.and_then(toml::Value::as_integer).unwrap_or(default)
    };
    let file = plan
        .profile()?
        .pretrain
        .as_ref()
        .context("an estimate needs a config of pre-training")?;
    let mut command = Command::new(program);
    command
        .args(["bench-step", "--json", "--steps", "3", "--model"])
        .arg(file);
    let task = if job.kind == Kind::Pretrain {
        "pretrain"
    } else {
        "classify"
    };
    command.args(["--task", task]);
    command.args([
        "--dtype",
        &text("precision", "f32"),
        "--device",
        &text("device", "auto"),
    ]);
    // images per second hardly depend on the batch, and there is always memory for a few images
    let batch = number(&["train", "batch_size"], 64).min(16);
    let size = number(&["data", "image_size"], 224);
    command.args(["--batch", &batch.to_string(), "--size", &size.to_string()]);
    command.args(["--threads", &number(&["threads"], 0).to_string()]);
    for section in ["model", "decoder", "mask"] {
        if let Some(toml::Value::Table(table)) = job.find(&[section]) {
            let lines = flat(table).into_iter().map(|line| format!("{section}.{line}"));
            command.args(lines.flat_map(|line| ["--set".to_owned(), line]));
        }
    }
    Ok(command)
}

impl Estimate {
    /// In one or two sentences.
    pub(super) fn text(&self) -> String {
        let Estimate {
            seconds,
            recorded,
            timed,
            unknown,
        } = self;
        let mut sources = Vec::new();
        if *recorded > 0 {
            sources.push(format!("{recorded} jobs as long as those that are done"));
        }
        if *timed > 0 {
            sources.push(format!(
                "{timed} by a few steps timed on this machine, without loading, held-out images and pictures"
            ));
        }
        let mut text = match sources.as_slice() {
            [] if unknown.is_empty() => "nothing to do".to_owned(),
            [] => "no estimate: no such job is done yet, and the profile does not say how many `images` there are".to_owned(),
            _ => format!("about {} to go ({})", human(*seconds), sources.join("; ")),
        };
        if !unknown.is_empty() {
            let mut verbs = unknown.clone();
            verbs.sort_unstable();
            verbs.dedup();
            text += &format!("; not counted: {} jobs ({})", unknown.len(), verbs.join(", "));
        }
        text
    }
}

/// Seconds as one would say them.
fn human(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 360_000.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_says_what_it_rests_on() {
        let estimate = Estimate {
            seconds: 4000.0,
            recorded: 2,
            timed: 0,
            unknown: vec!["probe", "evaluate", "probe"],
        };
        assert_eq!(
            estimate.text(),
            "about 67 min to go (2 jobs as long as those that are done); not counted: 3 jobs (evaluate, probe)"
        );
        assert_eq!(human(9000.0), "2.5 h");
        assert_eq!(human(3.6e7), "10000 h");
        assert_eq!(human(59.6), "60 s");
    }
}
