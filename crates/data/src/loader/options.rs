//! What a loader is told.

use std::fmt;
use std::sync::Arc;

use crate::config::{DataConfig, OnError, ensure};
use crate::dataset::Dataset;
use crate::erase::RandomErasing;
use crate::error::DataError;
use crate::finetune::FinetuneAugmentConfig;
use crate::mix::MixConfig;
use crate::transform::Transform;

/// How batches are made. [`LoaderOptions::new`] takes what a config knows.
#[derive(Debug, Clone)]
pub struct LoaderOptions {
    /// Images per batch, at least 1.
    pub batch_size: usize,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Whether every epoch has an order of its own; else the data set's.
    pub shuffle: bool,
    /// Whether an incomplete last batch is left out of the epoch.
    pub drop_last: bool,
    /// What brings an image to its size.
    pub transform: Transform,
    /// Boxes erased from normalised images.
    pub erase: Option<RandomErasing>,
    /// How the images of a batch are mixed and their targets smoothed; needs a data set that was
    /// [opened for labels](Dataset::open_labelled).
    pub mix: Option<MixConfig>,
    /// Mean per channel, with pixels in `[0, 1]`.
    pub mean: Vec<f64>,
    /// Standard deviation per channel, with pixels in `[0, 1]`.
    pub std: Vec<f64>,
    /// Worker threads; 0 means one per core. Never changes a result.
    pub workers: usize,
    /// Finished batches kept ready; two more are in the making. Never changes a result.
    pub prefetch: usize,
    /// What a corrupt or unreadable image does.
    pub on_error: OnError,
    /// Epochs after which the sequence ends, the one started in included; `None`: never.
    pub epochs: Option<u64>,
    /// Told of each bad image once, under `on_error = "skip"`; called from worker threads.
    pub report: Report,
}

impl LoaderOptions {
    /// Options for training: shuffled, incomplete batches dropped, endless, nobody told of bad images.
    #[must_use]
    pub fn new(config: &DataConfig, transform: Transform, batch_size: usize, seed: u64) -> LoaderOptions {
        LoaderOptions {
            batch_size,
            seed,
            shuffle: true,
            drop_last: true,
            transform,
            erase: None,
            mix: None,
            mean: config.mean.clone(),
            std: config.std.clone(),
            workers: config.workers,
            prefetch: config.prefetch,
            on_error: config.on_error,
            epochs: None,
            report: Report::none(),
        }
    }

    /// Options for learning from labels: as [`new`](LoaderOptions::new), augmented and mixed.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] for a value out of range.
    pub fn finetune(
        config: &DataConfig,
        augment: &FinetuneAugmentConfig,
        mix: &MixConfig,
        batch_size: usize,
        seed: u64,
    ) -> Result<LoaderOptions, DataError> {
        mix.validate()?;
        let transform = Transform::finetune(augment, config.image_size, &config.mean)?;
        Ok(LoaderOptions {
            erase: augment.erasing(),
            mix: (!mix.is_off()).then(|| mix.clone()),
            ..LoaderOptions::new(config, transform, batch_size, seed)
        })
    }

    pub(super) fn validate(&self, dataset: &Dataset) -> Result<(), DataError> {
        ensure(
            self.batch_size > 0,
            "batch_size",
            self.batch_size.to_string(),
            || "must be at least 1".to_owned(),
        )?;
        let [height, width] = self.transform.size();
        ensure(
            height > 0 && width > 0,
            "data.image_size",
            format!("[{height}, {width}]"),
            || "sides must be at least 1 pixel".to_owned(),
        )?;
        let channels = dataset.color().channels();
        for (key, values) in [("data.mean", &self.mean), ("data.std", &self.std)] {
            ensure(values.len() == channels, key, format!("{values:?}"), || {
                format!(
                    "`data.color` = \"{}\" needs {channels} number(s)",
                    dataset.color().name()
                )
            })?;
        }
        if let Some(mix) = &self.mix {
            mix.validate()?;
            ensure(dataset.label_kind().is_some(), "mix", format!("{mix:?}"), || {
                format!(
                    "the images at {} have no labels to mix",
                    dataset.origin().display()
                )
            })?;
        }
        let too_few = dataset.is_empty() || (self.drop_last && dataset.len() < self.batch_size);
        if too_few {
            return Err(DataError::TooFewSamples {
                problem: format!(
                    "the {} images at {} do not fill one batch: `batch_size` = {} is too large",
                    dataset.len(),
                    dataset.origin().display(),
                    self.batch_size
                ),
            });
        }
        Ok(())
    }
}

/// Someone who is told of bad images.
#[derive(Clone, Default)]
pub struct Report(Option<Arc<Listener>>);

type Listener = dyn Fn(&DataError) + Send + Sync;

impl Report {
    /// Nobody.
    #[must_use]
    pub fn none() -> Report {
        Report(None)
    }

    /// Calls `tell` with the error of each bad image, once per image, from any thread.
    #[must_use]
    pub fn to(tell: impl Fn(&DataError) + Send + Sync + 'static) -> Report {
        Report(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, error: &DataError) {
        if let Some(tell) = &self.0 {
            tell(error);
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Report(..)"
        } else {
            "Report(none)"
        })
    }
}
