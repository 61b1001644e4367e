//! What one pass through the blocks is told, beside features and layout.

use std::fmt;

use fcmae_kernels::Activation;
use tch::Tensor;

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
    /// Who looks on; it changes no bit of a result.
    pub watch: Watch<'a>,
}

/// A look at what goes into each block and comes out of it, in the order of the forward pass, while the kernels
/// compute it as ever.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a>(Option<&'a See<'a>>);

/// What is done with a block's name and features.
type See<'a> = dyn Fn(&str, Flow, &Tensor) + 'a;

/// Where a tensor was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It goes into a block.
    In,
    /// It comes out of it.
    Out,
}

impl<'a> Watch<'a> {
    /// Hands a block's name (that of its parameters, without what follows it) and features to `see`.
    #[must_use]
    pub fn by(see: &'a See<'a>) -> Watch<'a> {
        Watch(Some(see))
    }

    pub(crate) fn see(self, block: &str, flow: Flow, features: &Tensor) {
        if let Some(see) = self.0 {
            see(block, flow, features);
        }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Watch(somebody)"
        } else {
            "Watch(nobody)"
        })
    }
}
