//! The endless sequence of training batches, and what a task makes of one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fcmae_blocks::DropPathDraws;
use fcmae_data::{Batch, DataConfig, DataError, Dataset, Loader, LoaderOptions, Position, Report};
use fcmae_encoder::EncoderConfig;
use tch::{Device, Tensor};

use super::waiting::Waiting;
use crate::config::{TrainConfig, ValidationConfig};
use crate::stop::StopFlag;

/// The endless sequence of training batches. What a batch holds is keyed by (seed, epoch, sample): it depends
/// neither on where the sequence was entered nor on threads.
#[derive(Debug)]
pub(crate) struct TrainingBatches {
    loader: Loader,
    /// Batches of an epoch that make whole optimizer steps; the rest of the epoch is left out.
    used: u64,
    /// What the current epoch has waited so far; the first batch of all is always waited for, and not counted.
    epoch: Option<Waiting>,
}

const ENDED_EARLY: &str = "the data loader has ended early";

impl TrainingBatches {
    /// Enters the sequence before step `step_of_epoch` of `epoch`, both from 0.
    pub(crate) fn start(
        train: TrainConfig,
        options: LoaderOptions,
        dataset: Arc<Dataset>,
        (epoch, step_of_epoch): (u64, u64),
    ) -> Result<TrainingBatches> {
        let steps = steps_per_epoch(dataset.len(), train);
        let start = Position {
            epoch,
            batch: step_of_epoch * train.accumulate as u64,
        };
        Ok(TrainingBatches {
            loader: Loader::new(dataset, options, start)?,
            used: steps * train.accumulate as u64,
            epoch: None,
        })
    }

    /// The next batch, and how long the data loader was waited for.
    pub(crate) fn next(&mut self) -> Result<(Batch, Duration)> {
        let never = StopFlag::default();
        self.next_unless(&never)?.context(ENDED_EARLY)
    }

    /// As [`next`](TrainingBatches::next); `None` if `stop` was raised before a batch came.
    pub(crate) fn next_unless(&mut self, stop: &StopFlag) -> Result<Option<(Batch, Duration)>> {
        let started = Instant::now();
        loop {
            let next = self.loader.next_unless(|| stop.is_up());
            let batch = match next.context(ENDED_EARLY)? {
                Err(DataError::Stopped) => return Ok(None),
                batch => batch?,
            };
            if batch.batch < self.used {
                let waited = started.elapsed();
                match &mut self.epoch {
                    Some(epoch) => epoch.add(waited),
                    None => self.epoch = Some(Waiting::begin(self.loader.stage_times())),
                }
                return Ok(Some((batch, waited)));
            }
        }
    }

    /// A sentence, once in a long epoch, where too much of it is spent waiting for images.
    pub(crate) fn look_at_epoch(&mut self, data: &DataConfig) -> Option<String> {
        let now = self.loader.stage_times();
        self.epoch.as_mut()?.on_the_way(now, data)
    }

    /// Ends the account of an epoch: a sentence, where too much of it was spent waiting for images.
    pub(crate) fn close_epoch(&mut self, data: &DataConfig) -> Option<String> {
        let now = self.loader.stage_times();
        let epoch = self.epoch.replace(Waiting::begin(now))?;
        epoch.at_the_end(now, data)
    }
}

/// One pass over held-out images, in their order and as evaluation sees them: no augmentation.
pub(crate) fn held_out_options(
    data: &DataConfig,
    validation: &ValidationConfig,
    report: Report,
) -> LoaderOptions {
    LoaderOptions {
        shuffle: false,
        drop_last: false,
        epochs: Some(1),
        report,
        ..LoaderOptions::new(
            data,
            data.eval_transform(),
            validation.batch_size,
            validation.seed,
        )
    }
}

/// Whole optimizer steps in an epoch of `images` images.
pub(crate) fn steps_per_epoch(images: usize, train: TrainConfig) -> u64 {
    (images / train.batch_size / train.accumulate) as u64
}

/// Draws of DropPath for the images of a batch, where `model` drops anything.
pub(crate) fn drop_path_draws(model: &EncoderConfig, seed: u64, batch: &Batch) -> Option<DropPathDraws> {
    (model.drop_path > 0.0).then(|| DropPathDraws::new(seed, batch.epoch, &batch.ids, model.blocks()))
}

/// The images of a batch as a tensor on `device`.
pub(crate) fn images(batch: &Batch, device: Device) -> Result<Tensor> {
    let shape = batch.shape.map(|size| size as i64);
    let images = Tensor::f_from_slice(&batch.images)?.f_view(shape)?;
    Ok(images.f_to_device(device)?)
}
