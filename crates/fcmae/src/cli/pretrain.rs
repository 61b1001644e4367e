//! `fcmae pretrain`: a run, and what to do with it afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use fcmae::trainer::{
    Ending, InputError, PretrainConfig, RunOptions, Start, StopFlag, Summary, Verbosity, duration,
    pretrain,
};

use super::{Outcome, output};

/// Arguments of `pretrain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
    /// Say nothing but warnings
    #[arg(long)]
    quiet: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let file = args.config.as_deref().ok_or_else(no_config)?;
    let mut overrides = args.set.clone();
    overrides.extend(
        args.name
            .as_ref()
            .map(|name| format!("name={}", toml_string(name))),
    );
    let config = PretrainConfig::load(file, &overrides)?;
    let options = RunOptions {
        start: match (args.resume, args.fresh) {
            (true, _) => Start::Resume,
            (_, true) => Start::Fresh,
            _ => Start::Continue,
        },
        verbosity: if args.quiet {
            Verbosity::Quiet
        } else {
            Verbosity::Normal
        },
        stop: StopFlag::on_signals().context("installing the handlers of Ctrl-C and SIGTERM")?,
    };
    let summary = pretrain(&config, &options)?;
    if !args.quiet {
        eprint!("{}", farewell(&summary, &command(), file));
    }
    if args.json {
        output::json(&summary)?;
    }
    Ok(if summary.ending == Ending::Stopped {
        Outcome::Stopped
    } else {
        Outcome::Done
    })
}

fn no_config() -> InputError {
    InputError::Argument {
        message: "pretrain needs a config file, e.g. `fcmae pretrain configs/pretrain/quickstart.toml`"
            .to_owned(),
    }
}

/// The text as a TOML string, so that a name like `1e3` stays a name.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}

/// How this program is started: through `cargo xtask`, or by its own name.
fn command() -> String {
    let through_xtask = std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "xtask");
    if through_xtask {
        "cargo xtask".to_owned()
    } else {
        "fcmae".to_owned()
    }
}

/// The last lines of a run: what came out, where it is, and the next commands to try.
fn farewell(summary: &Summary, command: &str, config: &Path) -> String {
    let mut lines = vec![ending(summary)];
    let path = |path: &Path| path.display().to_string();
    lines.extend(
        summary
            .reconstruction
            .as_deref()
            .map(|file| format!("pictures  {}", path(file))),
    );
    lines.extend(
        summary
            .weights
            .as_deref()
            .map(|file| format!("weights   {}", path(file))),
    );
    let (run, images) = (path(&summary.run), path(&summary.images));
    match summary.ending {
        Ending::Stopped => lines.push("next      the same command continues".to_owned()),
        Ending::Finished | Ending::AlreadyFinished => {
            let epochs = 2 * summary.epochs;
            lines.push(format!(
                "next      {command} reconstruct {run} {images} --mask-ratio 0.75"
            ));
            lines.push(format!(
                "          {command} pretrain {} --set schedule.epochs={epochs}",
                path(config)
            ));
        }
    }
    lines.join("\n") + "\n"
}

fn ending(summary: &Summary) -> String {
    let Summary {
        epoch, epochs, step, ..
    } = summary;
    match summary.ending {
        Ending::AlreadyFinished => {
            format!("this run was finished before ({epochs} epochs); more `schedule.epochs` extend it")
        }
        Ending::Stopped if *step == 0 => "stopped before the first step; there is nothing to save".to_owned(),
        Ending::Stopped => format!("stopped and saved at step {step}, after {epoch} of {epochs} epochs"),
        Ending::Finished => {
            let time = duration(Duration::from_secs_f64(summary.seconds));
            let rate = summary.images_per_second;
            let loss = match (summary.first_held_out_loss, summary.held_out_loss) {
                (Some(first), Some(last)) => format!("held-out loss {first:.4} → {last:.4}"),
                _ => format!("loss {:.4}", summary.train_loss.unwrap_or(f64::NAN)),
            };
            format!("finished {epochs} epochs in {time}, {rate:.1} img/s; {loss}")
        }
    }
}

#[cfg(test)]
mod tests {
    use fcmae::trainer::Machine;

    use super::*;

    fn summary(ending: Ending) -> Summary {
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
            machine: Machine {
                device: "cpu".into(),
                kernels: "k".into(),
                libtorch: "2".into(),
                threads: 1,
            },
            weights: Some("runs/a/w".into()),
            reconstruction: None,
        }
    }

    #[test]
    fn a_finished_run_says_what_to_try_next() {
        let text = farewell(&summary(Ending::Finished), "cargo xtask", Path::new("a.toml"));
        let expected = "finished 10 epochs in 1 min 01 s, 40.0 img/s; held-out loss 0.9000 → 0.6500\n\
                        weights   runs/a/w\n\
                        next      cargo xtask reconstruct runs/a photos --mask-ratio 0.75\n          \
                        cargo xtask pretrain a.toml --set schedule.epochs=20\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_stopped_run_says_how_to_go_on() {
        let text = farewell(&summary(Ending::Stopped), "fcmae", Path::new("a.toml"));
        assert!(
            text.starts_with("stopped and saved at step 30, after 3 of 10 epochs\n"),
            "{text}"
        );
        assert!(text.ends_with("next      the same command continues\n"), "{text}");
    }

    #[test]
    fn a_name_is_a_string_whatever_it_looks_like() {
        assert_eq!(toml_string("1e3"), "\"1e3\"");
        assert_eq!(toml_string("a\"b"), "\"a\\\"b\"");
    }
}
