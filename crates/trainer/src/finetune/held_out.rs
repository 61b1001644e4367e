//! The held-out images of a classifier: what it gets right of them.

use std::sync::Arc;

use anyhow::{Result, ensure};
use fcmae_data::{Dataset, LabelKind, Loader, LoaderOptions, Position, Report};
use fcmae_encoder::Classifier;
use fcmae_model::Pass;
use tch::{Device, Kind, Tensor, no_grad};

use super::objective::{Objective, targets};
use crate::config::FinetuneConfig;
use crate::measures::Measures;
use crate::run::{held_out_options, images};
use crate::stop::StopFlag;

/// Labelled images that are not trained on, as evaluation sees them: no augmentation.
#[derive(Debug)]
pub(super) struct HeldOutLabels {
    dataset: Arc<Dataset>,
    options: LoaderOptions,
    objective: Objective,
    has_several_labels: bool,
    classes: usize,
    precision: Kind,
    device: Device,
}

impl HeldOutLabels {
    pub(super) fn new(
        config: &FinetuneConfig,
        dataset: Arc<Dataset>,
        classes: usize,
        device: Device,
        report: Report,
    ) -> HeldOutLabels {
        HeldOutLabels {
            dataset,
            options: held_out_options(&config.data, &config.validation, report),
            objective: Objective::plain(config.is_sigmoid()),
            has_several_labels: config.labels.kind == LabelKind::MultiLabel,
            classes,
            precision: config.precision.kind(),
            device,
        }
    }

    /// Measures of `model` on all images; `None` if `stop` was raised on the way.
    pub(super) fn measure(&self, model: &Classifier, stop: &StopFlag) -> Result<Option<Measures>> {
        let (mut sum, mut logits, mut rows, mut labels) = (0.0, Vec::new(), Vec::new(), Vec::new());
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
            let images = images(&batch, self.device)?.to_kind(self.precision);
            let found = no_grad(|| model.forward(&images, &Pass::default()))?.to_kind(Kind::Float);
            let wanted = targets(batch.targets, self.classes, self.device)?;
            sum += self.objective.loss(&found, &wanted).double_value(&[]) * batch.ids.len() as f64;
            extend(&mut logits, &found)?;
            if self.has_several_labels {
                extend(&mut rows, &wanted)?;
            } else {
                labels.extend(batch.labels.into_iter().flatten());
            }
        }
        let images = logits.len() / self.classes;
        ensure!(images > 0, "the data loader gave no held-out image");
        let loss = sum / images as f64;
        Ok(Some(if self.has_several_labels {
            let rows: Vec<bool> = rows.iter().map(|&target| target >= 0.5).collect();
            Measures::of_decisions(loss, &logits, &rows, self.classes)?
        } else {
            Measures::of_labels(loss, &logits, &labels, self.classes)?
        }))
    }
}

fn extend(buffer: &mut Vec<f32>, values: &Tensor) -> Result<()> {
    buffer.extend(Vec::<f32>::try_from(
        values.to_device(Device::Cpu).flatten(0, -1),
    )?);
    Ok(())
}
