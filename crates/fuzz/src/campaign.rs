//! A target executed by workers, one after the other: one that dies or hangs has found something.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fcmae_fuzz::{Bench, Target};
use tempfile::TempDir;

use crate::worker::{MEMORY, Standing, keep};

/// An execution that takes longer than this is a finding. A usual one takes a tenth of a millisecond; on a busy
/// machine a process may have to wait.
const LONGEST: Duration = Duration::from_secs(20);

/// How often a worker is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// How often a long campaign says where it stands.
const NEWS: Duration = Duration::from_secs(60);

/// Above the lines that a [`Done`] makes.
pub(crate) const HEADER: &str = "target          executions   per second    read   findings";

/// All executions of one target.
pub(crate) struct Campaign<'a> {
    target: &'static Target,
    seed: u64,
    executions: u64,
    findings: &'a Path,
    /// Where the worker tells how far it is.
    standing: File,
    /// For the files of workers, which may die before they take them away.
    scratch: TempDir,
}

/// What came of a campaign.
#[derive(Debug)]
pub(crate) struct Done {
    target: &'static str,
    executions: u64,
    seconds: f64,
    read: u64,
    pub(crate) findings: u64,
}

/// How a worker ended.
enum End {
    Done,
    /// Something ended it, or had to.
    Dead(String),
}

impl<'a> Campaign<'a> {
    pub(crate) fn new(
        target: &'static Target,
        seed: u64,
        executions: u64,
        findings: &'a Path,
    ) -> Result<Campaign<'a>> {
        let name = Standing::file(findings, target);
        let mut options = File::options();
        options.create(true).truncate(true).read(true).write(true);
        let standing = options.open(&name).with_context(|| name.display().to_string())?;
        Ok(Campaign {
            target,
            seed,
            executions,
            findings,
            standing,
            scratch: scratch()?,
        })
    }

    /// Runs workers until every execution is done.
    pub(crate) fn run(&self) -> Result<Done> {
        let started = Instant::now();
        Standing::default().store(&self.standing)?;
        let mut from = 0;
        while from < self.executions {
            match self.watch(from, started)? {
                End::Done => break,
                End::Dead(problem) => from = self.note(&problem)?,
            }
        }
        let standing = Standing::load(&self.standing)?;
        std::fs::remove_file(Standing::file(self.findings, self.target))?;
        Ok(Done {
            target: self.target.name,
            executions: self.executions,
            seconds: started.elapsed().as_secs_f64(),
            read: standing.read,
            findings: standing.findings,
        })
    }

    /// Keeps the input that ended a worker; the number of the next execution.
    fn note(&self, problem: &str) -> Result<u64> {
        let mut standing = Standing::load(&self.standing)?;
        let number = standing.number;
        let bytes = Bench::new(self.target, self.seed)?.input(number);
        keep(self.findings, self.target, self.seed, number, &bytes, problem)?;
        standing.findings += 1;
        standing.store(&self.standing)?;
        Ok(number + 1)
    }

    /// Starts a worker and waits for its end, which may have to be made.
    fn watch(&self, from: u64, started: Instant) -> Result<End> {
        let mut worker = self.start(from)?;
        let (mut last, mut still) = (from, Duration::ZERO);
        let mut told = Instant::now();
        loop {
            if let Some(status) = worker.try_wait()? {
                return Ok(if status.success() {
                    End::Done
                } else {
                    End::Dead(describe(status))
                });
            }
            let standing = Standing::load(&self.standing)?;
            if standing.number != last {
                (last, still) = (standing.number, Duration::ZERO);
            }
            if still > LONGEST {
                worker.kill()?;
                worker.wait()?;
                return Ok(End::Dead(format!("took longer than {} s", LONGEST.as_secs())));
            }
            if told.elapsed() > NEWS {
                told = Instant::now();
                let rate = last as f64 / started.elapsed().as_secs_f64();
                eprintln!(
                    "{}: {last} executions, {rate:.0} a second, {} findings",
                    self.target.name, standing.findings
                );
            }
            sleep(GLANCE);
            still += GLANCE; // counted, not read off a clock: both processes may be halted for hours
        }
    }

    fn start(&self, from: u64) -> Result<Child> {
        let program = std::env::current_exe().context("this program's own file")?;
        let mut command = Command::new(program);
        command
            .args(["--target", self.target.name])
            .args(["--seed", &self.seed.to_string()])
            .args(["--executions", &self.executions.to_string()])
            .args(["--worker-from", &from.to_string()])
            .arg("--findings")
            .arg(self.findings)
            .env("RUST_BACKTRACE", "0")
            .env("TMPDIR", self.scratch.path())
            .stdin(Stdio::null());
        command.spawn().context("a worker could not be started")
    }
}

/// Memory rather than disk, where there is such a folder.
fn scratch() -> io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// What it means that a worker did not end by itself.
fn describe(status: ExitStatus) -> String {
    format!(
        "ended the process ({status}): memory beyond {} MiB, a stack overflow, or an abort",
        MEMORY >> 20
    )
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.executions as f64 / self.seconds.max(1e-9);
        let read = 100.0 * self.read as f64 / self.executions.max(1) as f64;
        write!(
            f,
            "{:<14}{:>12}{rate:>13.0}{read:>6.1} %{:>11}",
            self.target, self.executions, self.findings
        )
    }
}
