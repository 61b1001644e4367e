//! How much frozen features know of the labels: a linear probe and nearest neighbours, on the end of every stage.

mod features;
mod linear;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae_analysis::{ClassificationReport, Scores, top_k_accuracy};
use fcmae_data::{Dataset, LabelKind};
use serde::Serialize;
use tch::Tensor;

use super::network::Inference;
use super::stream::Unreadable;
use crate::error::InputError;
use crate::knn;

use features::{Features, LAST};
use linear::Setting;

/// What was tried, what was chosen, and what it gets right on the test images.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeReport {
    /// Where the images come from.
    pub data: PathBuf,
    /// Names of the classes.
    pub class_names: Vec<String>,
    /// Training images, those included that choices were made on.
    pub train_images: usize,
    /// Of these, the images that choices were made on.
    pub val_images: usize,
    /// Features that were found in the cache of an earlier call.
    pub cached: bool,
    /// Pictures that could not be read; neither trained nor measured on.
    pub unreadable: Vec<Unreadable>,
    /// The linear probe.
    pub linear: Probe<LinearTrial>,
    /// Nearest neighbours.
    pub knn: Probe<KnnTrial>,
}

/// One kind of probe.
#[derive(Debug, Clone, Serialize)]
pub struct Probe<T> {
    /// Every setting, with its accuracy on the training images that were held out for this.
    pub trials: Vec<T>,
    /// The best of them; of equal ones the first.
    pub chosen: T,
    /// Trained on all training images under the chosen setting: measures on the test images.
    pub test: ClassificationReport,
}

/// A setting of the linear probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinearTrial {
    /// `"stage 0"` …, or `"all"`: the stages side by side.
    pub layer: String,
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Accuracy on the held-out part of the training images.
    pub val_accuracy: f64,
}

/// A setting of the nearest neighbours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KnnTrial {
    /// As for [`LinearTrial`].
    pub layer: String,
    /// Number of neighbours.
    pub k: usize,
    /// Accuracy on the held-out part of the training images.
    pub val_accuracy: f64,
}

/// Rows of features with their labels.
#[derive(Debug)]
struct Labelled<'a> {
    /// One tensor `[N, C]` per layer.
    layers: Vec<Tensor>,
    labels: &'a [u32],
}

impl Inference {
    /// Probes the features of `data.split` and measures on `test_split`. Features are computed once and kept in
    /// `cache`; they are found again while weights, images and settings that decide them stay.
    ///
    /// Learning rate, decay, number of neighbours and layer are chosen on `linear.val_fraction` of the training
    /// images; the test images are seen once, at the end.
    ///
    /// # Errors
    /// Images without labels, or with several; one class alone; test images that are training images; no picture that
    /// can be read.
    pub fn probe(&self, cache: &Path) -> Result<ProbeReport> {
        if self.config.labels.kind == LabelKind::MultiLabel {
            let message = "\"multi_label\": a probe needs one label per image; use \"class\" or \"soft\"";
            return Err(InputError::config("labels.kind", message).into());
        }
        let (train, test) = (self.unnamed_labels(&self.config.data.split)?, self.test_images()?);
        self.refuse_overlap(&train, &test)?;
        if let [only] = train.class_names() {
            let message = format!(
                "there is only one class, {only:?}, in {}; there must be two to tell apart",
                train.origin().display()
            );
            return Err(InputError::config("labels.classes", message).into());
        }
        let train = train.label_subset(self.config.labels.fraction, self.config.seed)?;
        let (train, train_features) =
            Features::load_or_compute(self, &train, &self.config.data.split, cache)?;
        let (test, test_features) = Features::load_or_compute(self, &test, &self.config.test_split, cache)?;
        let (fit, val) = self.for_choices(&train)?;
        let rows = |part: &Dataset| train_features.rows_of(&train, part);
        let labels = |dataset: &Dataset| {
            let all: Option<Vec<u32>> = dataset.samples().iter().map(|sample| sample.label).collect();
            all.context("an image without a label among labelled ones")
        };
        let (fit_labels, val_labels) = (labels(&fit)?, labels(&val)?);
        let (train_labels, test_labels) = (labels(&train)?, labels(&test)?);
        let part = |layers, labels| Labelled { layers, labels };
        let (fit, val) = (part(rows(&fit), &fit_labels), part(rows(&val), &val_labels));
        let train_part = part(train_features.layers, &train_labels);
        let test_part = part(test_features.layers, &test_labels);
        let measure = |scores: &[f32]| {
            let names = test.class_names();
            let scores = Scores::new(scores, names.len())?;
            ClassificationReport::new(&scores, &test_labels, names, &self.config.bootstrap)
        };
        let classes = train.class_names().len();
        let linear = self.linear_trials(&fit, &val, classes)?;
        let linear_choice =
            best(&linear, |trial| trial.1.val_accuracy).context("no linear probe was tried")?;
        let (layer, trial) = linear_choice;
        let setting = Setting {
            lr: trial.lr,
            weight_decay: trial.weight_decay,
        };
        let all = [setting];
        let probes = linear::fit(self, &train_part.layers[*layer], train_part.labels, classes, &all);
        let linear_test = measure(&probes.scores(&test_part.layers[*layer], 0)?)?;
        let knn = self.knn_trials(&fit, &val, classes)?;
        let (layer, neighbours) =
            best(&knn, |trial| trial.1.val_accuracy).context("no neighbours were tried")?;
        let votes = knn::Votes::new(
            &train_part.layers[*layer],
            train_part.labels,
            classes,
            self.config.knn.temperature,
        );
        let all = votes.of(&test_part.layers[*layer], &[neighbours.k])?;
        Ok(ProbeReport {
            data: test.origin().to_owned(),
            class_names: train.class_names().to_vec(),
            train_images: train.len(),
            val_images: val_labels.len(),
            cached: train_features.cached && test_features.cached,
            unreadable: [train_features.unreadable, test_features.unreadable].concat(),
            linear: Probe {
                chosen: trial.clone(),
                test: linear_test,
                trials: linear.iter().map(|(_, trial)| trial.clone()).collect(),
            },
            knn: Probe {
                chosen: neighbours.clone(),
                test: measure(&all[0])?,
                trials: knn.iter().map(|(_, trial)| trial.clone()).collect(),
            },
        })
    }

    /// The training images without those that choices are made on, and these.
    fn for_choices(&self, train: &Dataset) -> Result<(Dataset, Dataset), InputError> {
        let share = self.config.linear.val_fraction;
        train.split_validation(share, self.config.seed).map_err(|_| {
            let message = format!(
                "{share} of {} training images leaves none to choose by, or none to train on; give more images",
                train.len()
            );
            InputError::config("linear.val_fraction", message)
        })
    }

    /// Labelled images, whatever classes the weights may have.
    fn unnamed_labels(&self, split: &str) -> Result<Dataset> {
        let mut data = self.config.data.clone();
        split.clone_into(&mut data.split);
        Ok(Dataset::open_labelled(&data, &self.config.labels)?)
    }

    /// The test images, with the classes of the training images in their order.
    fn test_images(&self) -> Result<Dataset> {
        let train = self.unnamed_labels(&self.config.data.split)?;
        let (mut data, mut labels) = (self.config.data.clone(), self.config.labels.clone());
        self.config.test_split.clone_into(&mut data.split);
        labels.classes = train.class_names().to_vec();
        Ok(Dataset::open_labelled(&data, &labels)?)
    }

    /// A manifest, and a folder without parts, yield the same images whatever split is asked for.
    fn refuse_overlap(&self, train: &Dataset, test: &Dataset) -> Result<(), InputError> {
        let trained: std::collections::HashSet<_> = train
            .samples()
            .iter()
            .map(|sample| sample.location.path())
            .collect();
        let Some(both) = test
            .samples()
            .iter()
            .find(|sample| trained.contains(sample.location.path()))
        else {
            return Ok(());
        };
        let message = format!(
            "{:?} gives images that are trained on, such as {}; give a data set with two parts: a folder with \
             sub-folders `train` and `test`, or a named one",
            self.config.test_split,
            both.location.path().display()
        );
        Err(InputError::config("test_split", message))
    }

    fn linear_trials(
        &self,
        fit: &Labelled,
        val: &Labelled,
        classes: usize,
    ) -> Result<Vec<(usize, LinearTrial)>> {
        let settings = Setting::grid(&self.config.linear);
        let mut trials = Vec::new();
        for (layer, (x, held_out)) in fit.layers.iter().zip(&val.layers).enumerate() {
            let probes = linear::fit(self, x, fit.labels, classes, &settings);
            for (at, setting) in settings.iter().enumerate() {
                trials.push((
                    layer,
                    LinearTrial {
                        layer: layer_name(layer, fit.layers.len()),
                        lr: setting.lr,
                        weight_decay: setting.weight_decay,
                        val_accuracy: accuracy(&probes.scores(held_out, at)?, val.labels, classes)?,
                    },
                ));
            }
        }
        Ok(trials)
    }

    fn knn_trials(&self, fit: &Labelled, val: &Labelled, classes: usize) -> Result<Vec<(usize, KnnTrial)>> {
        let settings = &self.config.knn;
        let mut trials = Vec::new();
        for (layer, (x, held_out)) in fit.layers.iter().zip(&val.layers).enumerate() {
            let votes = knn::Votes::new(x, fit.labels, classes, settings.temperature);
            for (&k, scores) in settings.k.iter().zip(votes.of(held_out, &settings.k)?) {
                trials.push((
                    layer,
                    KnnTrial {
                        layer: layer_name(layer, fit.layers.len()),
                        k,
                        val_accuracy: accuracy(&scores, val.labels, classes)?,
                    },
                ));
            }
        }
        Ok(trials)
    }
}

/// The last layer is [`LAST`].
fn layer_name(layer: usize, layers: usize) -> String {
    if layer + 1 == layers {
        LAST.to_owned()
    } else {
        format!("stage {layer}")
    }
}

/// The first of the largest.
fn best<T>(all: &[T], height: impl Fn(&T) -> f64) -> Option<&T> {
    all.iter()
        .reduce(|best, next| if height(next) > height(best) { next } else { best })
}

fn accuracy(scores: &[f32], labels: &[u32], classes: usize) -> Result<f64> {
    Ok(top_k_accuracy(&Scores::new(scores, classes)?, labels, 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_trials_the_first_is_chosen() {
        assert_eq!(
            best(&[(0.5, 'a'), (0.7, 'b'), (0.7, 'c')], |t| t.0),
            Some(&(0.7, 'b'))
        );
        assert_eq!(best(&[] as &[(f64, char)], |t| t.0), None);
    }

    #[test]
    fn accuracy_is_the_share_of_the_highest_scores() {
        assert_eq!(accuracy(&[0.0, 1.0, 1.0, 1.0], &[1, 1], 2).unwrap(), 0.5); // of equal scores the first
        let classes = 1 << 22; // their pairs would not fit into the address space
        assert_eq!(accuracy(&vec![0.0; classes], &[0], classes).unwrap(), 1.0);
    }

    #[test]
    fn layers_have_names() {
        let names: Vec<_> = (0..5).map(|layer| layer_name(layer, 5)).collect();
        assert_eq!(names, ["stage 0", "stage 1", "stage 2", "stage 3", "all"]);
    }
}
