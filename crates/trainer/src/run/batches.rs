//! The endless sequence of training batches, and what a task makes of one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fcmae_blocks::DropPathDraws;
use fcmae_data::{Batch, DataConfig, Dataset, Loader, LoaderOptions, Position, Report, Transform};
use fcmae_encoder::EncoderConfig;
use tch::{Device, Tensor};

use crate::config::{TrainConfig, ValidationConfig};

/// The endless sequence of training batches. What a batch holds is keyed by (seed, epoch, sample): it depends
/// neither on where the sequence was entered nor on threads.
#[derive(Debug)]
pub(crate) struct TrainingBatches {
    loader: Loader,
    /// Batches of an epoch that make whole optimizer steps; the rest of the epoch is left out.
    used: u64,
}

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
        })
    }

    /// The next batch, and how long the data loader was waited for.
    pub(crate) fn next(&mut self) -> Result<(Batch, Duration)> {
        let started = Instant::now();
        loop {
            let batch = self.loader.next().context("the data loader has ended early")??;
            if batch.batch < self.used {
                return Ok((batch, started.elapsed()));
            }
        }
    }
}

/// One pass over held-out images, in their order and as evaluation sees them: no augmentation.
pub(crate) fn held_out_options(
    data: &DataConfig,
    validation: &ValidationConfig,
    report: Report,
) -> LoaderOptions {
    let transform = Transform::eval(data.image_size);
    LoaderOptions {
        shuffle: false,
        drop_last: false,
        epochs: Some(1),
        report,
        ..LoaderOptions::new(data, transform, validation.batch_size, validation.seed)
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
