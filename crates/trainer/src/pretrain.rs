//! Pre-training: the loop.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use fcmae_data::DataError;
use fcmae_model::{Pass, Step};

use crate::config::PretrainConfig;
use crate::meter::Meter;
use crate::metrics::{EpochRecord, Record, StepRecord};
use crate::prepare::{Prepared, Run};
use crate::progress::{Shown, Verbosity, duration};
use crate::stop::StopFlag;
use crate::summary::{Ending, Summary};
use crate::{pictures, saving};

/// How a run is started.
#[derive(Debug, Clone, Default)]
pub struct PretrainOptions {
    /// Whether an earlier run of the same folder is continued.
    pub start: Start,
    /// How much is said on stderr.
    pub verbosity: Verbosity,
    /// Raised from outside, it makes the run save itself and return.
    pub stop: StopFlag,
}

/// Whether an earlier run of the same folder is continued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// Continue where the folder's newest checkpoint stands; begin where there is none.
    #[default]
    Continue,
    /// Continue, and refuse to begin.
    Resume,
    /// Begin in a new folder: `name`, or `name-2`, `name-3`, … where that exists.
    Fresh,
}

/// Pre-trains as `config` says; the result is in its run folder.
///
/// Stopped and started again at any moment, it ends with the same bits as a run that was left alone, on the
/// same machine, libtorch and number of threads. A run that is finished says so and changes nothing; with more
/// `schedule.epochs` it goes on.
///
/// # Errors
/// [`InputError`](crate::InputError) and the errors of the lower crates for what the user can put right; a loss
/// that is not finite; a disk that fails. The last checkpoint is intact in each case.
pub fn pretrain(config: &PretrainConfig, options: &PretrainOptions) -> Result<Summary> {
    let mut run = match Run::prepare(config, options)? {
        Prepared::Finished(summary) => return Ok(*summary),
        Prepared::Ready(run) => run,
    };
    let ending = run.train();
    run.progress.finish();
    match ending {
        Ok(ending) => Ok(run.summary(ending)),
        Err(error) => Err(run.rescue(error)),
    }
}

impl Run {
    /// Steps and epochs until the run is over or stopped. Only whole steps ever reach a checkpoint.
    fn train(&mut self) -> Result<Ending> {
        let total = self.total_steps();
        self.progress.begin();
        loop {
            if self.state.is_epoch_to_be_closed() && !self.close_epoch()? {
                return self.stop();
            }
            if self.is_save_due() {
                self.save()?;
            }
            if self.state.step == total {
                return Ok(Ending::Finished);
            }
            if !self.step()? {
                return self.stop();
            }
        }
    }

    /// One optimizer step over `train.accumulate` batches; `false` if a stop threw the window away.
    fn step(&mut self) -> Result<bool> {
        let accumulate = self.config.train.accumulate;
        let lr = self.schedule.lr(self.state.fractional_epoch());
        self.network.optimizer.zero_grad()?;
        let (mut loss, mut skipped) = (0.0, 0);
        for _ in 0..accumulate {
            if self.stop.is_raised() {
                return Ok(false);
            }
            let batch = self.batches.next()?;
            let step = Step {
                precision: self.config.precision.kind(),
                pass: Pass {
                    draws: batch.draws.as_ref(),
                    activation: self.config.activation,
                },
            };
            let part = self.network.model.loss(&batch.images, &batch.mask, &step)? / accumulate as f64;
            loss += self.finite(part.double_value(&[]))?;
            part.f_backward()?;
            skipped += batch.skipped;
            self.meter.add(batch.mask.images(), batch.waited);
        }
        let clip = self.config.optimizer.clip_grad;
        let grad_norm = (clip > 0.0).then(|| self.network.optimizer.clip_grad_norm(clip));
        self.network.optimizer.step(lr)?;
        self.state.add_step(loss, skipped);
        self.report_step(loss, lr, grad_norm)?;
        Ok(true)
    }

    fn finite(&self, loss: f64) -> Result<f64> {
        if loss.is_finite() {
            return Ok(loss);
        }
        let intact = match self.saved {
            Some((step, _)) => format!("the checkpoint of step {step} is intact"),
            None => "no checkpoint was written yet".to_owned(),
        };
        bail!(
            "step {} (epoch {}): the loss is {loss}; {intact}. Lower `optimizer.lr`, lengthen \
             `schedule.warmup_epochs`, or set `optimizer.clip_grad` = 1.0",
            self.state.step + 1,
            self.state.next_epoch() + 1
        )
    }

    /// Measures, pictures and logs the epoch whose last step is done; `false` if it was stopped on the way.
    fn close_epoch(&mut self) -> Result<bool> {
        let (epoch, lr) = (self.state.epochs_closed + 1, self.last_lr());
        let (validation, log) = (&self.config.validation, &self.config.log);
        let mut held_out = None;
        if self.held_out.is_measured && self.is_due(epoch, validation.every_epochs) {
            held_out = self.held_out.images.loss(&self.network.model, &self.stop)?;
            if held_out.is_none() {
                return Ok(false);
            }
        }
        if self.is_due(epoch, log.reconstructions_every_epochs) {
            let rows = self
                .held_out
                .images
                .reconstruct(&self.network.model, log.reconstruction_images)?;
            pictures::write(&self.folder, &mut self.events, epoch, self.state.step, &rows)?;
        }
        let record = EpochRecord {
            step: self.state.step,
            epoch,
            train_loss: self.state.epoch.mean_loss(),
            val_loss: held_out,
            lr,
            skipped: self.state.epoch.skipped,
            seconds: self.epoch_started.elapsed().as_secs_f64(),
        };
        self.state.close_epoch(held_out);
        self.report_epoch(&record)?;
        self.epoch_started = Instant::now();
        self.meter = Meter::start();
        Ok(true)
    }

    /// Whether something that happens every `every` epochs (0 = never) and after the last happens after `epoch`.
    fn is_due(&self, epoch: u64, every: u64) -> bool {
        every > 0 && (epoch.is_multiple_of(every) || epoch == self.config.schedule.epochs)
    }

    /// Whether this step has a checkpoint of its own that is not written yet.
    fn is_save_due(&self) -> bool {
        let (step, closed) = (self.state.step, self.state.epochs_closed);
        let settings = &self.config.checkpoint;
        let by_steps = settings.every_steps > 0 && step.is_multiple_of(settings.every_steps);
        let is_end = step == self.total_steps();
        let by_epochs = self.state.next_step_of_epoch() == 0
            && settings.every_epochs > 0
            && closed.is_multiple_of(settings.every_epochs);
        step > 0 && self.saved != Some((step, closed)) && (by_steps || by_epochs || is_end)
    }

    fn save(&mut self) -> Result<()> {
        let step = self.state.step;
        saving::save(&self.checkpoints, &self.network, &self.state, &self.class_names)
            .with_context(|| format!("the run stops at step {step}, which is not saved"))?;
        self.saved = Some((step, self.state.epochs_closed));
        Ok(())
    }

    /// Saves the last whole step, unless it is saved already.
    fn stop(&mut self) -> Result<Ending> {
        let here = (self.state.step, self.state.epochs_closed);
        if self.state.step > 0 && self.saved != Some(here) {
            self.save()?;
        }
        Ok(Ending::Stopped)
    }

    /// An image that cannot be read costs no step: what was done before it is saved.
    fn rescue(&mut self, error: anyhow::Error) -> anyhow::Error {
        if self.state.step == 0 || !error.chain().any(|cause| cause.is::<DataError>()) {
            return error;
        }
        match self.stop() {
            Ok(_) => {
                let step = self.state.step;
                error.context(format!("the run stops after step {step}, which is saved"))
            }
            Err(unsaved) => error.context(unsaved),
        }
    }

    fn report_step(&mut self, loss: f64, lr: f64, grad_norm: Option<f64>) -> Result<()> {
        let (images_per_second, data_wait) = self.meter.read();
        let state = &self.state;
        let step = state.step;
        let loss_smoothed = state.loss_smoothed.value();
        self.progress.step(&Shown {
            step,
            total_steps: self.total_steps(),
            epoch: (step - 1) / state.steps_per_epoch + 1,
            epochs: self.config.schedule.epochs,
            loss: loss_smoothed,
            lr,
            images_per_second,
            data_wait,
        });
        if !step.is_multiple_of(self.config.log.every_steps) {
            return Ok(());
        }
        let epoch = state.fractional_epoch();
        let record = StepRecord {
            step,
            epoch,
            loss,
            loss_smoothed,
            lr,
            grad_norm,
            images_per_second,
            data_wait,
        };
        self.write_metrics(&Record::Step(record))?;
        for (tag, value) in [
            ("train/loss", loss),
            ("train/lr", lr),
            ("train/images_per_second", images_per_second),
            ("train/data_wait", data_wait),
        ] {
            self.events.scalar(tag, step, value)?;
        }
        self.meter = Meter::start();
        Ok(())
    }

    fn report_epoch(&mut self, record: &EpochRecord) -> Result<()> {
        self.write_metrics(&Record::Epoch(record.clone()))?;
        self.events
            .scalar("epoch/train_loss", record.step, record.train_loss)?;
        if let Some(loss) = record.val_loss {
            self.events.scalar("epoch/held_out_loss", record.step, loss)?;
        }
        self.progress.line(&describe(record, self.config.schedule.epochs));
        Ok(())
    }

    fn write_metrics(&mut self, record: &Record) -> Result<()> {
        let file = self.folder.metrics();
        self.metrics
            .write(record)
            .with_context(|| file.display().to_string())
    }

    fn last_lr(&self) -> f64 {
        self.schedule
            .lr((self.state.step - 1) as f64 / self.state.steps_per_epoch as f64)
    }
}

fn describe(record: &EpochRecord, epochs: u64) -> String {
    let mut text = format!("epoch {}/{epochs} · loss {:.4}", record.epoch, record.train_loss);
    if let Some(loss) = record.val_loss {
        text += &format!(" · held-out {loss:.4}");
    }
    text += &format!(
        " · lr {:.2e} · {}",
        record.lr,
        duration(std::time::Duration::from_secs_f64(record.seconds))
    );
    if record.skipped > 0 {
        let plural = if record.skipped == 1 { "" } else { "s" };
        text += &format!(" · {} image{plural} skipped", record.skipped);
    }
    text
}

#[cfg(test)]
mod tests;
