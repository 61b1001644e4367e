//! All measures of a classifier on labelled images.

use std::collections::HashSet;

use anyhow::{Context, Result};
use fcmae_analysis::{ClassificationReport, MultiLabelReport, Scores};
use fcmae_data::{DataConfig, DataError, Dataset, LabelConfig, LabelKind};
use serde::Serialize;

use super::network::Inference;
use super::predict::none_read;
use super::stream::Unreadable;
use crate::error::InputError;

/// What a classifier gets right.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Names of the classes, in the order of the network's outputs.
    pub class_names: Vec<String>,
    /// The measures.
    pub report: EvaluationReport,
    /// Pictures that could not be read; they are not measured.
    pub unreadable: Vec<Unreadable>,
}

/// The measures, by the kind of labels.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EvaluationReport {
    /// One label per image.
    SingleLabel(ClassificationReport),
    /// Any number of labels per image.
    MultiLabel(MultiLabelReport),
}

/// A part must be there where one is asked for; else all images are measured.
pub(super) fn check_split(asked: Option<&str>, dataset: &Dataset) -> Result<(), InputError> {
    match (asked, dataset.split()) {
        (Some(split), None) => Err(InputError::Argument {
            message: format!(
                "--split {split}: {} has no parts; leave it out to measure all of its images",
                dataset.origin().display()
            ),
        }),
        _ => Ok(()),
    }
}

impl Inference {
    /// The labelled images of `split` (of `test_split`, where none is asked for), classes in the order of the outputs; and a sentence where that order is a
    /// convention: numbers and WordNet's (`n01440764`), as many as there are outputs, stand for the outputs in their own
    /// order, as for timm and the reference.
    ///
    /// # Errors
    /// Images without labels; classes that the weights do not know; a part that is asked for of data without parts.
    pub fn labelled(&self, split: Option<&str>) -> Result<(Dataset, Option<String>)> {
        let (dataset, note) = self.with_labels(&self.measured(split))?;
        check_split(split, &dataset)?;
        Ok((dataset, note))
    }

    /// The images of `split`, of `test_split` where none is asked for.
    pub(super) fn measured(&self, split: Option<&str>) -> DataConfig {
        DataConfig {
            split: split.unwrap_or(&self.config.test_split).to_owned(),
            ..self.config.data.clone()
        }
    }

    fn with_labels(&self, data: &DataConfig) -> Result<(Dataset, Option<String>)> {
        let labels = &self.config.labels;
        if !self.are_named {
            let dataset = Dataset::open_labelled(data, labels)?;
            self.check_classes(&dataset)?;
            return Ok((dataset, None));
        }
        let named = |classes: &[String]| LabelConfig {
            classes: classes.to_vec(),
            ..labels.clone()
        };
        let refused = match Dataset::open_labelled(data, &named(&self.class_names)) {
            Ok(dataset) => {
                self.check_classes(&dataset)?;
                return Ok((dataset, None));
            }
            Err(refused @ DataError::Fetch { .. }) => return Err(refused.into()),
            Err(refused) => refused,
        };
        match Dataset::open_labelled(data, &named(&[])) {
            Ok(dataset) if self.are_numbers(dataset.class_names()) => {
                let note = format!(
                    "the classes of {} are numbers; there are {} of them and of the outputs, so they are taken in their \
                     order, {:?} as {:?}",
                    dataset.origin().display(),
                    self.class_names.len(),
                    dataset.class_names()[0],
                    self.class_names[0]
                );
                Ok((dataset, Some(note)))
            }
            _ => Err(refused.into()),
        }
    }

    /// Whether `classes` are as many numbers as there are outputs, and no output is called by one of them.
    fn are_numbers(&self, classes: &[String]) -> bool {
        let is_number = |name: &String| {
            let digits = name.strip_prefix('n').unwrap_or(name);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        let ours: HashSet<&String> = self.class_names.iter().collect();
        let is_alone = |name: &String| is_number(name) && !ours.contains(name);
        !classes.is_empty() && classes.len() == self.class_names.len() && classes.iter().all(is_alone)
    }

    /// Numbers stand for names only where there are as many.
    fn check_classes(&self, dataset: &Dataset) -> Result<(), InputError> {
        let (outputs, found) = (self.class_names.len(), dataset.class_names().len());
        if !self.is_classifier() || outputs == found {
            return Ok(());
        }
        Err(InputError::Argument {
            message: format!(
                "{} has {outputs} classes and {} has {found}; name the classes of the weights in their order with \
                 `--set labels.classes=[…]`",
                self.file.display(),
                dataset.origin().display()
            ),
        })
    }

    /// Measures the classifier on `dataset`. Pictures that cannot be read are left out and listed.
    ///
    /// # Errors
    /// Weights without a head; no picture that can be read.
    pub fn evaluate(&self, dataset: &Dataset) -> Result<Evaluation> {
        self.classifier()?;
        let (mut logits, mut unreadable, mut read) = (Vec::new(), Vec::new(), Vec::new());
        let files = dataset.locations().into_iter().map(Ok);
        let mut at = 0;
        for batch in self.decoder().batches(files)? {
            let batch = batch?;
            if !batch.images.is_empty() {
                logits.extend(self.logits(&batch)?);
            }
            for (file, result) in batch.files {
                match result {
                    Ok(()) => read.push(at),
                    Err(error) => unreadable.push(Unreadable::new(&file, &error)),
                }
                at += 1;
            }
        }
        if let (true, Some(first)) = (read.is_empty(), unreadable.first()) {
            return Err(none_read(at, Some(&first.problem)).into());
        }
        Ok(Evaluation {
            report: self.report(dataset, &read, &logits)?,
            class_names: dataset.class_names().to_vec(),
            unreadable,
        })
    }

    fn report(&self, dataset: &Dataset, read: &[usize], logits: &[f32]) -> Result<EvaluationReport> {
        let names = dataset.class_names();
        let scores = Scores::new(logits, self.class_names.len())?;
        let samples = || read.iter().map(|&at| &dataset.samples()[at]);
        let bootstrap = &self.config.bootstrap;
        if self.config.labels.kind == LabelKind::MultiLabel {
            let rows = samples().filter_map(|sample| sample.row.as_deref()).flatten();
            let present: Vec<bool> = rows.map(|&share| share >= 0.5).collect();
            return Ok(EvaluationReport::MultiLabel(MultiLabelReport::new(
                &scores, &present, names, bootstrap,
            )?));
        }
        let labels: Option<Vec<u32>> = samples().map(|sample| sample.label).collect();
        let labels = labels.context("an image without a label among labelled ones")?;
        let report = ClassificationReport::new(&scores, &labels, names, bootstrap)?;
        Ok(EvaluationReport::SingleLabel(report))
    }
}
