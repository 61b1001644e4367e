//! The held-out images: their loss under masks that never change, and pictures of their reconstructions.

use std::sync::Arc;

use anyhow::{Result, ensure};
use fcmae_analysis::{PixelStatistics, Reconstruction, reconstruct};
use fcmae_data::{Dataset, Loader, LoaderOptions, Normalize, Position, Report, Transform};
use fcmae_masking::{PatchGrid, RandomMask};
use fcmae_model::{Fcmae, Step};
use fcmae_random::{Purpose, Stream};
use tch::{Device, Tensor, no_grad};

use crate::batches::images;
use crate::config::PretrainConfig;
use crate::stop::StopFlag;

/// Images that are not trained on, as evaluation sees them: no augmentation, fixed masks.
#[derive(Debug)]
pub(crate) struct HeldOutImages {
    dataset: Arc<Dataset>,
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
        let transform = Transform::eval(config.data.image_size);
        let options = LoaderOptions {
            shuffle: false,
            drop_last: false,
            epochs: Some(1),
            report,
            ..LoaderOptions::new(&config.data, transform, validation.batch_size, validation.seed)
        };
        Ok(HeldOutImages {
            dataset,
            options,
            masks: RandomMask::new(config.mask),
            grid: config.grid()?,
            seed: validation.seed,
            precision: config.precision.kind(),
            device,
        })
    }

    /// Mean masked loss over all hidden patches of all images; `None` if `stop` was raised on the way.
    pub(crate) fn loss(&self, model: &Fcmae, stop: &StopFlag) -> Result<Option<f64>> {
        let (mut sum, mut count) = (0.0, 0);
        for batch in Loader::new(
            Arc::clone(&self.dataset),
            self.options.clone(),
            Position::default(),
        )? {
            if stop.is_raised() {
                return Ok(None);
            }
            let batch = batch?;
            let mask = self.masks.sample_fixed(self.grid, self.seed, &batch.ids)?;
            let images = images(&batch, self.device)?;
            let loss = no_grad(|| model.loss(&images, &mask, &self.step()))?;
            // Every image has as many hidden patches: the mean over patches is the mean over images.
            sum += loss.double_value(&[]) * batch.ids.len() as f64;
            count += batch.ids.len();
        }
        ensure!(count > 0, "the data loader gave no held-out image");
        Ok(Some(sum / count as f64))
    }

    /// Reconstructions of `count` images, spread evenly over the list, the same ones each time.
    pub(crate) fn reconstruct(&self, model: &Fcmae, count: usize) -> Result<Vec<Reconstruction>> {
        let count = count.min(self.dataset.len());
        let indices = (0..count).map(|i| i * self.dataset.len() / count);
        let normalize = Normalize::new(&self.options.mean, &self.options.std);
        let [height, width] = self.options.transform.size();
        let (mut pixels, mut ids) = (Vec::new(), Vec::new());
        for index in indices {
            // An image that training may leave out is left out of the picture.
            let Ok(image) = self.dataset.load(index) else {
                continue;
            };
            let mut unused = Stream::new(self.seed, Purpose::ValidationMask, 0, 0); // evaluation draws nothing
            let image = self.options.transform.apply(&image, &mut unused);
            let start = pixels.len();
            pixels.resize(start + height * width * normalize.channels(), 0.0);
            normalize.write(&image, &mut pixels[start..]);
            ids.push(self.dataset.samples()[index].id);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let shape = [ids.len(), normalize.channels(), height, width].map(|size| size as i64);
        let images = Tensor::f_from_slice(&pixels)?
            .f_view(shape)?
            .f_to_device(self.device)?;
        let mask = self.masks.sample_fixed(self.grid, self.seed, &ids)?;
        let to_f32 = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
        let statistics = PixelStatistics {
            mean: to_f32(&self.options.mean),
            std: to_f32(&self.options.std),
        };
        Ok(reconstruct(model, &images, &mask, &statistics, &self.step())?)
    }

    fn step(&self) -> Step<'static> {
        Step {
            precision: self.precision,
            draws: None,
        }
    }
}
