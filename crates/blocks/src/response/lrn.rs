//! Local response normalization: each channel against its neighbours in number, at every site by itself.

use tch::Tensor;

use super::exact;

/// Channels that count, this one in their middle.
const SIZE: i64 = 5;
const ALPHA: f64 = 1e-4;
const BETA: f64 = 0.75;
const K: f64 = 1.0;

/// `x_c / (1 + 1e-4 · mean of x² over the five channels around c)^0.75`: `[…, C]` → the same.
///
/// AlexNet's normalization (Krizhevsky et al. 2012, §3.3) with the defaults of PyTorch's `LocalResponseNorm(5)`; the
/// paper (Table 2d) says nothing of its constants. Beyond the first and last channel there are zeros.
pub fn lrn(x: &Tensor) -> Tensor {
    let channels = x.size()[x.dim() - 1];
    let rows = exact(x).reshape([-1, 1, channels]);
    let around = rows.square().avg_pool1d([SIZE], [1], [SIZE / 2], false, true);
    let y = rows / (around * ALPHA + K).pow_tensor_scalar(BETA);
    y.view_as(x).to_kind(x.kind())
}
