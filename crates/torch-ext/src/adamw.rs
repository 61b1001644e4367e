//! The fused AdamW step: libtorch's `_fused_adamw_` over lists of tensors.

use std::ffi::{c_char, c_double};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::{TorchError, take_error};

unsafe extern "C" {
    fn fcmae_fused_adamw(
        n: usize,
        params: *const *const C_tensor,
        grads: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        step: c_double,
        lr: c_double,
        beta1: c_double,
        beta2: c_double,
        weight_decay: c_double,
        eps: c_double,
    ) -> *mut c_char;
}

/// What stays the same over a run (AdamW, arXiv 1711.05101; values of the paper's Table 8: 0.9, 0.95, 1e-8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One AdamW step, in place, for tensors that share a learning rate and a weight decay.
///
/// `exp_avgs` and `exp_avg_sqs` are the first and second moments, shaped like their parameters; `step` counts
/// from 1. Decay is decoupled: `w ← w − lr·weight_decay·w − lr·m̂/(√v̂ + eps)`.
///
/// # Errors
/// Lists of different lengths; whatever libtorch refuses (shapes, kinds, devices that do not match).
#[expect(
    clippy::too_many_arguments,
    reason = "the arguments of the optimizer's equation"
)]
pub fn fused_adamw(
    params: &[&Tensor],
    grads: &[&Tensor],
    exp_avgs: &[&Tensor],
    exp_avg_sqs: &[&Tensor],
    step: u64,
    lr: f64,
    weight_decay: f64,
    adamw: &AdamW,
) -> Result<(), TorchError> {
    let n = params.len();
    if [grads.len(), exp_avgs.len(), exp_avg_sqs.len()] != [n; 3] {
        let message = format!(
            "{n} parameters with {} gradients, {} first and {} second moments; all four must be equal",
            grads.len(),
            exp_avgs.len(),
            exp_avg_sqs.len()
        );
        return Err(TorchError {
            op: "fused_adamw",
            message,
        });
    }
    let pointers = |tensors: &[&Tensor]| tensors.iter().map(|t| t.as_ptr()).collect::<Vec<_>>();
    let (params, grads) = (pointers(params), pointers(grads));
    let (exp_avgs, exp_avg_sqs) = (pointers(exp_avgs), pointers(exp_avg_sqs));
    // SAFETY: the four arrays hold `n` pointers (checked above) to tensors that outlive the call; a `C_tensor`
    // is a `torch::Tensor`; the shim catches every C++ exception.
    let error = unsafe {
        fcmae_fused_adamw(
            n,
            params.as_ptr(),
            grads.as_ptr(),
            exp_avgs.as_ptr(),
            exp_avg_sqs.as_ptr(),
            step as f64,
            lr,
            adamw.beta1,
            adamw.beta2,
            weight_decay,
            adamw.eps,
        )
    };
    take_error("fused_adamw", error)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const ADAMW: AdamW = AdamW {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
    };

    /// The formula of the doc comment, one number at a time.
    fn step_by_hand(w: f64, g: f64, m: &mut f64, v: &mut f64, step: i32, lr: f64, decay: f64) -> f64 {
        *m = ADAMW.beta1 * *m + (1.0 - ADAMW.beta1) * g;
        *v = ADAMW.beta2 * *v + (1.0 - ADAMW.beta2) * g * g;
        let (mh, vh) = (
            *m / (1.0 - ADAMW.beta1.powi(step)),
            *v / (1.0 - ADAMW.beta2.powi(step)),
        );
        w * (1.0 - lr * decay) - lr * mh / (vh.sqrt() + ADAMW.eps)
    }

    #[test]
    fn equals_the_formula_over_several_steps() {
        let cpu = (Kind::Double, Device::Cpu);
        let w = Tensor::from_slice(&[1.0, -2.0, 0.5]);
        let (m, v) = (Tensor::zeros([3], cpu), Tensor::zeros([3], cpu));
        let mut by_hand = [(1.0, 0.0, 0.0), (-2.0, 0.0, 0.0), (0.5, 0.0, 0.0)];
        for step in 1..=3 {
            let grads = [0.3 * f64::from(step), -0.1, 0.0];
            fused_adamw(
                &[&w],
                &[&Tensor::from_slice(&grads)],
                &[&m],
                &[&v],
                step as u64,
                0.01,
                0.05,
                &ADAMW,
            )
            .unwrap();
            for (value, g) in by_hand.iter_mut().zip(grads) {
                value.0 = step_by_hand(value.0, g, &mut value.1, &mut value.2, step, 0.01, 0.05);
            }
        }
        for (i, value) in by_hand.iter().enumerate() {
            assert!((w.double_value(&[i as i64]) - value.0).abs() < 1e-14);
        }
    }

    #[test]
    fn works_on_a_parameter_that_requires_gradients() {
        let w = Tensor::ones([4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let zeros = w.detach().zeros_like();
        fused_adamw(
            &[&w],
            &[&zeros.ones_like()],
            &[&zeros],
            &[&zeros.zeros_like()],
            1,
            0.1,
            0.0,
            &ADAMW,
        )
        .unwrap();
        assert!(w.requires_grad() && (w.double_value(&[2]) - 0.9).abs() < 1e-6);
    }

    #[test]
    fn refuses_lists_that_do_not_match() {
        let w = Tensor::ones([1], (Kind::Float, Device::Cpu));
        let error = fused_adamw(&[&w], &[], &[&w], &[&w], 1, 0.1, 0.0, &ADAMW).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("fused_adamw: 1 parameters with 0 gradients"),
            "{error}"
        );
    }

    #[test]
    fn reports_the_first_line_of_what_libtorch_says() {
        let w = Tensor::ones([2], (Kind::Float, Device::Cpu));
        let wrong = Tensor::ones([2], (Kind::Int64, Device::Cpu));
        let error = fused_adamw(&[&w], &[&wrong], &[&w], &[&w], 1, 0.1, 0.0, &ADAMW).unwrap_err();
        assert!(
            !error.message.is_empty() && !error.message.contains('\n'),
            "{error}"
        );
    }
}
