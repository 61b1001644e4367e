//! What a checkpoint holds and how it comes back: weights, moments, state.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fcmae_checkpoint::{Metadata, Tensors, read_json, read_safetensors};
use fcmae_model::{from_data, to_data};
use tch::Tensor;

use super::network::Network;
use super::resume::decisive;
use super::task::Task;
use super::writer::Snapshot;
use crate::state::State;

/// The weights, with what decided them of the config, and the class names, in the file's metadata.
pub(crate) const MODEL: &str = "model.safetensors";
/// First and second moments of every parameter.
const OPTIMIZER: &str = "optimizer.safetensors";
/// Where the run stands.
const STATE: &str = "state.json";

/// Metadata keys of the weights' file.
pub(crate) mod key {
    /// The resolved config of the run, TOML, without what does not decide the weights (its name, say).
    pub(crate) const CONFIG: &str = "fcmae.config";
    /// Optimizer steps done.
    pub(crate) const STEP: &str = "fcmae.step";
    /// Names of the data set's classes, a JSON list.
    pub(crate) const CLASSES: &str = "fcmae.class_names";
    /// What stands in GRN's place, where the encoder is neither V1 nor V2.
    pub(crate) const RESPONSE: &str = "fcmae.response";
    /// The kind of the decoder, where it is not the paper's.
    pub(crate) const DECODER: &str = "fcmae.decoder";
    /// Of a classifier: `"class"`, `"soft"` or `"multi_label"`, JSON.
    pub(crate) const LABELS: &str = "fcmae.labels";
}

/// Refuses weights that are not finite: a checkpoint of them would replace good ones.
pub(crate) fn check_finite(network: &Network, step: u64) -> Result<()> {
    for (name, weight) in network.vs.variables() {
        ensure!(
            is_finite(&weight),
            "step {step}: the weights {name} are not finite, so no checkpoint is written; lower `optimizer.lr` or set \
             `optimizer.clip_grad`"
        );
    }
    Ok(())
}

/// Whether all numbers of a tensor are.
pub(crate) fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) != 0
}

/// What the checkpoint of `state` will hold, added to what `snapshot` is.
pub(crate) fn fill<T: Task>(
    mut snapshot: Snapshot,
    task: &mut T,
    network: &Network,
    state: &State,
    class_names: &[String],
) -> Result<Snapshot> {
    let moments: Tensors = network
        .optimizer
        .state()
        .iter()
        .map(|(name, t)| (name.clone(), to_data(t)))
        .collect();
    let metadata = metadata(task, state, class_names)?;
    task.save(&mut snapshot, &metadata);
    snapshot.add_tensors(MODEL, fcmae_model::tensors(&network.vs), metadata);
    snapshot.add_tensors(OPTIMIZER, moments, Metadata::new());
    snapshot.add_json(STATE, state.clone());
    Ok(snapshot)
}

/// What a file of this run's weights says beside them.
pub(crate) fn metadata<T: Task>(task: &T, state: &State, class_names: &[String]) -> Result<Metadata> {
    let mut metadata = task.metadata()?;
    metadata.extend([
        (key::CONFIG.to_owned(), decisive(&state.config)?),
        (key::STEP.to_owned(), state.step.to_string()),
        (key::CLASSES.to_owned(), serde_json::to_string(class_names)?),
    ]);
    Ok(metadata)
}

/// The state of a checkpoint.
pub(crate) fn read_state(checkpoint: &Path) -> Result<State> {
    Ok(read_json(checkpoint.join(STATE))?)
}

/// Fills weights, moments and what the task has of its own from a checkpoint.
pub(crate) fn load<T: Task>(
    checkpoint: &Path,
    task: &mut T,
    network: &mut Network,
    steps: u64,
) -> Result<()> {
    let file = checkpoint.join(MODEL);
    let (weights, _) = read_safetensors(&file)?;
    fcmae_model::load(&network.vs, &weights).with_context(|| file.display().to_string())?;
    let file = checkpoint.join(OPTIMIZER);
    let (moments, _) = read_safetensors(&file)?;
    network
        .optimizer
        .load_state(steps, |name| {
            Ok(moments.get(name).map(|data| from_data(name, data)).transpose()?)
        })
        .with_context(|| file.display().to_string())?;
    task.load(checkpoint)
}
