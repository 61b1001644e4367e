//! What every task trains: parameters and their optimizer.

use fcmae_blocks::BatchNorm;
use tch::{Tensor, nn, no_grad};

use crate::optimizer::Optimizer;

/// The parameters of a run; the model that computes with them belongs to the task.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) vs: nn::VarStore,
    pub(crate) optimizer: Optimizer,
    /// What a forward pass changes by itself: running statistics.
    statistics: Vec<Tensor>,
}

impl Network {
    pub(crate) fn new(vs: nn::VarStore, optimizer: Optimizer) -> Network {
        let variables = vs.variables().into_iter();
        let statistics = variables.filter(|(name, _)| BatchNorm::is_statistic(name));
        Network {
            statistics: statistics.map(|(_, tensor)| tensor).collect(),
            vs,
            optimizer,
        }
    }

    /// The running statistics as they are now.
    pub(crate) fn statistics(&self) -> Vec<Tensor> {
        self.statistics.iter().map(Tensor::copy).collect()
    }

    /// Puts the running statistics back to what they were.
    pub(crate) fn put_back(&self, before: &[Tensor]) {
        for (statistic, before) in self.statistics.iter().zip(before) {
            no_grad(|| statistic.shallow_clone().copy_(before));
        }
    }
}

/// Number of parameters in a store.
pub(crate) fn parameters(vs: &nn::VarStore) -> usize {
    vs.variables().values().map(tch::Tensor::numel).sum()
}
