//! What a cell has to run: verbs of the program, each known by the hash of its resolved settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde_json::Value;
use sha2::{Digest, Sha256};
use toml::Table;

use super::cell::Cell;
use super::matrix::Profile;
use super::measure::Kind;
use crate::process::BadInput;

/// A verb of the program with its settings. Equal jobs have equal hashes, whichever cells they belong to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Job {
    pub(super) kind: Kind,
    /// SHA-256 of everything that decides the result: the resolved config, and the hash of the weights it begins with.
    pub(super) hash: String,
    /// Hash of the job that makes the weights it begins with.
    pub(super) weights: Option<String>,
    /// The config under it, of pre-training and fine-tuning.
    file: Option<PathBuf>,
    /// What is set over that.
    set: Vec<String>,
    /// The config as resolved; empty for what only uses weights.
    config: Table,
}

/// The jobs of one cell and seed, in the order in which they need each other.
pub(super) fn of_cell(profile: &Profile, cell: &Cell, seed: u64) -> Result<Vec<Job>> {
    let wanted = |kind: Kind| profile.measures().any(|measure| measure.of == kind);
    let is_pretrained = profile.pretrain.is_some() && !cell.from_scratch;
    let is_finetuned = wanted(Kind::Evaluate) || !is_pretrained;
    let mut jobs: Vec<Job> = Vec::new();
    if let (true, Some(file)) = (is_pretrained, &profile.pretrain) {
        let mut set = cell.settings.pretrain();
        set.push(format!("seed={seed}"));
        jobs.push(Job::run(Kind::Pretrain, file, set, None)?);
    }
    let pretrained = jobs.first().map(|job| job.hash.clone());
    if let (Some(weights), true) = (&pretrained, wanted(Kind::Probe)) {
        jobs.push(Job::using(Kind::Probe, weights, cell));
    }
    if is_finetuned {
        let file = profile.finetune.as_ref().ok_or_else(|| {
            BadInput(format!(
                "`{}` is measured after fine-tuning, so the profile needs `finetune`",
                cell.name
            ))
        })?;
        let mut set = cell.settings.finetune();
        set.push(format!("seed={seed}"));
        if cell.from_scratch {
            set.push("init=\"none\"".to_owned());
        }
        jobs.push(Job::run(Kind::Finetune, file, set, pretrained.as_deref())?);
        let weights = jobs[jobs.len() - 1].hash.clone();
        if wanted(Kind::Evaluate) {
            jobs.push(Job::using(Kind::Evaluate, &weights, cell));
        }
    }
    if wanted(Kind::Analyze) {
        let trained = jobs
            .iter()
            .find(|job| matches!(job.kind, Kind::Pretrain | Kind::Finetune));
        if let Some(weights) = trained.map(|job| job.hash.clone()) {
            jobs.push(Job::using(Kind::Analyze, &weights, cell));
        }
    }
    Ok(jobs)
}

impl Job {
    /// A run of pre-training or fine-tuning.
    fn run(kind: Kind, file: &Path, set: Vec<String>, weights: Option<&str>) -> Result<Job> {
        let resolved = fcmae_config::load(file, &set).map_err(|error| BadInput(error.to_string()))?;
        let config = resolved.table().clone();
        let mut decisive = config.clone();
        for found_only in ["name", "output_dir"] {
            decisive.remove(found_only);
        }
        if weights.is_some() {
            decisive.remove("init"); // a place; what lies there is what counts
        }
        Ok(Job {
            kind,
            hash: hash(kind, weights, &decisive.to_string()),
            weights: weights.map(str::to_owned),
            file: Some(file.to_owned()),
            set,
            config,
        })
    }

    /// What uses the weights of another job.
    fn using(kind: Kind, weights: &str, cell: &Cell) -> Job {
        let set = cell.settings.inference();
        Job {
            kind,
            hash: hash(kind, Some(weights), &set.join("\n")),
            weights: Some(weights.to_owned()),
            file: None,
            set,
            config: Table::new(),
        }
    }

    /// Whether the program keeps a run folder, which it can continue.
    pub(super) fn is_run(&self) -> bool {
        self.file.is_some()
    }

    /// The command line; `stem` is where the results go, and `weights` where those of the job before it are.
    pub(super) fn command(&self, program: &Path, stem: &Path, weights: Option<&Path>) -> Command {
        let mut command = self.verb(program);
        command.args(self.file.iter().map(PathBuf::as_path));
        let set = |command: &mut Command, key: &str, value: &Path| {
            let value = toml::Value::String(value.display().to_string());
            command.arg("--set").arg(format!("{key}={value}"));
        };
        if self.is_run() {
            if let Some(weights) = weights {
                set(&mut command, "init", weights);
            }
            set(&mut command, "output_dir", stem.parent().unwrap_or(Path::new("")));
            set(
                &mut command,
                "name",
                Path::new(stem.file_name().unwrap_or_default()),
            );
        } else {
            command.args(weights);
            command.arg("--output").arg(stem);
        }
        self.settings(&mut command);
        command.arg("--json");
        command
    }

    /// The command line that checks the config and trains nothing.
    pub(super) fn check(&self, program: &Path) -> Option<Command> {
        let mut command = self.verb(program);
        command.arg(self.file.as_ref()?);
        self.settings(&mut command);
        command.arg("--dry-run");
        Some(command)
    }

    fn verb(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg(self.kind.verb());
        command
    }

    fn settings(&self, command: &mut Command) {
        command.args(self.set.iter().flat_map(|set| ["--set", set]));
    }

    /// The named data set that it needs.
    pub(super) fn dataset(&self) -> Option<&str> {
        self.find(&["data", "dataset"])?.as_str()
    }

    /// A value of the config.
    pub(super) fn find(&self, keys: &[&str]) -> Option<&toml::Value> {
        let (first, rest) = keys.split_first()?;
        rest.iter()
            .try_fold(self.config.get(*first)?, |value, key| value.get(*key))
    }
}

fn hash(kind: Kind, weights: Option<&str>, settings: &str) -> String {
    let text = [kind.verb(), weights.unwrap_or_default(), settings].join("\n");
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Where the weights of a finished run lie in its folder: the averaged ones where there are some, as the paper reports.
/// Pre-training runs stand for their own.
pub(super) fn weights_of(kind: Kind, output: &Value) -> PathBuf {
    let found = |key: &str| {
        output
            .pointer(&format!("/finetuned/{key}"))
            .is_some_and(|best| !best.is_null())
    };
    let file = match kind {
        Kind::Finetune if found("best_ema") => "checkpoints/best-ema/model.safetensors",
        Kind::Finetune if found("best") => "checkpoints/best/model.safetensors",
        Kind::Finetune => "checkpoints/last/model.safetensors",
        _ => "",
    };
    PathBuf::from(file)
}
