//! Verbs of the program: build `fcmae` in release mode, then become it, with arguments and exit code unchanged.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{data, layering, libtorch, paths, process};

/// The config of `pretrain` when none is given.
const QUICKSTART: &str = "configs/pretrain/quickstart.toml";

/// Arguments of a verb of `fcmae`; they are not looked at, `--help` included.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on to `fcmae` unchanged
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

impl Args {
    /// The arguments behind a word.
    pub(crate) fn after(&self, word: &str) -> Args {
        let words = std::iter::once(word.into()).chain(self.args.iter().cloned());
        Args {
            args: words.collect(),
        }
    }
}

/// Builds and becomes `fcmae <verb> <args…>`.
pub(crate) fn run(verb: &str, args: &Args) -> Result<()> {
    fetch_data(&args.args)?;
    let program = build_with(features(&args.args))?;
    process::exec(&mut command(&program, verb, &args.args))
}

/// `run`, with the quick start's config where none is given.
pub(crate) fn pretrain(args: &Args) -> Result<()> {
    let quickstart = quickstart();
    run(
        "pretrain",
        &Args {
            args: with_config(&args.args, &quickstart),
        },
    )
}

/// The quick start's config.
pub(crate) fn quickstart() -> PathBuf {
    PathBuf::from(paths::display(&paths::checkout().join(QUICKSTART)))
}

/// Builds the program in release mode, libtorch first; returns where it is.
pub(crate) fn build() -> Result<PathBuf> {
    build_with(&[])
}

fn build_with(features: &[&str]) -> Result<PathBuf> {
    libtorch::ensure()?;
    let build = ["build", "--release", "--package", "fcmae", "--bin", "fcmae"];
    process::run(process::cargo().args(build).args(features))?;
    let metadata = layering::metadata()?;
    let target = metadata["target_directory"]
        .as_str()
        .context("`cargo metadata` names no target folder")?;
    Ok(Path::new(target)
        .join("release")
        .join(format!("fcmae{}", std::env::consts::EXE_SUFFIX)))
}

/// Options of `cargo build` for what the arguments need.
fn features(args: &[OsString]) -> &'static [&'static str] {
    if args.iter().any(|arg| arg == "--tui") {
        &["--features", "tui"]
    } else {
        &[]
    }
}

/// In the folder that the user is in, so that relative paths mean what was typed.
fn command(program: &Path, verb: &str, args: &[OsString]) -> Command {
    let mut command = Command::new(paths::display(program));
    command.arg(verb).args(args);
    command
}

/// The arguments, led by the quick start's config unless they name one or only ask for help.
fn with_config(args: &[OsString], quickstart: &Path) -> Vec<OsString> {
    let named = Peek::at(args).file.is_some() || args.first().is_some_and(|arg| !is_option(arg));
    let lead = if named || asks_for_help(args) {
        None
    } else {
        Some(quickstart.into())
    };
    lead.into_iter().chain(args.iter().cloned()).collect()
}

fn is_option(arg: &OsString) -> bool {
    arg.to_string_lossy().starts_with('-')
}

fn asks_for_help(args: &[OsString]) -> bool {
    args.iter().any(|arg| arg == "--help" || arg == "-h")
}

/// Fetches the named data set of the run's config, if it has one and that is not there yet.
fn fetch_data(args: &[OsString]) -> Result<()> {
    if asks_for_help(args) {
        return Ok(());
    }
    // a config that cannot be read: the program says it better
    Peek::at(args)
        .dataset()
        .map_or(Ok(()), |name| data::provide(&name))
}

/// What can be told of a run from its arguments without knowing any of the program's options but `--set`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Peek {
    file: Option<PathBuf>,
    overrides: Vec<String>,
}

impl Peek {
    fn at(args: &[OsString]) -> Peek {
        let mut peek = Peek::default();
        let mut rest = args.iter().map(|arg| arg.to_string_lossy());
        while let Some(arg) = rest.next() {
            if arg == "--set" {
                peek.overrides.extend(rest.next().map(String::from));
            } else if let Some(setting) = arg.strip_prefix("--set=") {
                peek.overrides.push(setting.to_owned());
            } else if peek.file.is_none() && !arg.starts_with('-') && arg.ends_with(".toml") {
                peek.file = Some(PathBuf::from(&*arg));
            }
        }
        peek
    }

    /// `data.dataset` of the config with its `extends` and `--set`, if it can be read at all.
    fn dataset(&self) -> Option<String> {
        let resolved = fcmae_config::load(self.file.as_ref()?, &self.overrides).ok()?;
        Some(resolved.table().get("data")?.get("dataset")?.as_str()?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn arguments_reach_the_program_unchanged() {
        let args = words("runs/a.toml --set optimizer.lr=1e-3 --json -- -x");
        let line = process::line(&command(Path::new("target/release/fcmae"), "verify", &args));
        assert_eq!(
            line,
            "target/release/fcmae verify runs/a.toml --set optimizer.lr=1e-3 --json -- -x"
        );
    }

    #[test]
    fn the_quick_start_is_what_one_gets_without_a_config() {
        let check = |line: &str, expected: &str| {
            assert_eq!(
                with_config(&words(line), Path::new("q.toml")),
                words(expected),
                "{line}"
            );
        };
        check("", "q.toml");
        check(
            "--name trial --set data.path=other.toml",
            "q.toml --name trial --set data.path=other.toml",
        );
        check("my.toml --quiet", "my.toml --quiet");
        check("--quiet my.toml", "--quiet my.toml");
        check("configs/mine", "configs/mine");
        check("--help", "--help");
    }

    #[test]
    fn the_screen_is_built_for_who_asks_for_it() {
        assert_eq!(features(&words("a.toml --tui")), ["--features", "tui"]);
        assert_eq!(features(&words("a.toml --quiet")), [""; 0]);
    }

    #[test]
    fn the_data_set_is_read_through_extends_and_overrides() {
        let home = tempfile::tempdir().unwrap();
        let (base, run) = (home.path().join("base.toml"), home.path().join("run.toml"));
        fs::write(&base, "[data]\ndataset = \"elpv\"\n").unwrap();
        fs::write(&run, "extends = \"base.toml\"\n").unwrap();
        let dataset = |extra: &str| {
            let mut args = vec![run.clone().into_os_string()];
            args.extend(words(extra));
            Peek::at(&args).dataset()
        };
        assert_eq!(dataset("").as_deref(), Some("elpv"));
        assert_eq!(dataset("--set data.dataset=cells").as_deref(), Some("cells"));
        assert_eq!(
            dataset("--set=data.dataset=cells --quiet").as_deref(),
            Some("cells")
        );
        fs::write(&base, "[data]\npath = \"images\"\n").unwrap();
        assert_eq!(dataset(""), None);
        fs::write(&base, "not toml").unwrap();
        assert_eq!(
            dataset(""),
            None,
            "a broken config is for the program to complain about"
        );
        assert_eq!(Peek::at(&words("photo.png --json")), Peek::default());
    }
}
