//! Verbs of the program, one file each.

mod analyze;
mod bench_step;
mod convert;
mod data;
mod embed;
mod evaluate;
mod failure;
mod finetune;
mod inspect;
mod measured;
mod output;
mod plan;
mod predict;
mod pretrain;
mod probe;
mod reconstruct;
mod replay;
mod report;
mod run_args;
#[cfg(feature = "tui")]
mod tui;
mod verify;
mod weights;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use fcmae::trainer::Unreadable;

/// Masked pre-training of ConvNeXt V2 with a really sparse encoder.
#[derive(Debug, Parser)]
#[command(name = "fcmae", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 bad input, 75 stopped by a signal; the same command goes on.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Pre-train as a config file says; the same command continues its run
    Pretrain(pretrain::Args),
    /// Train a classifier with labels as a config file says; the same command continues its run
    Finetune(finetune::Args),
    /// Measure some steps of a run, and tell what all of it would take: hours, memory, disk
    Plan(plan::Args),
    /// Prove the masking on this machine: sparse = masked-dense, no leak, independent images
    Verify(verify::Args),
    /// Run the step again at which a run met a loss that is not finite, and say where it begins
    Replay(replay::Args),
    /// Picture and loss: what a model makes of an image or a folder
    Reconstruct(reconstruct::Args),
    /// What a classifier gets right: all measures with intervals, confusion matrix
    Evaluate(evaluate::Args),
    /// The classes of pictures, with logits
    Predict(predict::Args),
    /// Features of pictures
    Embed(embed::Args),
    /// How much frozen features know of the labels: linear probe, nearest neighbours
    Probe(probe::Args),
    /// What features are like: collapse, dead channels, effective rank, class selectivity, activation maps
    Analyze(analyze::Args),
    /// A run, several runs, or a matrix of experiments as one HTML file
    Report(report::Args),
    /// What is in a checkpoint, of this or another program
    Inspect(inspect::Args),
    /// Weights of one program to those of another: fcmae, the reference, timm, transformers
    Convert(convert::Args),
    /// Make tar shards of images, count and measure a data set
    Data(data::Args),
    /// Time of a whole step on random images; prints one line of JSON
    #[command(hide = true)]
    BenchStep(bench_step::Args),
}

/// How a verb ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It did what was asked.
    Done,
    /// It found what it looks for: something is wrong.
    Failed,
    /// A signal stopped it after a checkpoint.
    Stopped,
}

impl Outcome {
    /// Of a verb that went through pictures and had to leave some out.
    fn of_pictures(unreadable: &[Unreadable]) -> Outcome {
        if unreadable.is_empty() {
            Outcome::Done
        } else {
            Outcome::Failed
        }
    }

    fn code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Stopped => 75, // EX_TEMPFAIL: try again
        }
    }
}

/// Runs the verb that was typed.
pub(crate) fn main() -> ExitCode {
    std::panic::set_hook(Box::new(failure::report_panic));
    let verb = Cli::parse().verb;
    match catch_unwind(AssertUnwindSafe(|| run(verb))) {
        Ok(Ok(outcome)) => ExitCode::from(outcome.code()),
        Ok(Err(error)) => {
            eprintln!("error: {}", failure::describe(&error));
            ExitCode::from(failure::code(&error))
        }
        Err(_) => ExitCode::from(Outcome::Failed.code()), // the hook has reported it
    }
}

fn run(verb: Verb) -> Result<Outcome> {
    if !matches!(verb, Verb::Pretrain(_) | Verb::Finetune(_)) {
        output::tell_of_listing(); // those two may be asked to be quiet
    }
    match verb {
        Verb::Pretrain(args) => pretrain::run(&args),
        Verb::Finetune(args) => finetune::run(&args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Reconstruct(args) => reconstruct::run(&args),
        Verb::Evaluate(args) => evaluate::run(&args),
        Verb::Predict(args) => predict::run(&args),
        Verb::Embed(args) => embed::run(&args),
        Verb::Probe(args) => probe::run(&args),
        Verb::Analyze(args) => analyze::run(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Convert(args) => convert::run(&args),
        Verb::Data(args) => data::run(&args),
        Verb::BenchStep(args) => bench_step::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_sentence_of_help() {
        for verb in Cli::command().get_subcommands() {
            assert!(verb.get_about().is_some(), "{}", verb.get_name());
        }
    }
}
