//! A run of any kind: the loop from step to step and epoch to epoch, and what surrounds it.

mod bad_step;
mod batches;
mod input;
mod introduction;
mod kept;
mod meter;
mod network;
mod plan;
mod prepare;
mod provenance;
mod replay;
mod report;
mod resume;
mod saving;
mod task;
#[cfg(test)]
pub(crate) mod testing;
mod waiting;
mod writer;

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Instant;

use anyhow::{Context, Result};
use fcmae_blocks::Watch;
use fcmae_data::DataError;

use crate::machine::own_memory;
use crate::metrics::EpochRecord;
use crate::progress::{News, Verbosity};
use crate::stop::{SaveFlag, StopFlag};
use crate::summary::{Ending, Summary};

use bad_step::Taken;
use meter::Meter;
use prepare::{Prepared, Run};
use writer::Writer;

pub(crate) use batches::{drop_path_draws, held_out_options, images};
pub(crate) use input::Input;
pub(crate) use introduction::in_place_of_grn;
pub(crate) use kept::Kept;
pub(crate) use plan::plan;
pub use plan::{Plan, PlanOptions};
pub use replay::{Replay, ReplayedBatch, Seen, replay};
#[cfg(test)]
pub(crate) use resume::decisive;
#[cfg(test)]
pub(crate) use saving::read_state;
pub(crate) use saving::{MODEL, key};
pub(crate) use task::{Closed, Closing, Floats, Task};
pub(crate) use writer::Snapshot;

/// How a run is started.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Whether an earlier run of the same folder is continued.
    pub start: Start,
    /// Whether a run goes on with another learning rate (`lr`, `blr`, `min_lr`), warm-up or clipping than it began with;
    /// otherwise these are refused, as is everything else that decides its weights.
    pub retune: bool,
    /// How much is said on stderr.
    pub verbosity: Verbosity,
    /// Where everything that a run says goes instead of stderr, for a display of its own.
    pub watcher: Option<Sender<News>>,
    /// Raised from outside, it makes the run save itself and return.
    pub stop: StopFlag,
    /// Raised from outside, it makes the run save itself and go on.
    pub save: SaveFlag,
    /// Where the config comes from, for the report.
    pub source: Source,
}

/// Where a run's config comes from; what is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// The command that was typed.
    pub command: String,
    /// Where each value was given, by its full key: see [`origins`](crate::origins).
    pub origins: BTreeMap<String, String>,
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

/// Carries out the run that `config` describes; the front page tells what that promises.
pub(crate) fn run<T: Task>(config: &T::Config, options: &RunOptions) -> Result<Summary> {
    let mut run = match Run::<T>::prepare(config, options)? {
        Prepared::Finished(summary) => return Ok(*summary),
        Prepared::Ready(run) => run,
    };
    let ending = run.train();
    run.progress.finish();
    let written = run.write_report();
    match ending {
        Ok(ending) => {
            run.warn_of_report(written);
            run.summary(ending)
        }
        Err(error) => Err(run.rescue(error)), // which says more than a report that fails too
    }
}

/// What came of an accumulation window.
enum Window {
    /// A step of the optimizer.
    Stepped,
    /// Nothing: the run was asked to stop on the way.
    Stopped,
    /// Nothing: its loss or gradients are not to be learnt from.
    Refused { problem: String, batches: Vec<Taken> },
}

impl<T: Task> Run<T> {
    /// Steps and epochs until the run is over or stopped. Only whole steps ever reach a checkpoint.
    fn train(&mut self) -> Result<Ending> {
        let total = self.total_steps();
        self.progress.begin();
        loop {
            if self.state.is_epoch_to_be_closed() && !self.close_epoch()? {
                return self.stop();
            }
            self.save_if_due()?;
            if self.state.is_over(total) {
                self.wait_until_saved()?;
                return Ok(Ending::Finished);
            }
            if !self.step()? {
                return self.stop();
            }
        }
    }

    /// One optimizer step, taken or passed over; `false` if a stop threw its window away. Without a step, what the
    /// window did to running statistics is undone.
    fn step(&mut self) -> Result<bool> {
        let before = self.network.statistics();
        let done = self.window();
        if !matches!(done, Ok(Window::Stepped)) {
            self.network.put_back(&before);
        }
        match done? {
            Window::Stepped => Ok(true),
            Window::Stopped => Ok(false),
            Window::Refused { problem, batches } => self.refuse(problem, &batches).map(|()| true),
        }
    }

    /// `train.accumulate` batches and what the optimizer makes of them.
    fn window(&mut self) -> Result<Window> {
        let accumulate = self.settings.train.accumulate;
        let lr = self.schedule.lr(self.state.fractional_epoch());
        self.network.optimizer.zero_grad()?;
        let (mut loss, mut skipped) = (0.0, 0);
        let mut batches = Vec::with_capacity(accumulate);
        for _ in 0..accumulate {
            if self.stop.is_raised() {
                return Ok(Window::Stopped);
            }
            let Some((batch, waited)) = self.batches.next_unless(&self.stop)? else {
                return Ok(Window::Stopped);
            };
            skipped += batch.skipped as u64;
            self.meter.add(batch.ids.len(), waited);
            let mut taken = Taken::new(&batch);
            let part = self.task.loss(batch, Watch::default())? / accumulate as f64;
            part.f_backward()?; // before the loss is read, which waits for a GPU
            let part = part.double_value(&[]);
            taken.loss = part * accumulate as f64;
            loss += part;
            batches.push(taken);
        }
        let grad_norm = self.network.optimizer.clip_grad_norm(self.settings.clip_grad);
        let smoothed = self.state.loss_smoothed.value();
        if let Some(problem) = self.settings.guard.fault(loss, grad_norm, smoothed) {
            return Ok(Window::Refused { problem, batches });
        }
        self.network.optimizer.step(lr)?;
        self.task.step_done()?;
        self.state.add_step(loss, skipped);
        self.report_step(loss, lr, grad_norm)?;
        if let Some(waiting) = self.batches.look_at_epoch(&self.settings.data) {
            self.progress.warn(&waiting);
        }
        Ok(Window::Stepped)
    }

    /// Measures, pictures and logs the epoch whose last step is done; `false` if it was stopped on the way.
    fn close_epoch(&mut self) -> Result<bool> {
        let epoch = self.state.epochs_closed + 1;
        if let Some(waiting) = self.batches.close_epoch(&self.settings.data) {
            self.progress.warn(&waiting);
        }
        let metadata = saving::metadata(&self.task, &self.state, &self.class_names)?;
        let mut closing = Closing {
            epoch,
            epochs: self.settings.schedule.epochs,
            step: self.state.step,
            vs: &self.network.vs,
            folder: &self.folder,
            events: &mut self.events,
            stop: &self.stop,
            metadata: &metadata,
        };
        let Some(closed) = self.task.close_epoch(&mut closing)? else {
            return Ok(false);
        };
        let record = EpochRecord {
            step: self.state.step,
            epoch,
            train_loss: self.state.epoch.mean_loss(),
            val_loss: closed.held_out,
            val: closed.measures,
            val_ema: closed.ema_measures,
            monitor: closed.monitored.map(Box::new),
            lr: self.last_lr(),
            skipped: self.state.epoch.skipped,
            seconds: self.epoch_started.elapsed().as_secs_f64(),
            memory_mib: own_memory(),
        };
        self.state.close_epoch(closed.held_out);
        self.state.ended_early = closed.ends_early;
        self.report_epoch(&record)?;
        closed
            .warnings
            .iter()
            .for_each(|warning| self.progress.warn(warning));
        self.refresh_report();
        self.epoch_started = Instant::now();
        self.meter = Meter::start();
        Ok(true)
    }

    fn save_if_due(&mut self) -> Result<()> {
        self.written(Writer::check)?;
        let is_asked_for = self.state.step > 0 && self.save.take();
        if self.is_save_due(is_asked_for) {
            self.save()?;
        }
        if is_asked_for && let Some((step, _)) = self.saved {
            self.wait_until_saved()?;
            self.progress.line(&format!("saved at step {step}"));
        }
        Ok(())
    }

    /// Whether this step is to have a checkpoint that is not written yet.
    fn is_save_due(&self, is_asked_for: bool) -> bool {
        let (step, closed) = (self.state.step, self.state.epochs_closed);
        let settings = &self.settings.checkpoint;
        let by_steps = settings.every_steps > 0 && step.is_multiple_of(settings.every_steps);
        let is_end = self.state.is_over(self.total_steps());
        let by_epochs = self.state.next_step_of_epoch() == 0
            && settings.every_epochs > 0
            && closed.is_multiple_of(settings.every_epochs);
        step > 0 && self.saved != Some((step, closed)) && (by_steps || by_epochs || is_end || is_asked_for)
    }

    /// Begins to write a checkpoint of what is, and goes on.
    fn save(&mut self) -> Result<()> {
        let (task, network, state, names) = (&mut self.task, &self.network, &self.state, &self.class_names);
        let begun = self.writer.begin(|| {
            saving::check_finite(network, state.step)?;
            saving::fill(Snapshot::new(state.step), task, network, state, names)
        });
        self.with_step(begun)?;
        self.saved = Some((self.state.step, self.state.epochs_closed));
        Ok(())
    }

    /// Waits until the newest checkpoint is on the disk.
    fn wait_until_saved(&mut self) -> Result<()> {
        self.written(Writer::wait)
    }

    fn written(&mut self, look: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
        let found = look(&mut self.writer);
        self.with_step(found)
    }

    fn with_step(&self, saved: Result<()>) -> Result<()> {
        saved.with_context(|| format!("the run stops at step {}", self.state.step))
    }

    /// Saves the last whole step, unless it is saved already, and waits until it is on the disk.
    fn stop(&mut self) -> Result<Ending> {
        let here = (self.state.step, self.state.epochs_closed);
        if self.state.step > 0 && self.saved != Some(here) {
            self.save()?;
        }
        self.wait_until_saved()?;
        Ok(Ending::Stopped)
    }

    /// An image that cannot be read costs no step: what was done before it is saved.
    fn rescue(&mut self, error: anyhow::Error) -> anyhow::Error {
        let error = with_advice(error);
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
}

/// An image that cannot be read, with what to do about it; any other error as it is.
fn with_advice(error: anyhow::Error) -> anyhow::Error {
    use DataError::{Decode, Read, UnknownFormat};
    match error.downcast_ref::<DataError>() {
        Some(cause @ (Read { .. } | UnknownFormat { .. } | Decode { .. })) => {
            let advice =
                format!("{cause}; mend or remove the image, or go on with `data.on_error` = \"skip\"");
            error.context(advice)
        }
        _ => error,
    }
}
