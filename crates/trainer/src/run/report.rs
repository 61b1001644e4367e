//! What a run writes down and shows of its steps and epochs.

use anyhow::{Context, Result};
use fcmae_report::{LiveReport, ReportError};

use super::meter::Meter;
use super::prepare::Run;
use super::task::Task;
use crate::measures::Measures;
use crate::metrics::{EpochRecord, Record, StepRecord};
use crate::progress::{Shown, duration};

impl<T: Task> Run<T> {
    pub(super) fn report_step(&mut self, loss: f64, lr: f64, grad_norm: f64) -> Result<()> {
        let (images_per_second, data_wait) = self.meter.read();
        let state = &self.state;
        let step = state.step;
        let loss_smoothed = state.loss_smoothed.value();
        self.progress.step(&Shown {
            step,
            total_steps: self.total_steps(),
            epoch: (step - 1) / state.steps_per_epoch + 1,
            epochs: self.settings.schedule.epochs,
            loss: loss_smoothed,
            lr,
            images_per_second,
            data_wait,
        });
        if !step.is_multiple_of(self.settings.log_every_steps) {
            return Ok(());
        }
        let epoch = state.fractional_epoch();
        let record = StepRecord {
            step,
            epoch,
            loss,
            loss_smoothed,
            lr,
            grad_norm: Some(grad_norm),
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

    pub(super) fn report_epoch(&mut self, record: &EpochRecord) -> Result<()> {
        self.write_metrics(&Record::Epoch(Box::new(record.clone())))?;
        let losses = [
            ("epoch/train_loss", record.train_loss),
            ("epoch/held_out_loss", record.val_loss),
        ];
        for (tag, loss) in losses {
            if let Some(loss) = loss {
                self.events.scalar(tag, record.step, loss)?;
            }
        }
        for (part, measures) in [("val", &record.val), ("val_ema", &record.val_ema)] {
            for (name, value) in measures.iter().flat_map(Measures::named) {
                self.events
                    .scalar(&format!("{part}/{name}"), record.step, value)?;
            }
        }
        for (name, value) in record.monitor.iter().flat_map(|monitored| monitored.named()) {
            self.events.scalar(&name, record.step, value)?;
        }
        let picture = self.folder.reconstruction(record.epoch);
        self.progress.epoch(
            &describe(record, self.settings.schedule.epochs),
            record,
            picture.exists().then_some(picture),
        );
        Ok(())
    }

    /// Brings the report up to date after an epoch; the last one waits for the run's end.
    pub(super) fn refresh_report(&mut self) {
        let is_last = self.state.is_over(self.total_steps());
        if let Some(report) = self.report.as_mut().filter(|_| !is_last) {
            let written = report.refresh();
            self.warn_of_report(written);
        }
    }

    /// Writes the report of a run that has come to its end, whatever end.
    pub(super) fn write_report(&mut self) -> Result<(), ReportError> {
        self.report.as_mut().map_or(Ok(()), LiveReport::write)
    }

    /// Nobody loses a run because of its report.
    pub(super) fn warn_of_report(&self, written: Result<(), ReportError>) {
        if let Err(error) = written {
            self.progress.warn(&format!("no report: {error}"));
        }
    }

    fn write_metrics(&mut self, record: &Record) -> Result<()> {
        let file = self.folder.metrics();
        self.metrics
            .write(record)
            .with_context(|| file.display().to_string())
    }

    pub(super) fn last_lr(&self) -> f64 {
        self.schedule
            .lr((self.state.step - 1) as f64 / self.state.steps_per_epoch as f64)
    }
}

fn describe(record: &EpochRecord, epochs: u64) -> String {
    let mut text = format!("epoch {}/{epochs}", record.epoch);
    for (name, loss) in [("loss", record.train_loss), ("held-out", record.val_loss)] {
        if let Some(loss) = loss {
            text += &format!(" · {name} {loss:.4}");
        }
    }
    for (part, measures) in [("", &record.val), (" averaged", &record.val_ema)] {
        if let Some(measures) = measures {
            text += &format!(" ·{part} {measures}");
        }
    }
    if let Some(monitored) = &record.monitor {
        text += &format!(" · cosine distance {:.3}", monitored.hidden_distance);
        if let Some(knn) = monitored.knn {
            text += &format!(" · kNN {:.1} %", 100.0 * knn.accuracy);
        }
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
