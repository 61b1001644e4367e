//! The program behind `cargo xtask fuzz`: executions by the million, in a process that may be killed.

#![expect(clippy::print_stdout, reason = "the table of findings goes to stdout")]

mod campaign;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use fcmae_fuzz::{Bench, TARGETS, Target};

use campaign::Campaign;

/// Damaged files for everything that reads files: prints executions and findings, and keeps each input that was one
#[derive(Debug, Parser)]
#[command(name = "fuzz", bin_name = "cargo xtask fuzz")]
struct Args {
    /// Only this target; can be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Executions of each target
    #[arg(long, default_value_t = 100_000)]
    executions: u64,
    /// Decides all damage; another one, other damage
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where inputs are kept that were findings
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz")]
    findings: PathBuf,
    /// Execute this file once, with the one target that is named
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Be the process that executes, from this number on
    #[arg(long, hide = true)]
    worker_from: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found.
fn run(args: &Args) -> Result<bool> {
    let targets = targets(&args.target)?;
    if let Some(file) = &args.replay {
        return replay(&targets, file);
    }
    std::fs::create_dir_all(&args.findings).with_context(|| args.findings.display().to_string())?;
    if let (Some(from), [target]) = (args.worker_from, &targets[..]) {
        worker::run(target, args.seed, from..args.executions, &args.findings)?;
        return Ok(true);
    }
    println!("{}", campaign::HEADER);
    let mut is_clean = true;
    for target in targets {
        let done = Campaign::new(target, args.seed, args.executions, &args.findings)?.run()?;
        println!("{done}");
        is_clean &= done.findings == 0;
    }
    Ok(is_clean)
}

fn targets(names: &[String]) -> Result<Vec<&'static Target>> {
    if names.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |name: &String| {
        let known = || {
            TARGETS
                .iter()
                .map(|target| target.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let found = TARGETS.iter().find(|target| target.name == name);
        found.with_context(|| format!("--target {name}: there are {}", known()))
    };
    names.iter().map(find).collect()
}

fn replay(targets: &[&'static Target], file: &PathBuf) -> Result<bool> {
    let [target] = targets else {
        bail!("--replay needs the one --target that reads the file");
    };
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let outcome = Bench::new(target, 0)?.execute(&bytes, 0);
    match &outcome {
        Ok(outcome) => println!("{outcome:?}"),
        Err(problem) => println!("{problem}"),
    }
    Ok(outcome.is_ok())
}
