//! What becomes of a step that nobody should learn from.

use serde::{Deserialize, Serialize};

use super::sections::check;
use crate::error::InputError;

/// Steps whose loss or gradients are not finite, or whose loss explodes (`[guard]`).
///
/// Such a step never reaches the weights. It is kept in the run folder, and `fcmae replay` runs it again.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardConfig {
    /// `"stop"` ends the run there; `"skip"` warns and goes on with the next batches.
    pub on_bad_step: OnBadStep,
    /// Steps that a whole run may skip; one more stops it.
    pub max_skipped: u64,
    /// A loss of more than so many times the smoothed one is a bad step too, above 1; 0 = off.
    pub loss_factor: f64,
}

/// `guard.on_bad_step`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadStep {
    /// The run ends.
    #[default]
    Stop,
    /// The step is left out.
    Skip,
}

impl Default for GuardConfig {
    fn default() -> Self {
        GuardConfig {
            on_bad_step: OnBadStep::default(),
            max_skipped: 10,
            loss_factor: 0.0,
        }
    }
}

impl GuardConfig {
    pub(super) fn validate(&self) -> Result<(), InputError> {
        let factor = self.loss_factor;
        check(
            factor == 0.0 || (factor > 1.0 && factor.is_finite()),
            "guard.loss_factor",
            &factor,
            "a number above 1 (0 = off)",
        )?;
        check(
            (0..=1 << 32).contains(&self.max_skipped),
            "guard.max_skipped",
            &self.max_skipped,
            "from 0 to 4294967296",
        )
    }

    /// What is wrong with a step of this loss and norm of the gradients, after steps of `smoothed` loss (NaN before
    /// the first).
    pub(crate) fn fault(&self, loss: f64, grad_norm: f64, smoothed: f64) -> Option<String> {
        let limit = self.loss_factor * smoothed;
        if !loss.is_finite() {
            Some(format!("the loss is {loss}"))
        } else if !grad_norm.is_finite() {
            Some(format!(
                "the loss is {loss:.4}, and the norm of its gradients {grad_norm}"
            ))
        } else if self.loss_factor > 0.0 && loss > limit {
            Some(format!(
                "the loss is {loss:.4}, more than `guard.loss_factor` = {} times the {smoothed:.4} of late",
                self.loss_factor
            ))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_loss_or_gradient_that_is_not_finite_or_a_loss_that_explodes() {
        let guard = GuardConfig {
            loss_factor: 3.0,
            ..GuardConfig::default()
        };
        let fault = |loss, norm, smoothed| guard.fault(loss, norm, smoothed);
        assert_eq!(fault(f64::NAN, 1.0, 1.0).unwrap(), "the loss is NaN");
        assert!(fault(1.0, f64::INFINITY, 1.0).unwrap().ends_with("gradients inf"));
        assert_eq!(fault(3.0, 1.0, 1.0), None);
        let exploded = fault(3.1, 1.0, 1.0).unwrap();
        assert!(
            exploded.starts_with("the loss is 3.1000, more than `guard.loss_factor` = 3 times"),
            "{exploded}"
        );
        assert_eq!(
            fault(1e9, 1.0, f64::NAN),
            None,
            "the first loss has nothing to compare with"
        );
        assert_eq!(GuardConfig::default().fault(1e9, 1.0, 1.0), None);
    }
}
