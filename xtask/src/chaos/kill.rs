//! Killing a verb until it is through, and comparing what it left with what an undisturbed one leaves.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::clock::Random;
use super::victim::{Aim, Victim};

/// What came of the kills of one verb.
#[derive(Debug)]
pub(super) struct Survived {
    /// Kills that hit.
    pub(super) kills: u32,
    /// Pieces of work, each carried on until it was done; some were through before a kill could hit.
    pub(super) runs: u32,
    /// Kills in those that ended equal to the undisturbed one.
    pub(super) survived: u32,
    /// How many of these pieces did.
    pub(super) equal: u32,
    /// SHA-256 of what the undisturbed one left.
    pub(super) expected: String,
}

impl Survived {
    pub(super) fn json(&self, name: &str) -> Value {
        json!({
            "killed": name, "kills": self.kills, "runs": self.runs, "survived": self.survived,
            "equal": self.equal, "sha256": self.expected,
        })
    }
}

/// A process may take so long before it counts as hung.
const LIMIT: Duration = Duration::from_secs(300);

/// Kills `victim` until `kills` have hit. A piece of work that is done makes room for a new one.
pub(super) fn attack(
    program: &Path,
    victim: &Victim,
    kills: u32,
    random: &mut Random,
    folder: &Path,
) -> Result<Survived> {
    let killer = Killer {
        program,
        victim,
        weights: weights(program, victim, &folder.join("weights"))?,
    };
    let (expected, whole) = killer.undisturbed(&folder.join("undisturbed"))?;
    let mut survived = Survived {
        kills: 0,
        runs: 0,
        survived: 0,
        equal: 0,
        expected,
    };
    while survived.kills < kills {
        survived.runs += 1;
        let place = folder.join(survived.runs.to_string());
        let (hits, is_equal) =
            killer.work(&place, kills - survived.kills, whole, random, &survived.expected)?;
        survived.kills += hits;
        if is_equal {
            survived.survived += hits;
            survived.equal += 1;
            fs::remove_dir_all(&place)?; // what went wrong stays to be looked at
        }
    }
    Ok(survived)
}

/// The weights of a short run, for verbs that need some.
fn weights(program: &Path, victim: &Victim, place: &Path) -> Result<Option<PathBuf>> {
    if !victim.needs_weights() {
        return Ok(None);
    }
    let [pretrain, ..] = Victim::all();
    let killer = Killer {
        program,
        victim: &pretrain,
        weights: None,
    };
    killer.undisturbed(place)?;
    Ok(Some(place.join(pretrain.left[0])))
}

struct Killer<'a> {
    program: &'a Path,
    victim: &'a Victim,
    weights: Option<PathBuf>,
}

impl Killer<'_> {
    /// What it leaves when nobody disturbs it, and how long it takes.
    fn undisturbed(&self, place: &Path) -> Result<(String, Duration)> {
        self.victim.prepare(place, self.weights.as_deref())?;
        let started = Instant::now();
        self.finish(place)?;
        let result = self.victim.result(place)?;
        let result =
            result.with_context(|| format!("{} is not done in {}", self.victim.name, place.display()))?;
        Ok((result, started.elapsed()))
    }

    /// One piece of work, killed up to `kills` times: how often that was, and whether it ended as it should.
    fn work(
        &self,
        place: &Path,
        kills: u32,
        whole: Duration,
        random: &mut Random,
        expected: &str,
    ) -> Result<(u32, bool)> {
        self.victim.prepare(place, self.weights.as_deref())?;
        let mut hits = 0;
        while hits < kills && self.victim.result(place)?.is_none() {
            let mut child = self.start(place)?;
            let moment = random.before(whole);
            if self.wait_for_it(&mut child, place, moment)?.is_none() {
                child.kill()?;
                child.wait()?;
                hits += 1;
            }
        }
        if self.victim.result(place)?.is_none() {
            self.finish(place)?;
        }
        Ok((hits, self.victim.result(place)?.as_deref() == Some(expected)))
    }

    /// Waits for the moment to kill; the exit status if it is through before that.
    fn wait_for_it(&self, child: &mut Child, place: &Path, moment: Duration) -> Result<Option<ExitStatus>> {
        let started = Instant::now();
        let mut is_written_since = None;
        loop {
            if let Some(status) = child.try_wait()? {
                ensure!(
                    status.success(),
                    "{} failed by itself: {}",
                    self.victim.name,
                    said(place)
                );
                return Ok(Some(status));
            }
            let is_time = match self.victim.aim {
                Aim::Anywhere => started.elapsed() >= moment,
                Aim::Writing { folder, prefix } => {
                    // a moment of the whole run to look from, then the first few milliseconds of what is being written
                    let is_seen = started.elapsed() >= moment && has_name(&place.join(folder), prefix);
                    let since = is_written_since.or(is_seen.then(Instant::now));
                    is_written_since = since;
                    since.is_some_and(|since| since.elapsed() >= moment / 500)
                }
            };
            if is_time {
                return Ok(None);
            }
            ensure!(
                started.elapsed() < LIMIT,
                "{} hangs in {}",
                self.victim.name,
                place.display()
            );
            sleep(Duration::from_micros(200));
        }
    }

    /// Runs it to its end.
    fn finish(&self, place: &Path) -> Result<()> {
        let status = self.start(place)?.wait()?;
        ensure!(status.success(), "{} failed: {}", self.victim.name, said(place));
        Ok(())
    }

    fn start(&self, place: &Path) -> Result<Child> {
        let log = File::create(place.join("log"))?;
        let mut command = self.victim.command(self.program, place)?;
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
            .spawn()
            .with_context(|| format!("{} could not be started", self.victim.name))
    }
}

/// What the last process said.
fn said(place: &Path) -> String {
    let log = fs::read_to_string(place.join("log")).unwrap_or_default();
    log.trim().to_owned()
}

fn has_name(folder: &Path, prefix: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
}
