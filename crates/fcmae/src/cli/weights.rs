//! What every verb that uses weights is given.

use std::io::{BufReader, stdin};
use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::data::Location;
use fcmae::trainer::{Inference, Unreadable, listed, one_line};

/// Weights, and on what.
#[derive(Debug, clap::Args)]
pub(super) struct WeightsArgs {
    /// Weights: a file of fcmae, the reference, timm or transformers, or the folder of a run or checkpoint
    pub(super) weights: PathBuf,
    /// A folder, a manifest `.csv`, tar shards or a named data set [default: what the weights were trained on]
    #[arg(long, value_name = "PATH|NAME")]
    data: Option<String>,
    /// Set a key of the settings: `data.image_size=384`, `batch_size=8`, `device=cpu`, …; can be repeated (a key that
    /// does not exist is answered with those that do)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl WeightsArgs {
    /// Opens the weights and tells what a user should know of them.
    pub(super) fn open(&self) -> Result<Inference> {
        open(&self.weights, &self.set, self.data.as_deref())
    }
}

/// Weights, and pictures.
#[derive(Debug, clap::Args)]
pub(super) struct PicturesArgs {
    /// Weights: a file of fcmae, the reference, timm or transformers, or the folder of a run or checkpoint
    weights: PathBuf,
    /// Pictures, folders, manifests `.csv`, tar shards; `-` reads a list from stdin, a path a line
    #[arg(required = true)]
    pictures: Vec<PathBuf>,
    /// Set a key of the settings: `data.image_size=384`, `batch_size=8`, `device=cpu`, …; can be repeated (a key that
    /// does not exist is answered with those that do)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Paths of pictures; a list on stdin may end with an error.
type Files = Box<dyn Iterator<Item = Result<Location>> + Send>;

impl PicturesArgs {
    /// Opens the weights and lists the pictures; stdin is read as it comes.
    pub(super) fn open(&self) -> Result<(Inference, Files)> {
        let inference = open(&self.weights, &self.set, None)?;
        let mut files: Files = Box::new(std::iter::empty());
        for path in &self.pictures {
            if path == Path::new("-") {
                files = Box::new(files.chain(listed(BufReader::new(stdin()))));
            } else {
                files = Box::new(files.chain(inference.files(path)?.into_iter().map(Ok)));
            }
        }
        Ok((inference, files))
    }
}

/// Opens weights, on other images than theirs where `data` names them, and tells what a user should know of them.
pub(super) fn open(weights: &Path, set: &[String], data: Option<&str>) -> Result<Inference> {
    let inference = Inference::open(weights, set)?;
    for note in &inference.notes {
        eprintln!("note: {}", one_line(note));
    }
    // Of pre-training the newest are what one wants: its loss says little about features.
    let best = weights.join("checkpoints/best");
    if inference.is_classifier() && best.is_dir() {
        eprintln!(
            "note: these are the run's newest weights; its best are {}",
            best.display()
        );
    }
    Ok(match data {
        Some(data) => inference.with_data(data),
        None => inference,
    })
}

/// Names what could not be read, a line each.
pub(super) fn tell_unreadable(pictures: &[Unreadable]) {
    for picture in pictures {
        eprintln!("unreadable: {}", one_line(&picture.problem));
    }
    if !pictures.is_empty() {
        eprintln!(
            "{} picture(s) could not be read and were left out",
            pictures.len()
        );
    }
}
