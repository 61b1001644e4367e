//! `state.json`: where a run stands, so that it can go on as if it had never stopped.

use serde::{Deserialize, Serialize};

use crate::data_stamp::DataStamp;
use crate::machine::Machine;
use crate::metrics::Smoothed;

/// Where a run stands after a whole number of optimizer steps.
///
/// A checkpoint never lies inside an accumulation window: a stop there throws the window away, and a resumed
/// run takes its batches again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Version of this file's layout.
    pub version: u32,
    /// Optimizer steps done.
    pub step: u64,
    /// How many of these were passed over (`[guard]`): they took their batches, and no step of the optimizer.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_skipped: u64,
    /// Optimizer steps in an epoch.
    pub steps_per_epoch: u64,
    /// Epochs that are over: measured on the held-out images, pictured and logged.
    pub epochs_closed: u64,
    /// The loss as the progress bar shows it.
    pub loss_smoothed: Smoothed,
    /// The steps of the epoch under way.
    pub epoch: EpochSums,
    /// Mean loss over the steps of the last closed epoch.
    pub train_loss: Option<f64>,
    /// Loss on the held-out images after the first epoch and after the last one measured.
    pub held_out: HeldOut,
    /// Whether the run ended before its last epoch because it no longer got better.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended_early: bool,
    /// The run's seed: with the position it says all of order, augmentation and masks.
    pub seed: u64,
    /// The images.
    pub data: DataStamp,
    /// What the run computed on.
    pub machine: Machine,
    /// The resolved config, as in `config.toml`.
    pub config: String,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Sums over the steps of the epoch under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Sum of the steps' losses.
    pub loss: f64,
    /// Number of steps.
    pub steps: u64,
    /// Images that were left out because they could not be read.
    pub skipped: u64,
}

impl EpochSums {
    /// Mean loss of the steps; `None` before the first one.
    #[must_use]
    pub fn mean_loss(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.loss / self.steps as f64)
    }
}

/// Losses on the held-out images that outlive their epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// The first one measured.
    pub first: Option<f64>,
    /// The newest one.
    pub last: Option<f64>,
}

impl State {
    /// The layout that this version writes and reads.
    pub const VERSION: u32 = 1;

    /// The state before the first step.
    #[must_use]
    pub fn new(seed: u64, steps_per_epoch: u64, data: DataStamp, machine: Machine, config: String) -> State {
        State {
            version: State::VERSION,
            step: 0,
            steps_skipped: 0,
            steps_per_epoch,
            epochs_closed: 0,
            loss_smoothed: Smoothed::default(),
            epoch: EpochSums::default(),
            train_loss: None,
            held_out: HeldOut::default(),
            ended_early: false,
            seed,
            data,
            machine,
            config,
        }
    }

    /// The epoch of the next step, counted from 0.
    #[must_use]
    pub fn next_epoch(&self) -> u64 {
        self.step / self.steps_per_epoch
    }

    /// The place of the next step in its epoch, counted from 0.
    #[must_use]
    pub fn next_step_of_epoch(&self) -> u64 {
        self.step % self.steps_per_epoch
    }

    /// Epochs done, as a fraction: what the learning rate follows.
    #[must_use]
    pub fn fractional_epoch(&self) -> f64 {
        self.step as f64 / self.steps_per_epoch as f64
    }

    /// Whether the last step of an epoch is done and the epoch is not closed yet.
    #[must_use]
    pub fn is_epoch_to_be_closed(&self) -> bool {
        self.epochs_closed < self.next_epoch()
    }

    /// Whether no step is left of `total`.
    #[must_use]
    pub fn is_over(&self, total: u64) -> bool {
        self.step == total || self.ended_early
    }

    /// Whether the last of `epochs` is closed, or the run ended before it.
    #[must_use]
    pub fn is_finished(&self, epochs: u64) -> bool {
        self.epochs_closed == epochs || self.ended_early
    }

    /// Steps that the optimizer has taken.
    #[must_use]
    pub fn optimizer_steps(&self) -> u64 {
        self.step - self.steps_skipped
    }

    /// Passes over a step: its batches are used up, and nothing was learnt from them.
    pub fn skip_step(&mut self) {
        self.step += 1;
        self.steps_skipped += 1;
    }

    /// Takes a finished step into account.
    pub fn add_step(&mut self, loss: f64, skipped: u64) {
        self.step += 1;
        self.loss_smoothed.add(loss);
        self.epoch.loss += loss;
        self.epoch.steps += 1;
        self.epoch.skipped += skipped;
    }

    /// Closes the epoch whose last step is done.
    pub fn close_epoch(&mut self, held_out: Option<f64>) {
        self.epochs_closed += 1;
        self.train_loss = self.epoch.mean_loss();
        self.epoch = EpochSums::default();
        if held_out.is_some() {
            self.held_out.last = held_out;
            self.held_out.first = self.held_out.first.or(held_out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let machine = Machine {
            device: "cpu".into(),
            kernels: "k".into(),
            libtorch: "2".into(),
            threads: 1,
        };
        let data = DataStamp {
            images: 30,
            fingerprint: "f".into(),
            ..DataStamp::default()
        };
        State::new(1, 3, data, machine, "seed = 1\n".into())
    }

    #[test]
    fn an_epoch_is_closed_once_after_its_last_step() {
        let mut state = state();
        for step in 0..3 {
            assert!(!state.is_epoch_to_be_closed());
            assert_eq!((state.next_epoch(), state.next_step_of_epoch()), (0, step));
            state.add_step(1.0 + step as f64, 1);
        }
        assert!(state.is_epoch_to_be_closed());
        assert_eq!((state.epoch.mean_loss(), state.epoch.skipped), (Some(2.0), 3));
        state.close_epoch(Some(0.9));
        assert!(!state.is_epoch_to_be_closed());
        assert_eq!((state.next_epoch(), state.next_step_of_epoch()), (1, 0));
        assert_eq!(
            (state.epoch, state.fractional_epoch()),
            (EpochSums::default(), 1.0)
        );
        assert_eq!(state.train_loss, Some(2.0));
        (0..3).for_each(|_| state.skip_step());
        state.close_epoch(None);
        assert_eq!(state.train_loss, None);
    }

    #[test]
    fn the_first_and_the_last_held_out_loss_are_kept() {
        let mut state = state();
        for loss in [None, Some(0.9), Some(0.8), None] {
            state.close_epoch(loss);
        }
        assert_eq!(
            state.held_out,
            HeldOut {
                first: Some(0.9),
                last: Some(0.8)
            }
        );
    }

    #[test]
    fn a_state_survives_its_file_bit_for_bit() {
        let mut state = state();
        state.add_step(1.0 / 3.0, 0);
        state.add_step(0.1 + 0.2, 0);
        let text = serde_json::to_string_pretty(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    }
}
