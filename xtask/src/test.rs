//! `test`: the whole test suite, as cargo prints it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::{libtorch, process};

/// Arguments of `test`.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on to `cargo test`; with a package named (`-p`), only that one is tested
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<OsString>,
}

/// Sets libtorch up if needed, then becomes `cargo test`.
pub(crate) fn run(args: &Args) -> Result<()> {
    libtorch::ensure()?;
    process::exec(&mut command(&args.args))
}

fn command(args: &[OsString]) -> Command {
    let mut command = process::cargo();
    command.arg("test");
    let own = args
        .iter()
        .take_while(|arg| *arg != "--")
        .map(|arg| arg.to_string_lossy());
    let narrowed = own
        .into_iter()
        .any(|a| a.starts_with("-p") || a == "--package" || a.starts_with("--package="));
    if !narrowed {
        command.arg("--workspace");
    }
    command.arg("--no-fail-fast").args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_plain_cargo() {
        let check = |args: &[&str], expected: &str| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            assert!(
                process::line(&command(&args)).ends_with(expected),
                "{}",
                process::line(&command(&args))
            );
        };
        check(&[], "cargo test --workspace --no-fail-fast");
        check(&["grn"], "cargo test --workspace --no-fail-fast grn");
        check(&["-p", "fcmae-data"], "cargo test --no-fail-fast -p fcmae-data");
        check(&["--", "-p"], "cargo test --workspace --no-fail-fast -- -p");
    }
}
