//! The model of a run with its parameters and its optimizer.

use anyhow::Result;
use fcmae_model::Fcmae;
use fcmae_torch_ext::AdamW;
use tch::{Device, nn};

use crate::config::PretrainConfig;
use crate::optimizer::Optimizer;

/// What is trained.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) vs: nn::VarStore,
    pub(crate) model: Fcmae,
    pub(crate) optimizer: Optimizer,
}

impl Network {
    /// Bytes of a parameter in a checkpoint: weight and two moments, f32.
    const CHECKPOINT_BYTES: u64 = 12;

    /// A network whose weights are still to be drawn or loaded.
    pub(crate) fn new(config: &PretrainConfig, device: Device) -> Result<Network> {
        let vs = nn::VarStore::new(device);
        let model = Fcmae::new(&vs.root(), &config.fcmae())?;
        let mut parameters: Vec<_> = vs.variables().into_iter().collect();
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b)); // the same order in every process
        let settings = &config.optimizer;
        let adamw = AdamW {
            beta1: settings.betas[0],
            beta2: settings.betas[1],
            eps: settings.eps,
        };
        let optimizer = Optimizer::new(parameters, adamw, settings.weight_decay, settings.decay_grn)?;
        Ok(Network { vs, model, optimizer })
    }

    /// Bytes that one checkpoint takes, about.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        parameters(&self.vs) as u64 * Network::CHECKPOINT_BYTES
    }
}

/// Number of parameters in a store.
pub(crate) fn parameters(vs: &nn::VarStore) -> usize {
    vs.variables().values().map(tch::Tensor::numel).sum()
}
