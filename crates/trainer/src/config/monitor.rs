//! The section of a pre-training run's file that watches the features.

use std::path::PathBuf;

use fcmae_data::{Cache, DataConfig, LabelConfig, LabelKind};
use serde::{Deserialize, Serialize};

use super::sections::check;
use crate::error::InputError;

/// What is measured of the features while a run pre-trains (`[monitor]`), in f32 on whole images: the numbers of
/// `fcmae analyze`. It changes no bit of the weights, and a run may change it on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// Measured every so many epochs and after the last one; 0 = never.
    pub every_epochs: u64,
    /// Images that are measured, at least 1: of those held out, where there are any, else of the training images;
    /// spread evenly over the list.
    pub images: usize,
    /// Features count as collapsed, and the run warns, where the mean cosine distance between the channels of a hidden
    /// layer, averaged over the blocks, is below this; from 0 (no alarm) to 0.5 (nothing in common).
    pub collapse_below: f64,
    /// Labelled images whose labels their neighbours are asked for; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knn: Option<MonitorKnnConfig>,
}

/// Labelled images on which nearest neighbours vote (`[monitor.knn]`), each image being left out in turn. Images are
/// brought to the network as `[data]` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorKnnConfig {
    /// A folder with a folder for each class, or a manifest `.csv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A named data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The part of it. Images to train on do no harm here: their labels are learnt nowhere.
    pub split: String,
    /// At most this many of its images, at least 2, spread evenly over the list.
    pub images: usize,
    /// Neighbours that vote, at least 1.
    pub k: usize,
    /// What the images are labelled with.
    pub labels: LabelConfig,
}

impl Default for MonitorConfig {
    fn default() -> MonitorConfig {
        MonitorConfig {
            every_epochs: 0,
            images: 128,
            collapse_below: 0.1,
            knn: None,
        }
    }
}

impl Default for MonitorKnnConfig {
    fn default() -> MonitorKnnConfig {
        MonitorKnnConfig {
            path: None,
            dataset: None,
            split: "train".to_owned(),
            images: 1000,
            k: 20,
            labels: LabelConfig::default(),
        }
    }
}

impl MonitorConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        check(self.images > 0, "monitor.images", &self.images, "at least 1")?;
        check(
            (0.0..=0.5).contains(&self.collapse_below),
            "monitor.collapse_below",
            &self.collapse_below,
            "from 0 (no alarm) to 0.5",
        )?;
        self.knn.as_ref().map_or(Ok(()), MonitorKnnConfig::validate)
    }
}

impl MonitorKnnConfig {
    fn validate(&self) -> Result<(), InputError> {
        check(self.k > 0, "monitor.knn.k", &self.k, "at least 1")?;
        check(self.images > 1, "monitor.knn.images", &self.images, "at least 2")?;
        let kind = self.labels.kind;
        check(
            kind != LabelKind::MultiLabel,
            "monitor.knn.labels.kind",
            &kind,
            "one label per image: \"class\" or \"soft\"",
        )?;
        if self.path.is_none() && self.dataset.is_none() {
            let message =
                "is missing; name a labelled folder or manifest, or a data set with `monitor.knn.dataset`";
            return Err(InputError::config("monitor.knn.path", message));
        }
        Ok(())
    }

    /// The labelled images as `data` reads images.
    pub(crate) fn data(&self, data: &DataConfig) -> DataConfig {
        DataConfig {
            path: self.path.clone(),
            dataset: self.dataset.clone(),
            split: self.split.clone(),
            val_fraction: 0.0,
            cache: Cache::None,
            ..data.clone()
        }
    }
}
