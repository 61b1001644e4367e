//! What one pass through the blocks is told, beside features and layout.

use fcmae_kernels::Activation;

use crate::drop_path::DropPathDraws;

/// How blocks are computed in one pass; the default is evaluation: nothing is dropped, no statistic moves.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pass<'a> {
    /// Draws of DropPath while training; `None` in evaluation.
    pub draws: Option<&'a DropPathDraws>,
    /// Whether batch normalization takes the statistics of this batch, and moves the running ones by them.
    pub is_training: bool,
    /// What becomes of each block's hidden layer until the backward pass; it changes no bit of a result.
    pub activation: Activation,
}
