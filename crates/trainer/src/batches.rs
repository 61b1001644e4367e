//! Training batches as the model takes them: images on the device, keyed masks, keyed draws of DropPath.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fcmae_blocks::DropPathDraws;
use fcmae_data::{Batch, Dataset, Loader, LoaderOptions, Position, Report, Transform};
use fcmae_masking::{PatchGrid, PatchMask, RandomMask};
use tch::{Device, Tensor};

use crate::config::PretrainConfig;

/// One batch on the device.
#[derive(Debug)]
pub(crate) struct TrainingBatch {
    /// Normalised images `[N, C, H, W]`, f32.
    pub(crate) images: Tensor,
    /// Which patches are hidden (`true` = hidden).
    pub(crate) mask: PatchMask,
    /// Draws of DropPath, where the encoder has any.
    pub(crate) draws: Option<DropPathDraws>,
    /// Images that were left out because they could not be read.
    pub(crate) skipped: u64,
    /// How long the data loader was waited for.
    pub(crate) waited: Duration,
}

/// The endless sequence of training batches. What a batch holds is keyed by (seed, epoch, sample): it depends
/// neither on where the sequence was entered nor on threads.
#[derive(Debug)]
pub(crate) struct TrainingBatches {
    loader: Loader,
    /// Batches of an epoch that make whole optimizer steps; the rest of the epoch is left out.
    used: u64,
    masks: RandomMask,
    grid: PatchGrid,
    seed: u64,
    /// 0 where nothing is dropped.
    drop_path_blocks: usize,
    device: Device,
}

impl TrainingBatches {
    /// Enters the sequence before step `step_of_epoch` of `epoch`, both from 0.
    pub(crate) fn start(
        config: &PretrainConfig,
        dataset: Arc<Dataset>,
        device: Device,
        (epoch, step_of_epoch): (u64, u64),
        report: Report,
    ) -> Result<TrainingBatches> {
        let train = &config.train;
        let transform = Transform::train(&config.augment, config.data.image_size);
        let mut options = LoaderOptions::new(&config.data, transform, train.batch_size, config.seed);
        options.report = report;
        let steps = steps_per_epoch(dataset.len(), config);
        let start = Position {
            epoch,
            batch: step_of_epoch * train.accumulate as u64,
        };
        let drops = config.model.drop_path > 0.0;
        Ok(TrainingBatches {
            loader: Loader::new(dataset, options, start)?,
            used: steps * train.accumulate as u64,
            masks: RandomMask::new(config.mask),
            grid: config.grid()?,
            seed: config.seed,
            drop_path_blocks: if drops { config.model.blocks() } else { 0 },
            device,
        })
    }

    /// The next batch.
    pub(crate) fn next(&mut self) -> Result<TrainingBatch> {
        let started = Instant::now();
        let batch = loop {
            let batch = self.loader.next().context("the data loader has ended early")??;
            if batch.batch < self.used {
                break batch;
            }
        };
        let waited = started.elapsed();
        let (epoch, ids) = (batch.epoch, &batch.ids);
        let draws = (self.drop_path_blocks > 0)
            .then(|| DropPathDraws::new(self.seed, epoch, ids, self.drop_path_blocks));
        Ok(TrainingBatch {
            images: images(&batch, self.device)?,
            mask: self.masks.sample(self.grid, self.seed, epoch, ids)?,
            draws,
            skipped: batch.skipped as u64,
            waited,
        })
    }
}

/// Whole optimizer steps in an epoch of `images` images.
pub(crate) fn steps_per_epoch(images: usize, config: &PretrainConfig) -> u64 {
    (images / config.train.batch_size / config.train.accumulate) as u64
}

/// The images of a batch as a tensor on `device`.
pub(crate) fn images(batch: &Batch, device: Device) -> Result<Tensor> {
    let shape = batch.shape.map(|size| size as i64);
    let images = Tensor::f_from_slice(&batch.images)?.f_view(shape)?;
    Ok(images.f_to_device(device)?)
}
