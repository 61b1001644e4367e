//! What a call of `ablate` has before it: the cells that were asked for, in order, with their jobs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cell::{self, Cell};
use super::job::{self, Job};
use super::matrix::{Matrix, Profile, Which};
use super::store::Store;
use crate::process::BadInput;

/// All cells and seeds of a matrix; some of them are to be run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) matrix: Matrix,
    pub(super) which: Which,
    /// Where everything of this matrix and profile lies.
    pub(super) folder: PathBuf,
    pub(super) cells: Vec<Cell>,
    /// A cell with one seed each: all cells of the first seed come first, so that a table soon has all its rows.
    pub(super) works: Vec<Work>,
}

/// A cell with one seed.
#[derive(Debug)]
pub(super) struct Work {
    /// Its place among the cells.
    pub(super) cell: usize,
    pub(super) seed: u64,
    /// `<cell>/seed-<n>`: its folder in that of the matrix.
    pub(super) name: String,
    pub(super) jobs: Vec<Job>,
    /// Whether it is to be run.
    pub(super) is_chosen: bool,
}

impl Plan {
    /// The plan for `file`, below `root`; `only` limits it to what fits one of these patterns.
    pub(super) fn new(
        file: &Path,
        root: &Path,
        which: Which,
        seeds: Option<u64>,
        only: &[String],
    ) -> Result<Plan> {
        let matrix = Matrix::load(file)?;
        let place = || file.display().to_string();
        let profile = matrix.profile(which).with_context(place)?;
        let cells = cell::all(&matrix, which).with_context(place)?;
        let mut works = Vec::new();
        for seed in 0..seeds.unwrap_or(profile.seeds) {
            for (at, cell) in cells.iter().enumerate() {
                let name = format!("{}/seed-{seed}", cell.name);
                works.push(Work {
                    cell: at,
                    seed,
                    is_chosen: only.is_empty()
                        || only
                            .iter()
                            .any(|pattern| [&cell.name, &name].iter().any(|name| cell::fits(pattern, name))),
                    jobs: job::of_cell(profile, cell, seed)
                        .with_context(|| format!("{}: {name}", place()))?,
                    name,
                });
            }
        }
        if !works.iter().any(|work| work.is_chosen) {
            let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
            let message = format!(
                "--only {}: no cell is called so; there are {}",
                only.join(" "),
                names.join(", ")
            );
            return Err(BadInput(message).into());
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let folder = root.join(match which {
            Which::Full => stem.into_owned(),
            Which::Quick => format!("{stem}-quick"),
        });
        Ok(Plan {
            matrix,
            which,
            folder,
            cells,
            works,
        })
    }

    pub(super) fn profile(&self) -> Result<&Profile> {
        self.matrix.profile(self.which)
    }

    /// What is to be run.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &Work> {
        self.works.iter().filter(|work| work.is_chosen)
    }

    /// What is to be run and not done yet, equal jobs once, each with its first cell.
    pub(super) fn open<'a>(&'a self, store: &Store) -> Vec<(&'a Work, &'a Job)> {
        let mut seen = BTreeSet::new();
        let jobs = self
            .chosen()
            .flat_map(|work| work.jobs.iter().map(move |job| (work, job)));
        jobs.filter(|(_, job)| store.done(&job.hash).is_none() && seen.insert(&job.hash))
            .collect()
    }
}
