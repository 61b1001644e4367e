//! `check`: everything but the tests, the cheapest first, so that a slip is told within seconds.

use std::process::Command;

use anyhow::Result;

use crate::{libtorch, licences, process, tidy};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rewrite the files that `cargo fmt` would complain about, and the list of licences, then go on
    #[arg(long)]
    fix: bool,
}

/// Stops at the first thing that is wrong.
pub(crate) fn run(args: &Args) -> Result<()> {
    process::run(&mut cargo(if args.fix {
        &["fmt", "--all"]
    } else {
        &["fmt", "--all", "--check"]
    }))?;
    tidy::run()?;
    licences::check(args.fix)?;
    deny()?;
    libtorch::ensure()?;
    process::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    process::run(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    eprintln!("check: all is well");
    Ok(())
}

/// Licences, duplicates and sources of the dependencies, where `cargo-deny` is installed. Advisories are left to who has
/// a network: `cargo deny check advisories`.
fn deny() -> Result<()> {
    if process::capture(&mut cargo(&["deny", "--version"])).is_err() {
        eprintln!("check: cargo-deny is not installed, licences and sources of dependencies are not checked");
        return Ok(());
    }
    process::run(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))
}

fn cargo(args: &[&str]) -> Command {
    let mut command = process::cargo();
    command.args(args);
    command
}
