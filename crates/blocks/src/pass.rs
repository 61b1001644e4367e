//! What one pass through the blocks is told, beside features and layout.

use fcmae_kernels::Activation;

use crate::drop_path::DropPathDraws;

/// How blocks are computed in one pass; the default is evaluation: nothing is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pass<'a> {
    /// Draws of DropPath while training; `None` in evaluation.
    pub draws: Option<&'a DropPathDraws>,
    /// What becomes of each block's hidden layer until the backward pass; it changes no bit of a result.
    pub activation: Activation,
}
