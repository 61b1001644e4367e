//! What every task trains: parameters and their optimizer.

use tch::nn;

use crate::optimizer::Optimizer;

/// The parameters of a run; the model that computes with them belongs to the task.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) vs: nn::VarStore,
    pub(crate) optimizer: Optimizer,
}

/// Number of parameters in a store.
pub(crate) fn parameters(vs: &nn::VarStore) -> usize {
    vs.variables().values().map(tch::Tensor::numel).sum()
}
