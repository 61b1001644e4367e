//! Running the jobs of a plan one after the other.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::child::{self, Ended, Signals};
use super::job::{Job, weights_of};
use super::measure;
use super::plan::{Plan, Work};
use super::results::Results;
use super::store::{Done, Record, Store};
use crate::bench::median;
use crate::process::{self, BadInput, Stopped};

/// `cell/seed-n: verb` of what failed.
pub(super) type Failures = Vec<String>;

/// Runs a plan.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    plan: &'a Plan,
    program: &'a Path,
    signals: Signals,
}

impl<'a> Runner<'a> {
    pub(super) fn new(plan: &'a Plan, program: &'a Path, signals: Signals) -> Runner<'a> {
        Runner {
            plan,
            program,
            signals,
        }
    }

    /// Runs every chosen cell and seed that is not done. What fails is noted and passed over.
    pub(super) fn run(&self, store: &mut Store) -> Result<Failures> {
        let mut failures = Failures::new();
        let count = self.plan.chosen().count();
        for (at, work) in self.plan.chosen().enumerate() {
            let is_done = |store: &Store| work.jobs.iter().all(|job| store.done(&job.hash).is_some());
            if is_done(store) {
                continue;
            }
            eprintln!("[{}/{count}] {}", at + 1, work.name);
            for job in &work.jobs {
                if let Some(why) = self.job(work, job, store)? {
                    failures.push(format!("{}: {} ({why})", work.name, job.kind.verb()));
                    break; // what follows needs its weights
                }
            }
            Results::collect(self.plan, store)?.write(&self.plan.folder)?;
        }
        Ok(failures)
    }

    /// Runs a job unless it is done; why it failed, if it did.
    fn job(&self, work: &Work, job: &Job, store: &mut Store) -> Result<Option<String>> {
        if store.done(&job.hash).is_some() {
            return Ok(None);
        }
        if self.signals.are_raised() {
            return Err(Stopped.into());
        }
        let stem = store.place(job, &self.plan.folder.join(&work.name));
        if store.find(&job.hash).is_none() && !stem.ends_with(job.kind.verb()) {
            eprintln!(
                "the settings have changed since the last {}: a new one in {}",
                job.kind.verb(),
                stem.display()
            );
        }
        let weights = job.weights.as_deref().map(|hash| made(store, hash)).transpose()?;
        let mut command = job.command(self.program, &stem, weights.as_deref());
        let mut record = Record {
            hash: job.hash.clone(),
            kind: job.kind,
            command: process::line(&command),
            done: None,
            failed: None,
        };
        store.write(&stem, record.clone())?;
        let started = Instant::now();
        match self.undisturbed(&mut command, &stem)? {
            Ended::Done(output) => record.done = Some(done(job, &stem, output, started)?),
            Ended::Failed(why) => record.failed = Some(why),
            Ended::Stopped => return Err(Stopped.into()),
            Ended::Refused => {
                let message = format!("{}: the program refuses this cell, see above", work.name);
                return Err(BadInput(message).into());
            }
        }
        store.write(&stem, record.clone())?;
        Ok(record.failed)
    }

    /// Runs a command when nobody else is at work in `run`. A killed `ablate` leaves its last run training: what that
    /// still does is not lost.
    fn undisturbed(&self, command: &mut Command, run: &Path) -> Result<Ended> {
        loop {
            if let Some(lock) = held(run) {
                eprintln!("waiting: another process trains {}", run.display());
                lock.lock().with_context(|| format!("{}/.lock", run.display()))?;
            }
            let ended = child::run(command, &self.signals)?;
            // refused because the other one came in between?
            if ended != Ended::Refused || held(run).is_none() {
                return Ok(ended);
            }
        }
    }
}

/// The weights that a finished job has made.
fn made(store: &Store, hash: &str) -> Result<PathBuf> {
    let entry = store
        .find(hash)
        .context("a job comes after the one that it needs")?;
    let done = entry
        .record
        .done
        .as_ref()
        .context("a job runs after the one that it needs")?;
    let is_whole = done.weights.as_os_str().is_empty();
    Ok(if is_whole {
        entry.stem.clone()
    } else {
        entry.stem.join(&done.weights)
    })
}

/// The lock of a run, while another process holds it.
fn held(run: &Path) -> Option<File> {
    let lock = File::open(run.join(".lock")).ok()?;
    matches!(lock.try_lock(), Err(TryLockError::WouldBlock)).then_some(lock)
}

fn done(job: &Job, stem: &Path, mut output: Value, started: Instant) -> Result<Done> {
    let mut seconds = started.elapsed().as_secs_f64();
    if job.is_run() {
        let pace = Pace::read(&stem.join("metrics.jsonl"))?;
        seconds = pace.seconds;
        output["images_per_second"] = json!(pace.images_per_second);
    }
    Ok(Done {
        seconds,
        measures: measure::read(job.kind, &output),
        weights: weights_of(job.kind, &output),
    })
}

/// How fast a run was, read from its metrics: the program's own summary knows its last process alone.
#[derive(Debug, PartialEq)]
struct Pace {
    /// Sum over the epochs.
    seconds: f64,
    /// Median over the logged steps.
    images_per_second: Option<f64>,
}

impl Pace {
    fn read(metrics: &Path) -> Result<Pace> {
        let text = fs::read_to_string(metrics).with_context(|| metrics.display().to_string())?;
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let all = |kind: &'static str, key: &'static str| {
            let lines = lines.iter().filter(move |line| line["kind"] == kind);
            lines.filter_map(move |line| line[key].as_f64())
        };
        let rate = median(all("step", "images_per_second"));
        Ok(Pace {
            seconds: all("epoch", "seconds").sum(),
            images_per_second: rate.is_finite().then_some(rate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_read_from_all_processes_of_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("metrics.jsonl");
        let text = "{\"kind\": \"step\", \"images_per_second\": 10}\n{\"kind\": \"step\", \"images_per_second\": 30}\n\
                    {\"kind\": \"epoch\", \"seconds\": 2.5}\n{\"kind\": \"step\", \"images_per_second\": 20}\n\
                    {\"kind\": \"epoch\", \"seconds\": 2}\n";
        fs::write(&file, text).unwrap();
        let expected = Pace {
            seconds: 4.5,
            images_per_second: Some(20.0),
        };
        assert_eq!(Pace::read(&file).unwrap(), expected);
    }
}
