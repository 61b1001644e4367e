//! The learning rate over a run: linear warm-up, then half a cosine (fact sheet §3.1).

use std::f64::consts::PI;

/// Learning rate as a function of the fractional epoch.
///
/// With `e` the fractional epoch, `W` the warm-up and `E` the whole length:
/// `e < W`: `lr = peak·e/W`; else `lr = min + (peak − min)·(1 + cos(π·(e − W)/(E − W)))/2`.
/// It starts at 0 and is set once per optimizer step.
///
/// ```
/// use fcmae_trainer::Schedule;
/// let schedule = Schedule { peak_lr: 2.4e-3, min_lr: 0.0, epochs: 800.0, warmup_epochs: 40.0 };
/// assert_eq!(schedule.lr(20.0), 1.2e-3); // half the warm-up
/// assert_eq!(schedule.lr(40.0), 2.4e-3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Learning rate at the end of the warm-up.
    pub peak_lr: f64,
    /// Learning rate at the end of the run.
    pub min_lr: f64,
    /// Length of the run in epochs.
    pub epochs: f64,
    /// Length of the warm-up in epochs; 0 = none.
    pub warmup_epochs: f64,
}

impl Schedule {
    /// The learning rate at fractional epoch `epoch` (0 at the start of the run).
    #[must_use]
    pub fn lr(&self, epoch: f64) -> f64 {
        if epoch < self.warmup_epochs {
            return self.peak_lr * epoch / self.warmup_epochs;
        }
        let progress = (epoch - self.warmup_epochs) / (self.epochs - self.warmup_epochs);
        self.min_lr + (self.peak_lr - self.min_lr) * 0.5 * (1.0 + (PI * progress.min(1.0)).cos())
    }
}

/// The paper's scaling rule: `lr = blr · batch / 256`, where `batch` is the number of images per optimizer step.
#[must_use]
pub fn scaled_lr(blr: f64, batch: usize) -> f64 {
    blr * batch as f64 / 256.0
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The tables were computed in the same order of f64 operations; the cosine of two libraries may differ in
    /// its last bit.
    const TOLERANCE: f64 = 1e-15;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../tests/golden/schedules.json")).unwrap()
    }

    #[test]
    fn equals_the_golden_tables() {
        for table in golden()["lr"].as_array().unwrap() {
            let number = |key: &str| table[key].as_f64().unwrap();
            let peak_lr = scaled_lr(number("blr"), number("batch") as usize);
            assert_eq!(peak_lr, number("peak_lr"));
            let schedule = Schedule {
                peak_lr,
                min_lr: number("min_lr"),
                epochs: number("epochs"),
                warmup_epochs: number("warmup_epochs"),
            };
            let steps = table["steps"].as_array().unwrap();
            let expected = table["lr"].as_array().unwrap();
            assert_eq!(steps.len(), expected.len());
            for (step, expected) in steps.iter().zip(expected) {
                let epoch = step.as_f64().unwrap() / number("steps_per_epoch");
                let (got, expected) = (schedule.lr(epoch), expected.as_f64().unwrap());
                assert!(
                    (got - expected).abs() <= TOLERANCE,
                    "step {step}: {got} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn without_warm_up_it_starts_at_the_peak_and_ends_at_the_minimum() {
        let schedule = Schedule {
            peak_lr: 0.1,
            min_lr: 0.01,
            epochs: 5.0,
            warmup_epochs: 0.0,
        };
        assert_eq!(schedule.lr(0.0), 0.1);
        assert!((schedule.lr(5.0) - 0.01).abs() < 1e-16);
    }

    #[test]
    fn a_run_that_is_all_warm_up_never_divides_by_zero() {
        let schedule = Schedule {
            peak_lr: 0.1,
            min_lr: 0.0,
            epochs: 2.0,
            warmup_epochs: 2.0,
        };
        assert_eq!(schedule.lr(1.0), 0.05);
    }
}
