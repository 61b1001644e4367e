//! Minimises (w − 3)² with the fused AdamW step.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_torch_ext::{AdamW, clear_gradient, fused_adamw};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), fcmae_torch_ext::TorchError> {
    let w = Tensor::zeros([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let (m, v) = (w.detach().zeros_like(), w.detach().zeros_like());
    let adamw = AdamW {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
    };
    for step in 1..=500 {
        clear_gradient(&w)?;
        (&w - 3.0).square().sum(Kind::Float).backward();
        fused_adamw(&[&w], &[&w.grad()], &[&m], &[&v], step, 0.05, 0.0, &adamw)?;
    }
    println!("w = {:.3} (should be 3)", w.double_value(&[0]));
    Ok(())
}
