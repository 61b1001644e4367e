//! `cargo xtask <verb>`: the front door. Provisions libtorch, fetches data, builds and runs `fcmae`, tests, benches.

#![expect(
    clippy::print_stdout,
    reason = "xtask is a program: what it is asked for goes to stdout"
)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod ablate;
mod bench;
mod chaos;
mod check;
mod cpu_wheel;
mod data;
mod doctor;
mod download;
mod elpv;
mod fuzz;
mod instructions;
mod interop;
mod layering;
mod libtorch;
mod licences;
mod paths;
mod peer;
mod pins;
mod process;
mod program;
mod resume;
mod setup;
mod staging;
mod table;
mod test;
mod tidy;
mod weights;

/// The front door of fcmae: everything that is not the program itself.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install libtorch into the cache and link it into the checkout (implied by every verb that needs it)
    Setup(setup::Args),
    /// Say what was found on this machine and, for what is missing, the command that mends it
    Doctor(doctor::Args),
    /// List, fetch and verify named data sets; pack and measure any
    Data(data::Args),
    /// List and fetch the weights that the authors released (CC-BY-NC)
    Weights(weights::Args),
    /// Pre-train; without a config file, the ten-minute quick start [passed to `fcmae pretrain`]
    Pretrain(program::Args),
    /// Train a classifier with labels [passed to `fcmae finetune`]
    Finetune(program::Args),
    /// Measure some steps: hours, memory and disk of the whole run [passed to `fcmae plan`]
    Plan(program::Args),
    /// Prove the masking on this machine for a config [passed to `fcmae verify`]
    Verify(program::Args),
    /// Run a refused step again and say where its numbers go wrong [passed to `fcmae replay`]
    Replay(program::Args),
    /// Picture and loss for an image or a folder [passed to `fcmae reconstruct`]
    Reconstruct(program::Args),
    /// What a classifier gets right [passed to `fcmae evaluate`]
    Evaluate(program::Args),
    /// The classes of pictures [passed to `fcmae predict`]
    Predict(program::Args),
    /// Features of pictures [passed to `fcmae embed`]
    Embed(program::Args),
    /// Linear probe and nearest neighbours on frozen features [passed to `fcmae probe`]
    Probe(program::Args),
    /// What features are like: collapse, dead channels, rank, activation maps [passed to `fcmae analyze`]
    Analyze(program::Args),
    /// A run, several, or a matrix as one HTML file [passed to `fcmae report`]
    Report(program::Args),
    /// What is in a checkpoint [passed to `fcmae inspect`]
    Inspect(program::Args),
    /// Weights of one program to those of another [passed to `fcmae convert`]
    Convert(program::Args),
    /// Train and measure every cell of a matrix file, e.g. a table of the paper
    Ablate(ablate::Args),
    /// Kill pre-training, packing and converting at random moments, carry them on, and compare what they leave
    Chaos(chaos::Args),
    /// Run all tests: `cargo test --workspace --no-fail-fast`
    Test(test::Args),
    /// Formatting, house rules, clippy and docs, the cheapest first
    Check(check::Args),
    /// The house rules alone: crate floors, first lines, no paths of one machine
    Tidy,
    /// Weights to the real timm and transformers and back, all sizes: do they say the same of the same pictures?
    Interop(interop::Args),
    /// Damaged files for everything that reads files: executions and findings [passed to `crates/fuzz`]
    Fuzz(program::Args),
    /// Time, memory and FLOP/s: steps and the loader against plain PyTorch, mask ratios, predictions, single kernels
    Bench(bench::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<process::Stopped>() => {
            eprintln!("{error}");
            ExitCode::from(75)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(if error.is::<process::BadInput>() { 2 } else { 1 })
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Data(args) => data::run(&args),
        Verb::Weights(args) => weights::run(&args),
        Verb::Pretrain(args) => program::pretrain(&args),
        Verb::Finetune(args) => program::run("finetune", &args),
        Verb::Plan(args) => program::run("plan", &args),
        Verb::Verify(args) => program::run("verify", &args),
        Verb::Replay(args) => program::run("replay", &args),
        Verb::Reconstruct(args) => program::run("reconstruct", &args),
        Verb::Evaluate(args) => program::run("evaluate", &args),
        Verb::Predict(args) => program::run("predict", &args),
        Verb::Embed(args) => program::run("embed", &args),
        Verb::Probe(args) => program::run("probe", &args),
        Verb::Analyze(args) => program::run("analyze", &args),
        Verb::Report(args) => program::run("report", &args),
        Verb::Inspect(args) => program::run("inspect", &args),
        Verb::Convert(args) => program::run("convert", &args),
        Verb::Ablate(args) => ablate::run(&args),
        Verb::Chaos(args) => chaos::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Tidy => tidy::run(),
        Verb::Interop(args) => interop::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Bench(args) => bench::run(&args),
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
        let cli = Cli::try_parse_from(["x", "pretrain", "--help"]).unwrap();
        assert!(matches!(cli.verb, Verb::Pretrain(args) if args.args == ["--help"]));
        let cli = Cli::try_parse_from(["x", "data", "pack", "images", "shards", "--max-side", "256"]);
        assert!(cli.is_ok(), "{cli:?}");
        let cli = Cli::try_parse_from(["x", "verify", "--set", "a=b", "--", "-x", "--json"]).unwrap();
        assert!(
            matches!(cli.verb, Verb::Verify(args) if args.args == ["--set", "a=b", "--", "-x", "--json"])
        );
        let cli = Cli::try_parse_from(["x", "test", "-p", "fcmae-data", "--", "--nocapture"]).unwrap();
        assert!(
            matches!(cli.verb, Verb::Test(args) if args.args == ["-p", "fcmae-data", "--", "--nocapture"])
        );
    }
}
