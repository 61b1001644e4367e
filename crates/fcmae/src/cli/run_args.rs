//! What the verbs that carry out a run share: their arguments, and how they say that it ended.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae::config::to_toml;
use fcmae::trainer::{Ending, InputError, RunOptions, Start, StopFlag, Summary, Verbosity};
use serde::Serialize;

use super::{Outcome, output};

/// Arguments of `pretrain` and `finetune`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// Config file, or the folder of a run
    config: Option<PathBuf>,
    /// Set a key of the config, e.g. `--set optimizer.lr=1e-3`; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Name of the run folder [default: the name of the config file]
    #[arg(long)]
    name: Option<String>,
    /// Only continue: refuse to begin a run
    #[arg(long)]
    resume: bool,
    /// Only begin: a new folder `<name>-2`, `<name>-3`, … where `<name>` exists
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// Only check the config, and print it as it is resolved
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Say nothing but warnings
    #[arg(long)]
    pub(super) quiet: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    pub(super) json: bool,
}

impl RunArgs {
    /// The config file; `verb` and `example` are for who gave none.
    pub(super) fn file(&self, verb: &str, example: &str) -> Result<&Path, InputError> {
        self.config.as_deref().ok_or_else(|| InputError::Argument {
            message: format!("{verb} needs a config file, e.g. `fcmae {verb} {example}`"),
        })
    }

    /// What is set over the file.
    pub(super) fn overrides(&self) -> Vec<String> {
        let mut overrides = self.set.clone();
        let name = self.name.as_ref();
        overrides.extend(name.map(|name| format!("name={}", toml_string(name))));
        overrides
    }

    /// Prints a config with every default filled in; as a file, it repeats the run.
    pub(super) fn show(&self, config: &impl Serialize) -> Result<Outcome> {
        if self.json {
            output::json(config)?;
        } else {
            output::text(&to_toml(config)?)?;
        }
        Ok(Outcome::Done)
    }

    /// How the run is started; from here on Ctrl-C and SIGTERM stop it after a checkpoint.
    pub(super) fn options(&self) -> Result<RunOptions> {
        Ok(RunOptions {
            start: match (self.resume, self.fresh) {
                (true, _) => Start::Resume,
                (_, true) => Start::Fresh,
                _ => Start::Continue,
            },
            verbosity: if self.quiet {
                Verbosity::Quiet
            } else {
                Verbosity::Normal
            },
            stop: StopFlag::on_signals().context("installing the handlers of Ctrl-C and SIGTERM")?,
        })
    }
}

/// The text as a TOML string, so that a name like `1e3` stays a name.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// How this program is started: through `cargo xtask`, or by its own name.
pub(super) fn command() -> String {
    let through_xtask = std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "xtask");
    if through_xtask {
        "cargo xtask".to_owned()
    } else {
        "fcmae".to_owned()
    }
}

/// The verb's outcome.
pub(super) fn ended(summary: &Summary) -> Outcome {
    if summary.ending == Ending::Stopped {
        Outcome::Stopped
    } else {
        Outcome::Done
    }
}

/// In one line, for a run that did not come to its end just now.
pub(super) fn how_it_ended(summary: &Summary) -> String {
    let Summary {
        epoch, epochs, step, ..
    } = summary;
    match summary.ending {
        Ending::AlreadyFinished if summary.ended_early => {
            format!("this run was finished before, after {epoch} of {epochs} epochs: it no longer got better")
        }
        Ending::AlreadyFinished => {
            format!("this run was finished before ({epochs} epochs); more `schedule.epochs` extend it")
        }
        Ending::Stopped if *step == 0 => "stopped before the first step; there is nothing to save".to_owned(),
        Ending::Stopped => format!("stopped and saved at step {step}, after {epoch} of {epochs} epochs"),
        Ending::Finished => format!("finished {epoch} of {epochs} epochs"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use fcmae::trainer::Machine;

    use super::*;

    pub(crate) fn summary(ending: Ending) -> Summary {
        Summary {
            ending,
            run: "runs/a".into(),
            images: "photos".into(),
            step: 30,
            epoch: 3,
            epochs: 10,
            resumed_from: None,
            train_loss: Some(0.7),
            first_held_out_loss: Some(0.9),
            held_out_loss: Some(0.65),
            parameters: 9,
            seconds: 61.0,
            images_per_second: 40.0,
            peak_mib: None,
            machine: Machine {
                device: "cpu".into(),
                kernels: "k".into(),
                libtorch: "2".into(),
                threads: 1,
            },
            weights: Some("runs/a/w".into()),
            reconstruction: None,
            ended_early: false,
            finetuned: None,
        }
    }

    #[test]
    fn a_name_is_a_string_whatever_it_looks_like() {
        assert_eq!(toml_string("1e3"), "\"1e3\"");
        assert_eq!(toml_string("a\"b"), "\"a\\\"b\"");
    }
}
