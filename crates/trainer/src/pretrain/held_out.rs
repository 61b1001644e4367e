//! The held-out images: their loss under masks that never change, and pictures of their reconstructions.

use std::sync::Arc;

use anyhow::{Result, ensure};
use fcmae_analysis::Reconstruction;
use fcmae_data::{DataConfig, DataError, Dataset, Loader, LoaderOptions, Position, Report};
use fcmae_masking::{PatchGrid, RandomMask};
use fcmae_model::{Fcmae, Step};
use tch::{Device, no_grad};

use crate::config::PretrainConfig;
use crate::evaluation::Images;
use crate::run::{held_out_options, images};
use crate::stop::StopFlag;

/// Images that are not trained on, as evaluation sees them: no augmentation, fixed masks.
#[derive(Debug)]
pub(crate) struct HeldOutImages {
    dataset: Arc<Dataset>,
    data: DataConfig,
    options: LoaderOptions,
    masks: RandomMask,
    grid: PatchGrid,
    seed: u64,
    precision: tch::Kind,
    device: Device,
}

impl HeldOutImages {
    pub(crate) fn new(
        config: &PretrainConfig,
        dataset: Arc<Dataset>,
        device: Device,
        report: Report,
    ) -> Result<HeldOutImages> {
        let validation = &config.validation;
        Ok(HeldOutImages {
            dataset,
            data: config.data.clone(),
            options: held_out_options(&config.data, validation, report),
            masks: RandomMask::new(config.mask),
            grid: config.grid()?,
            seed: validation.seed,
            precision: config.precision.kind(),
            device,
        })
    }

    /// Mean masked loss over all hidden patches of all images; `None` if `stop` was raised on the way.
    pub(crate) fn loss(&self, model: &Fcmae, stop: &StopFlag) -> Result<Option<f64>> {
        let step = Step {
            precision: self.precision,
            ..Step::default()
        };
        let (mut sum, mut count) = (0.0, 0);
        let batches = Loader::new(
            Arc::clone(&self.dataset),
            self.options.clone(),
            Position::default(),
        )?;
        for batch in batches.unless(|| stop.is_up()) {
            if stop.is_raised() {
                return Ok(None);
            }
            let batch = batch?;
            let mask = self.masks.sample_fixed(self.grid, self.seed, &batch.ids)?;
            let images = images(&batch, self.device)?;
            let loss = no_grad(|| model.loss(&images, &mask, &step))?;
            // Every image has as many hidden patches: the mean over patches is the mean over images.
            sum += loss.double_value(&[]) * batch.ids.len() as f64;
            count += batch.ids.len();
        }
        ensure!(count > 0, "the data loader gave no held-out image");
        Ok(Some(sum / count as f64))
    }

    /// Reconstructions of `count` images, spread evenly over the list, the same ones each time; `None` when stopped.
    pub(crate) fn reconstruct(
        &self,
        model: &Fcmae,
        count: usize,
        stop: &StopFlag,
    ) -> Result<Option<Vec<Reconstruction>>> {
        let count = count.min(self.dataset.len());
        let indices = (0..count).map(|i| i * self.dataset.len() / count);
        // An image that training may leave out is left out of the picture.
        let mut readable = Vec::new();
        for index in indices {
            match self.dataset.load_unless(index, || stop.is_up()) {
                Ok(image) => readable.push(Ok((self.dataset.samples()[index].id, image))),
                Err(DataError::Stopped) => return Ok(None),
                Err(error @ DataError::Fetch { .. }) => return Err(error.into()),
                Err(_) => {}
            }
        }
        if readable.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let images = Images::new(readable, &self.data, self.device)?;
        let mask = self.masks.sample_fixed(self.grid, self.seed, &images.ids)?;
        images.reconstruct(model, &mask, self.precision).map(Some)
    }
}
