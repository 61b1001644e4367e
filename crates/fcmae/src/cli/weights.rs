//! What every verb that uses weights is given.

use std::io::{BufReader, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae::checkpoint::ReadOptions;
use fcmae::data::Location;
use fcmae::trainer::{Inference, InputError, Unreadable, listed, one_line};

/// How weights are read.
#[derive(Debug, clap::Args)]
pub(super) struct ReadArgs {
    /// Take the averaged weights (EMA)
    #[arg(long)]
    ema: bool,
    /// Names of the classes in the order of the outputs, a line each [default: as the weights say]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Set a key of the settings: `data.image_size=384`, `batch_size=8`, `device=cpu`, …; can be repeated (a key that
    /// does not exist is answered with those that do)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ReadArgs {
    /// Opens weights, on other images than theirs where `data` names them.
    pub(super) fn open(&self, weights: &Path, data: Option<&str>) -> Result<Inference> {
        let options = ReadOptions {
            ema: self.ema,
            ..ReadOptions::default()
        };
        let classes = self.classes.as_deref().map(class_names).transpose()?;
        let set: Vec<String> = classes.into_iter().chain(self.set.iter().cloned()).collect();
        let inference = Inference::open_with(weights, &options, &set)?;
        Ok(match data {
            Some(data) => inference.with_data(data),
            None => inference,
        })
    }

    /// Tells what a user should know of weights that are being used; an error before it stands alone.
    pub(super) fn tell(&self, weights: &Path, inference: &Inference) {
        for note in &inference.notes {
            eprintln!("note: {}", one_line(note));
        }
        // Of pre-training the newest are what one wants: its loss says little about features.
        let best = weights.join(if self.ema {
            "checkpoints/best-ema"
        } else {
            "checkpoints/best"
        });
        if inference.is_classifier() && best.is_dir() {
            eprintln!(
                "note: these are the run's newest weights; its best are {}",
                best.display()
            );
        }
    }
}

/// The names of a file as the setting that they are.
fn class_names(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let text = text.trim_start_matches('\u{feff}'); // as editors of Windows begin a file
    let names: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    if names.is_empty() {
        let message = format!(
            "{}: no names; write one of a class into each line",
            file.display()
        );
        return Err(InputError::Argument { message }.into());
    }
    Ok(format!("labels.classes={}", serde_json::to_string(&names)?)) // a list of strings is the same in TOML
}

/// Weights, and on what.
#[derive(Debug, clap::Args)]
pub(super) struct WeightsArgs {
    /// Weights: a file of fcmae, the reference, timm or transformers, or the folder of a run or checkpoint
    pub(super) weights: PathBuf,
    /// A folder, a manifest `.csv`, tar shards or a named data set [default: what the weights were trained on]
    #[arg(long, value_name = "PATH|NAME")]
    data: Option<String>,
    #[command(flatten)]
    read: ReadArgs,
}

impl WeightsArgs {
    /// Opens the weights.
    pub(super) fn open(&self) -> Result<Inference> {
        self.read.open(&self.weights, self.data.as_deref())
    }

    /// Whether the images are those that the weights were trained on.
    pub(super) fn is_own_data(&self) -> bool {
        self.data.is_none()
    }

    /// [`ReadArgs::tell`].
    pub(super) fn tell(&self, inference: &Inference) {
        self.read.tell(&self.weights, inference);
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
    #[command(flatten)]
    read: ReadArgs,
}

/// Paths of pictures; a list on stdin may end with an error.
type Files = Box<dyn Iterator<Item = Result<Location>> + Send>;

impl PicturesArgs {
    /// Opens the weights and lists the pictures; stdin is read as it comes.
    pub(super) fn open(&self) -> Result<(Inference, Files)> {
        let inference = self.read.open(&self.weights, None)?;
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

    /// [`ReadArgs::tell`].
    pub(super) fn tell(&self, inference: &Inference) {
        self.read.tell(&self.weights, inference);
    }
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
