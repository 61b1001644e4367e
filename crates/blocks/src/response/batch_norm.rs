//! Batch normalization over the visible sites of a batch.

use tch::{Tensor, nn, no_grad};

use super::exact;

/// Added to the variance (PyTorch's).
pub const BATCH_NORM_EPS: f64 = 1e-5;
/// Share of a batch in the running statistics (PyTorch's).
pub const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// Batch normalization (arXiv 1502.03167): `weight [C]` (starts at 1), `bias [C]` (0), and the statistics that
/// evaluation uses, `running_mean [C]` and `running_var [C]`, which no gradient changes and every checkpoint holds.
///
/// In training a channel's mean and variance run over the visible sites of all images of the batch, as they would in a
/// sparse convolution library; each batch moves the running ones by a tenth. A single site has no variance: it is
/// normalised as in evaluation.
#[derive(Debug)]
pub struct BatchNorm {
    /// Scale `[C]`.
    pub weight: Tensor,
    /// Shift `[C]`.
    pub bias: Tensor,
    /// Mean for evaluation `[C]`.
    pub running_mean: Tensor,
    /// Variance for evaluation `[C]`.
    pub running_var: Tensor,
}

impl BatchNorm {
    /// Creates parameters and statistics under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64) -> BatchNorm {
        BatchNorm {
            weight: path.ones("weight", &[channels]),
            bias: path.zeros("bias", &[channels]),
            running_mean: path.zeros_no_train("running_mean", &[channels]),
            running_var: path.ones_no_train("running_var", &[channels]),
        }
    }

    /// Packed `[V, p, p, C]` → the same. In training the running statistics move.
    pub fn forward(&self, x: &Tensor, is_training: bool) -> Tensor {
        let rows = exact(x).reshape([-1, self.weight.size()[0]]);
        let takes_batch = is_training && rows.size()[0] > 1;
        // Copies: libtorch's backward pass forbids that what it was given moves before.
        let running = (!takes_batch).then(|| (self.running_mean.copy(), self.running_var.copy()));
        let (y, mean, rstd) = rows.native_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            running.as_ref().map(|(mean, _)| mean),
            running.as_ref().map(|(_, var)| var),
            takes_batch,
            0.0,
            BATCH_NORM_EPS,
        );
        if takes_batch {
            self.follow(&mean, &rstd, rows.size()[0]);
        }
        y.view_as(x).to_kind(x.kind())
    }

    /// Moves the running statistics towards those of a batch of `sites`, as the norm took them: mean and `1 / √(var +
    /// eps)`. The variance that is followed is the unbiased one.
    fn follow(&self, mean: &Tensor, rstd: &Tensor, sites: i64) {
        let sites = sites as f64;
        no_grad(|| {
            let var = (rstd.pow_tensor_scalar(-2.0) - BATCH_NORM_EPS) * (sites / (sites - 1.0));
            for (running, now) in [(&self.running_mean, mean), (&self.running_var, &var)] {
                let _ = running.shallow_clone().lerp_(now, BATCH_NORM_MOMENTUM);
            }
        });
    }

    /// Whether a tensor of this name is a running statistic: part of the weights, and no parameter.
    #[must_use]
    pub fn is_statistic(name: &str) -> bool {
        name.ends_with("bn.running_mean") || name.ends_with("bn.running_var")
    }
}
