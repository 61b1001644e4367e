//! Classes of pictures, one after the other.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae_analysis::{softmax, top_k_classes};
use fcmae_data::{DataConfig, Dataset};

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
        files: impl Iterator<Item = Result<PathBuf>> + Send + 'static,
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
                        tell(Ok(Prediction { file, logits }))?;
                    }
                    Err(error) => {
                        done.unreadable += 1;
                        let problem = error.to_string();
                        first_problem.get_or_insert_with(|| problem.clone());
                        tell(Err(Unreadable { file, problem }))?;
                    }
                }
            }
        }
        if done.images == 0 {
            return Err(none_read(done.unreadable, first_problem.as_deref()).into());
        }
        Ok(done)
    }

    /// The pictures at `path`: itself, or those of a folder or a manifest.
    ///
    /// # Errors
    /// A folder or manifest without pictures.
    pub fn files(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let is_manifest = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if !path.is_dir() && !is_manifest {
            return Ok(vec![path.to_owned()]);
        }
        let data = DataConfig {
            path: Some(path.to_owned()),
            ..self.config.data.clone()
        };
        Ok(Dataset::open(&data)?
            .samples()
            .iter()
            .map(|sample| sample.path.clone())
            .collect())
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
pub fn listed(reader: impl BufRead) -> impl Iterator<Item = Result<PathBuf>> {
    reader.lines().enumerate().filter_map(|(at, line)| match line {
        Ok(line) if line.trim().is_empty() => None,
        Ok(line) => Some(Ok(PathBuf::from(line.trim_end_matches('\r')))),
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
        assert_eq!(all, [Path::new("a b.png"), Path::new("c.png")]);
        let bad = listed(&b"a.png\n\xff.png\n"[..])
            .nth(1)
            .unwrap()
            .unwrap_err()
            .to_string();
        assert!(bad.starts_with("line 2 of the list of pictures: "), "{bad}");
    }
}
