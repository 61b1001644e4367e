//! `ablate`: the cells of a matrix file, trained and measured one after the other, and a table of them.
//!
//! A [`matrix`] is read into [`cell`]s; each cell and seed has [`job`]s, verbs of the program that are known by the
//! hash of their settings. The [`store`] finds jobs again by that hash, whichever cell or matrix has done them, so what
//! is done is skipped, what was killed goes on, and what two cells share runs once.

mod cell;
mod child;
mod estimate;
mod job;
mod matrix;
mod measure;
mod plan;
mod results;
mod run;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, BadInput};
use crate::staging::Lock;
use crate::{data, paths, program};
use child::Signals;
use matrix::Which;
use plan::{Plan, Work};
use results::Results;
use run::{Failures, Runner};
use store::Store;

/// Options of `ablate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A matrix, e.g. configs/ablations/table2a.toml
    file: PathBuf,
    /// The small profile instead of the paper's recipe
    #[arg(long)]
    quick: bool,
    /// Only cells of this name (`*` stands for any characters, `cell/seed-0` is one run); can be repeated
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Runs of each cell [default: as the matrix says]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,
    /// Check every cell, show what is to be done and about how long it takes; train nothing
    #[arg(long)]
    dry_run: bool,
    /// A built `fcmae` [default: the one of this checkout, built in release mode]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Runs what is not done yet, then prints the table.
pub(crate) fn run(args: &Args) -> Result<()> {
    let which = if args.quick { Which::Quick } else { Which::Full };
    let root = Path::new(store::ROOT);
    let plan = Plan::new(&args.file, root, which, args.seeds, &args.only)?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => PathBuf::from(paths::display(&program::build()?)),
    };
    let mut store = Store::open(root, &plan.folder)?;
    check(&plan, &store, &program)?;
    if args.dry_run {
        print!("{}", describe(&plan, &store));
        println!("{}", estimate::estimate(&plan, &store, &program)?.text());
        return Ok(());
    }
    fetch(&plan, &store)?;
    let _lock = Lock::take(&plan.folder)?;
    store = Store::open(root, &plan.folder)?; // another process may have been at work until now
    let failures = Runner::new(&plan, &program, Signals::listen()?).run(&mut store)?;
    let results = Results::collect(&plan, &store)?;
    results.write(&plan.folder)?;
    print!("{}", results.text());
    report(&program, &plan.folder)?;
    told(&failures)
}

/// Lets the program check every config that is still to be trained: a slip in the last cell is told before the first
/// one runs.
fn check(plan: &Plan, store: &Store, program: &Path) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (work, job) in plan.open(store) {
        let Some(mut command) = job.check(program) else {
            continue;
        };
        if !seen.insert((work.cell, job.kind)) {
            continue; // another seed
        }
        let output = command
            .output()
            .with_context(|| format!("`{}` could not be started", program.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim().trim_start_matches("error: ");
            return Err(BadInput(format!("{}: {said}", plan.cells[work.cell].name)).into());
        }
    }
    Ok(())
}

/// Fetches named data sets that are not there.
fn fetch(plan: &Plan, store: &Store) -> Result<()> {
    let open = plan.open(store);
    let names: BTreeSet<&str> = open.iter().filter_map(|(_, job)| job.dataset()).collect();
    names.into_iter().try_for_each(data::provide)
}

/// What is done and what is to be done, cell by cell.
fn describe(plan: &Plan, store: &Store) -> String {
    let open: BTreeSet<(&str, &str)> = plan
        .open(store)
        .into_iter()
        .map(|(work, job)| (work.name.as_str(), job.hash.as_str()))
        .collect();
    let width = plan
        .chosen()
        .map(|work| work.name.len())
        .max()
        .unwrap_or_default();
    let row = |work: &Work| {
        let jobs = work.jobs.iter().map(|job| {
            let verb = job.kind.verb();
            match store.find(&job.hash) {
                Some(entry) if entry.record.done.is_some() => format!("{verb} done"),
                _ if !open.contains(&(work.name.as_str(), job.hash.as_str())) => format!("{verb} shared"),
                Some(_) => format!("{verb} goes on"),
                None => format!("{verb} to do"),
            }
        });
        let name = &work.name;
        format!("{name:<width$}  {}\n", jobs.collect::<Vec<_>>().join(", "))
    };
    let rows: String = plan.chosen().map(row).collect();
    format!("{} in {}\n{rows}", plan.matrix.title, plan.folder.display())
}

/// Lets the program make `report.html`, if it can.
fn report(program: &Path, folder: &Path) -> Result<()> {
    let place = folder.display();
    if process::capture(Command::new(program).args(["report", "--help"])).is_err() {
        eprintln!(
            "{place}/results.{{json,csv,md}}; this fcmae has no verb `report`, so there is no report.html"
        );
        return Ok(());
    }
    let mut command = Command::new(program);
    command
        .args(["report", "--matrix"])
        .arg(folder.join("results.json"));
    process::run(command.arg("--out").arg(folder.join("report.html")))?;
    eprintln!("{place}/results.{{json,csv,md}}, {place}/report.html");
    Ok(())
}

fn told(failures: &Failures) -> Result<()> {
    match failures.as_slice() {
        [] => Ok(()),
        failed => bail!("failed: {}; the same command tries again", failed.join(", ")),
    }
}
