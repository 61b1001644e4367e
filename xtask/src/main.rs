//! `cargo xtask <verb>`: the front door. Provisions libtorch, fetches data, builds and runs `fcmae`, tests, benches.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod check;
mod download;
mod layering;
mod libtorch;
mod paths;
mod pins;
mod process;
mod setup;
mod staging;
mod test;
mod tidy;

/// The front door of fcmae: everything that is not the program itself.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install libtorch into the cache and link it into the checkout (implied by every verb that needs it)
    Setup(setup::Args),
    /// Run all tests: `cargo test --workspace --no-fail-fast`
    Test(test::Args),
    /// Formatting, house rules, clippy and docs, the cheapest first
    Check(check::Args),
    /// The house rules alone: crate floors, first lines, no paths of one machine
    Tidy,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<process::BadInput>() { 2 } else { 1 })
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Tidy => tidy::run(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_of_the_program_are_not_ours_to_read() {
        let cli = Cli::try_parse_from(["x", "test", "-p", "fcmae-data", "--", "--nocapture"]).unwrap();
        assert!(
            matches!(cli.verb, Verb::Test(args) if args.args == ["-p", "fcmae-data", "--", "--nocapture"])
        );
    }
}
