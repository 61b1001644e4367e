//! The endless sequence of training batches, and what a task makes of one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fcmae_blocks::DropPathDraws;
use fcmae_data::{
    Batch, DataConfig, DataError, Dataset, Loader, LoaderOptions, Position, Report, StageTimes,
};
use fcmae_encoder::EncoderConfig;
use tch::{Device, Tensor};

use crate::config::{TrainConfig, ValidationConfig};
use crate::stop::StopFlag;

/// The endless sequence of training batches. What a batch holds is keyed by (seed, epoch, sample): it depends
/// neither on where the sequence was entered nor on threads.
#[derive(Debug)]
pub(crate) struct TrainingBatches {
    loader: Loader,
    /// Batches of an epoch that make whole optimizer steps; the rest of the epoch is left out.
    used: u64,
    epoch: Waiting,
}

/// What the current epoch has waited so far.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    waited: Duration,
    /// Stage times when it began.
    before: StageTimes,
}

/// Below this share nobody need care; above it the run says what to set.
const WAIT_WORTH_TELLING: f64 = 0.05;

/// Shorter epochs say nothing: they mostly wait for the loader's first batch.
const SHORTEST_EPOCH: Duration = Duration::from_secs(5);

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
            epoch: Waiting::begin(StageTimes::default()),
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
                self.epoch.waited += waited;
                return Ok(Some((batch, waited)));
            }
        }
    }

    /// Ends the account of an epoch: a sentence, where too much of it was spent waiting for images.
    pub(crate) fn close_epoch(&mut self, data: &DataConfig) -> Option<String> {
        let now = self.loader.stage_times();
        let epoch = std::mem::replace(&mut self.epoch, Waiting::begin(now));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let advice = (now - epoch.before).advice(data, cores);
        tell(epoch.waited, epoch.since.elapsed(), &advice)
    }
}

impl Waiting {
    fn begin(before: StageTimes) -> Waiting {
        Waiting {
            since: Instant::now(),
            waited: Duration::ZERO,
            before,
        }
    }
}

fn tell(waited: Duration, whole: Duration, advice: &str) -> Option<String> {
    let share = waited.as_secs_f64() / whole.as_secs_f64().max(1e-9);
    let is_worth_it = share > WAIT_WORTH_TELLING && whole >= SHORTEST_EPOCH;
    is_worth_it.then(|| {
        format!(
            "{:.0} % of this epoch was spent waiting for images: {advice}",
            100.0 * share
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_epochs_that_waited_much_are_told_of() {
        let seconds = Duration::from_secs_f64;
        let told = tell(seconds(1.2), seconds(10.0), "what helps: sleep").unwrap();
        assert_eq!(
            told,
            "12 % of this epoch was spent waiting for images: what helps: sleep"
        );
        assert_eq!(tell(seconds(0.4), seconds(10.0), ""), None);
        assert_eq!(tell(seconds(2.0), seconds(4.0), ""), None);
    }
}
