//! Classes of pictures, one after the other.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae_analysis::{softmax, top_k_classes};
use fcmae_data::{Dataset, Location, is_collection};

use super::network::Inference;
use super::stream::Unreadable;
use crate::error::InputError;

/// What the network says of one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The file.
    pub file: PathBuf,
    /// One per class.
    pub logits: Vec<f32>,
}

/// How many pictures there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Predictions {
    /// Pictures with a prediction.
    pub images: usize,
    /// Pictures that could not be read.
    pub unreadable: usize,
}

impl Inference {
    /// Predicts pictures in their order and hands each to `tell`; the next ones are decoded meanwhile, and memory
    /// does not grow with the list. A picture that cannot be read is told of and does not end it.
    ///
    /// # Errors
    /// Weights without a head, no picture that can be read, what `files` or `tell` return.
    pub fn predict(
        &self,
        files: impl Iterator<Item = Result<Location>> + Send + 'static,
        mut tell: impl FnMut(Result<Prediction, Unreadable>) -> Result<()>,
    ) -> Result<Predictions> {
        self.classifier()?;
        let classes = self.class_names.len();
        let (mut done, mut first_problem) = (Predictions::default(), None);
        for batch in self.decoder().batches(files)? {
            let batch = batch?;
            let logits = if batch.images.is_empty() {
                Vec::new()
            } else {
                self.logits(&batch)?
            };
            let mut rows = logits.chunks_exact(classes);
            for (file, result) in batch.files {
                match result {
                    Ok(()) => {
                        done.images += 1;
                        let logits = rows.next().context("fewer logits than images")?.to_vec();
                        let file = file.path().to_owned();
                        tell(Ok(Prediction { file, logits }))?;
                    }
                    Err(error) => {
                        done.unreadable += 1;
                        let unreadable = Unreadable::new(&file, &error);
                        first_problem.get_or_insert_with(|| unreadable.problem.clone());
                        tell(Err(unreadable))?;
                    }
                }
            }
        }
        if done.images == 0 {
            return Err(none_read(done.unreadable, first_problem.as_deref()).into());
        }
        Ok(done)
    }

    /// The pictures at `path`: itself, or those of a folder, a manifest or shards.
    ///
    /// # Errors
    /// A folder, manifest or shard without pictures.
    pub fn files(&self, path: &Path) -> Result<Vec<Location>> {
        if !is_collection(path) {
            return Ok(vec![path.into()]);
        }
        Ok(Dataset::open_all(path, &self.config.data)?.locations())
    }

    /// The `k` most likely classes with their probabilities, best first: of all classes together (softmax), or each
    /// by itself (sigmoid).
    #[must_use]
    pub fn most_likely(&self, logits: &[f32], k: usize) -> Vec<(usize, f64)> {
        let shares = if self.is_sigmoid {
            logits
                .iter()
                .map(|&z| 1.0 / (1.0 + f64::from(-z).exp()))
                .collect()
        } else {
            softmax(logits)
        };
        top_k_classes(logits, k)
            .into_iter()
            .map(|class| (class, shares[class]))
            .collect()
    }
}

/// The refusal of a list without a picture that can be read: `unreadable` of them cannot, the first for `problem`.
pub(super) fn none_read(unreadable: usize, problem: Option<&str>) -> InputError {
    let message = match problem {
        Some(first) => format!("none of the {unreadable} pictures can be read: {first}"),
        None => {
            "there are no pictures; give a picture, a folder, a manifest `.csv`, or a list on stdin with `-`"
                .to_owned()
        }
    };
    InputError::Argument { message }
}

/// The paths of a list, one a line; empty lines are passed over.
pub fn listed(reader: impl BufRead) -> impl Iterator<Item = Result<Location>> {
    reader.lines().enumerate().filter_map(|(at, line)| match line {
        Ok(line) if line.trim().is_empty() => None,
        Ok(line) => Some(Ok(line.trim_end_matches('\r').into())),
        Err(error) => Some(Err(InputError::Argument {
            message: format!("line {} of the list of pictures: {error}", at + 1),
        }
        .into())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_line_by_line() {
        let all: Vec<_> = listed("a b.png\r\n\n  \nc.png".as_bytes())
            .map(Result::unwrap)
            .collect();
        assert_eq!(all, ["a b.png".into(), "c.png".into()]);
        let bad = listed(&b"a.png\n\xff.png\n"[..])
            .nth(1)
            .unwrap()
            .unwrap_err()
            .to_string();
        assert!(bad.starts_with("line 2 of the list of pictures: "), "{bad}");
    }
}
