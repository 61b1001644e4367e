//! What the verbs that carry out a run share: their arguments, and how they say that it ended.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae::config::to_toml;
use fcmae::report::quoted;
use fcmae::trainer::{Ending, InputError, RunOptions, Source, Start, StopFlag, Summary, Verbosity, origins};
use serde::Serialize;

use super::{Outcome, output};

/// Which run: what `pretrain`, `finetune` and `plan` are told of it.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// Config file, or the folder of a run
    config: Option<PathBuf>,
    /// Set a key of the config, e.g. `--set optimizer.lr=1e-3`; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Name of the run folder [default: the name of the config file]
    #[arg(long)]
    name: Option<String>,
}

/// Arguments of `pretrain` and `finetune`.
#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
    /// Only continue: refuse to begin a run
    #[arg(long)]
    resume: bool,
    /// Only begin: a new folder `<name>-2`, `<name>-3`, … where `<name>` exists
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// Go on with another learning rate (`lr`, `blr`, `min_lr`), warm-up or `clip_grad` than the run began with
    #[arg(long, conflicts_with = "fresh")]
    retune: bool,
    /// Only check the config, and print it as it is resolved
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Say nothing but warnings
    #[arg(long)]
    pub(super) quiet: bool,
    /// Show the run on a screen of its own in the terminal
    #[arg(long, conflicts_with = "quiet", hide = !cfg!(feature = "tui"))]
    tui: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    pub(super) json: bool,
}

impl ConfigArgs {
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
}

impl RunArgs {
    /// Carries out the run in `folder` that `file` describes, shown as the arguments ask for.
    pub(super) fn carry_out(
        &self,
        file: &Path,
        folder: &Path,
        run: impl FnOnce(&RunOptions) -> Result<Summary>,
    ) -> Result<Summary> {
        let source = Source {
            command: typed(),
            origins: origins(file, &self.config.overrides())?,
        };
        let options = RunOptions {
            source,
            ..self.options()?
        };
        if !self.quiet && !self.tui {
            output::tell_of_listing();
        }
        if self.tui {
            return on_screen(options, folder, run);
        }
        run(&options)
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

    /// How the run is started; from here on Ctrl-C, SIGTERM and SIGUSR1 stop it after a checkpoint.
    fn options(&self) -> Result<RunOptions> {
        Ok(RunOptions {
            start: match (self.resume, self.fresh) {
                (true, _) => Start::Resume,
                (_, true) => Start::Fresh,
                _ => Start::Continue,
            },
            retune: self.retune,
            verbosity: if self.quiet {
                Verbosity::Quiet
            } else {
                Verbosity::Normal
            },
            stop: StopFlag::on_signals().context("installing the handlers of signals")?,
            ..RunOptions::default()
        })
    }
}

#[cfg(feature = "tui")]
use super::tui::on_screen;

#[cfg(not(feature = "tui"))]
fn on_screen(
    _options: RunOptions,
    _folder: &Path,
    _run: impl FnOnce(&RunOptions) -> Result<Summary>,
) -> Result<Summary> {
    let message = "--tui: this program was built without it; build it with `--features tui`, or run it through \
                   `cargo xtask`, which does";
    Err(InputError::Argument {
        message: message.to_owned(),
    }
    .into())
}

/// The text as a TOML string, so that a name like `1e3` stays a name.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
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

/// The command as it can be typed again.
fn typed() -> String {
    let words = std::env::args_os()
        .skip(1)
        .map(|word| quoted(&word.to_string_lossy()));
    std::iter::once(command())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The verb's outcome.
pub(super) fn ended(summary: &Summary) -> Outcome {
    if summary.ending == Ending::Stopped {
        Outcome::Stopped
    } else {
        Outcome::Done
    }
}

/// `, 812 MiB at most`, where the system tells.
pub(super) fn at_most(peak_mib: Option<u64>) -> String {
    peak_mib.map_or_else(String::new, |peak| format!(", {peak} MiB at most"))
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
            peak_mib: Some(812),
            machine: Machine {
                device: "cpu".into(),
                kernels: "k".into(),
                libtorch: "2".into(),
                threads: 1,
            },
            weights: Some("runs/a/w".into()),
            reconstruction: None,
            report: Some("runs/a/report.html".into()),
            ended_early: false,
            finetuned: None,
        }
    }

    #[test]
    fn a_name_is_a_string_whatever_it_looks_like() {
        assert_eq!(toml_string("1e3"), "\"1e3\"");
        assert_eq!(toml_string("a\"b\\"), "\"a\\\"b\\\\\"");
        assert_eq!(toml_string("it's größer"), "\"it's größer\"");
        let config = fcmae::config::from_str("", &[format!("name={}", toml_string("ö'\"\\\u{7}"))]).unwrap();
        assert_eq!(config.table()["name"].as_str(), Some("ö'\"\\\u{7}"));
    }
}
