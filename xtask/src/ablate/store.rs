//! What is on the disk of a matrix: a record beside each job's results, found again by the hash of its settings.
//!
//! ```text
//! runs/ablations/<matrix>/
//!   results.json, results.csv, results.md, report.html
//!   <cell>/seed-0/pretrain.json      a record
//!   <cell>/seed-0/pretrain/          the run, or what else the job leaves
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::measure::Kind;

/// Where all matrices lie, from the folder that the user is in: beside other runs.
pub(super) const ROOT: &str = "runs/ablations";

/// What is known of a job; written when it begins and when it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) hash: String,
    pub(super) kind: Kind,
    /// The command line.
    pub(super) command: String,
    /// Absent while it is not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) done: Option<Done>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Seconds of work, interruptions left out.
    pub(super) seconds: f64,
    /// By the key of the measure.
    pub(super) measures: BTreeMap<String, f64>,
    /// Its weights, from the place of its results.
    pub(super) weights: PathBuf,
}

/// A record and the place that it stands for: its own path without `.json`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) stem: PathBuf,
    pub(super) record: Record,
}

/// The records of all matrices, by hash.
#[derive(Debug)]
pub(super) struct Store {
    entries: BTreeMap<String, Entry>,
}

impl Store {
    /// Reads every record below `root`. Of equal jobs the one that is done counts, and else one of `own`.
    pub(super) fn open(root: &Path, own: &Path) -> Result<Store> {
        let mut store = Store {
            entries: BTreeMap::new(),
        };
        for matrix in folders(root)? {
            for seed in folders(&matrix)?
                .iter()
                .map(|cell| folders(cell))
                .collect::<Result<Vec<_>>>()?
                .concat()
            {
                store.read(&seed, matrix == *own)?;
            }
        }
        Ok(store)
    }

    fn read(&mut self, folder: &Path, is_own: bool) -> Result<()> {
        for file in entries(folder)? {
            if file.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let Ok(record) = serde_json::from_str::<Record>(&text) else {
                continue; // a file of the user's
            };
            let known = self.find(&record.hash);
            let is_better = known.is_none_or(|known| match (&known.record.done, &record.done) {
                (Some(_), None) => false,
                (None, Some(_)) => true,
                _ => is_own,
            });
            if is_better {
                let stem = file.with_extension("");
                self.entries.insert(record.hash.clone(), Entry { stem, record });
            }
        }
        Ok(())
    }

    /// What is known of a job.
    pub(super) fn find(&self, hash: &str) -> Option<&Entry> {
        self.entries.get(hash)
    }

    /// What a job came to, if it is done.
    pub(super) fn done(&self, hash: &str) -> Option<&Done> {
        self.find(hash)?.record.done.as_ref()
    }

    /// Records of jobs that are done.
    pub(super) fn all_done(&self) -> impl Iterator<Item = (&Entry, &Done)> {
        self.entries
            .values()
            .filter_map(|entry| Some((entry, entry.record.done.as_ref()?)))
    }

    /// The place of a job: where it was begun, else the first of `<kind>`, `<kind>-2`, … in `folder` that no other
    /// settings have taken.
    pub(super) fn place(&self, job: &Job, folder: &Path) -> PathBuf {
        if let Some(entry) = self.find(&job.hash) {
            return entry.stem.clone();
        }
        let verb = job.kind.verb();
        let numbered = (2..).map(|n| format!("{verb}-{n}"));
        std::iter::once(verb.to_owned())
            .chain(numbered)
            .map(|name| folder.join(name))
            .find(|stem| !stem.exists() && !beside(stem).exists())
            .expect("the numbers do not end")
    }

    /// Writes a record, whole or not at all.
    pub(super) fn write(&mut self, stem: &Path, record: Record) -> Result<()> {
        write(&beside(stem), &(serde_json::to_string_pretty(&record)? + "\n"))?;
        let stem = stem.to_owned();
        self.entries.insert(record.hash.clone(), Entry { stem, record });
        Ok(())
    }
}

/// The record of a place.
fn beside(stem: &Path) -> PathBuf {
    let mut name = stem.file_name().unwrap_or_default().to_owned();
    name.push(".json");
    stem.with_file_name(name)
}

/// Writes a file in one step, and the folders that lead to it.
pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    fs::create_dir_all(file.parent().unwrap_or(Path::new("")))
        .and_then(|()| fs::write(&part, text))
        .and_then(|()| fs::rename(&part, file))
        .with_context(|| format!("{}: cannot be written", file.display()))
}

/// Sub-folders, sorted; none where there is no folder.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?
        .into_iter()
        .filter(|path| path.is_dir())
        .collect())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(Iterator::collect::<std::io::Result<Vec<_>>>),
    };
    let listed = listed.with_context(|| format!("{}: cannot be read", folder.display()))?;
    let mut paths: Vec<PathBuf> = listed.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
