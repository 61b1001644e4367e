//! A step that was refused, run once more: the same weights, batches and draws, and a look at every number on the way.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fcmae_blocks::{Flow, Watch};
use fcmae_data::Report;
use serde::Serialize;
use tch::{Kind, Tensor, nn};

use super::bad_step::{self, KeptBatch, KeptStep};
use super::batches::TrainingBatches;
use super::network::Network;
use super::saving::{is_finite, load, read_state};
use super::{Input, Start, Task};
use crate::finetune::Finetuning;
use crate::pretrain::Pretraining;
use crate::state::State;

/// What a refused step is like when it is run again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Where it was kept.
    pub kept: PathBuf,
    /// Number of the step, from 1.
    pub step: u64,
    /// Number of its epoch, from 1.
    pub epoch: u64,
    /// What was wrong with it.
    pub problem: String,
    /// The first place where a number is not finite, in words; absent where there is none.
    pub first: Option<String>,
    /// What differs from the machine that met the step, where the bits may differ.
    pub differences: Vec<String>,
    /// Its batches, in order.
    pub batches: Vec<ReplayedBatch>,
    /// Weights that were not finite before the step.
    pub weights: Vec<String>,
    /// What went into each block and came out of it, in the order of the forward pass, over all batches.
    pub features: Vec<Seen>,
    /// The gradient of each parameter, by name, over all batches.
    pub gradients: Vec<Seen>,
}

/// A batch, then and now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayedBatch {
    /// Place in the epoch, from 0.
    pub batch: u64,
    /// The loss when the run met it; absent where it was not finite.
    pub loss_then: Option<f64>,
    /// The loss now.
    pub loss: Option<f64>,
    /// Its images.
    pub images: Vec<String>,
}

/// Numbers that were looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// The name of a parameter; of features, the block and whether they went in or out.
    pub name: String,
    /// Largest magnitude of features, 2-norm of a gradient; absent where a number is not finite.
    pub size: Option<f64>,
    /// How many numbers are not finite.
    pub not_finite: i64,
}

impl Seen {
    fn new(name: String, size: f64, of: &Tensor) -> Seen {
        let not_finite = of.isfinite().logical_not().sum(Kind::Int64).int64_value(&[]);
        Seen {
            name,
            size: Some(size).filter(|size| size.is_finite()),
            not_finite,
        }
    }

    /// Takes the same place in another batch into account.
    fn add(&mut self, other: &Seen) {
        self.size = self.size.zip(other.size).map(|(a, b)| a.max(b));
        self.not_finite += other.not_finite;
    }

    fn is_finite(&self) -> bool {
        self.not_finite == 0 && self.size.is_some()
    }
}

/// Runs the newest step that the run in `folder` refused once more, and changes nothing.
///
/// The images must be where they were, as for a run that goes on.
///
/// # Errors
/// A run without such a step; other images than then; what a run that goes on would be refused for.
pub fn replay(folder: &Path) -> Result<Replay> {
    let (path, kept) = bad_step::find(folder)?;
    match kept.verb.as_str() {
        Pretraining::VERB => replay_as::<Pretraining>(path, kept),
        _ => replay_as::<Finetuning>(path, kept),
    }
}

fn replay_as<T: Task>(path: PathBuf, kept: KeptStep) -> Result<Replay> {
    let state = read_state(&path)?;
    let config: T::Config = fcmae_config::from_str(&state.config, &[])
        .and_then(|resolved| resolved.parse())
        .context("the config of the step")?;
    let input = Input::check(&config, Start::Continue)?;
    let (then, now) = (&state.data, &input.beginning.data);
    let other = then.differences(now);
    ensure!(
        other.is_empty(),
        "the images are not those of the step any more ({}); put them back",
        other.join("; ")
    );
    let vs = nn::VarStore::new(input.device);
    let mut task = T::new(&input, &vs, &Report::none())?;
    let optimizer = task.optimizer(&vs)?;
    let mut network = Network::new(vs, optimizer);
    load(&path, &mut task, &mut network, state.optimizer_steps())?;
    let mut differences = state.machine.differences(&input.beginning.machine);
    differences.extend(then.warning(now));
    let found = Found::of(&task, &mut network, &input, &state, &kept.batches)?;
    Ok(Replay {
        kept: path,
        step: state.step + 1,
        epoch: state.next_epoch() + 1,
        problem: kept.problem,
        first: found.first(),
        differences,
        batches: found.batches,
        weights: found.weights,
        features: found.features,
        gradients: found.gradients,
    })
}

/// The numbers of the step.
struct Found {
    weights: Vec<String>,
    batches: Vec<ReplayedBatch>,
    features: Vec<Seen>,
    gradients: Vec<Seen>,
}

impl Found {
    fn of<T: Task>(
        task: &T,
        network: &mut Network,
        input: &Input<T::Config>,
        state: &State,
        kept: &[KeptBatch],
    ) -> Result<Found> {
        let mut weights: Vec<String> = network
            .vs
            .variables()
            .into_iter()
            .filter_map(|(name, weight)| (!is_finite(&weight)).then_some(name))
            .collect();
        weights.sort();
        let (train, place) = (
            input.settings.train,
            (state.next_epoch(), state.next_step_of_epoch()),
        );
        let loading = task.loading()?;
        let mut loader = TrainingBatches::start(train, loading, Arc::clone(&input.dataset), place)?;
        let features = RefCell::new(Vec::new());
        let look = |block: &str, flow: Flow, x: &Tensor| see(&mut features.borrow_mut(), block, flow, x);
        network.optimizer.zero_grad()?;
        let mut batches = Vec::with_capacity(kept.len());
        for before in kept {
            let (batch, _) = loader.next()?;
            let loss = task.loss(batch, Watch::by(&look))? / kept.len() as f64;
            loss.f_backward()?;
            let loss = loss.double_value(&[]) * kept.len() as f64;
            batches.push(ReplayedBatch {
                batch: before.batch,
                loss_then: before.loss,
                loss: Some(loss).filter(|loss| loss.is_finite()),
                images: before.images.clone(),
            });
        }
        Ok(Found {
            weights,
            batches,
            features: features.into_inner(),
            gradients: gradients(&network.vs),
        })
    }

    /// In the order of the computation: weights, features, loss, and gradients from the last block to the first.
    fn first(&self) -> Option<String> {
        let weights = || Some(format!("the weights {} before the step", self.weights.first()?));
        let features = || Some(self.features.iter().find(|seen| !seen.is_finite())?.name.clone());
        let loss = || {
            self.batches
                .iter()
                .any(|batch| batch.loss.is_none())
                .then(|| "the loss".to_owned())
        };
        let gradient = || Some(format!("the gradient of {}", self.first_gradient()?));
        weights().or_else(features).or_else(loss).or_else(gradient)
    }

    /// Of the last block that has one: the backward pass meets the blocks from behind.
    fn first_gradient(&self) -> Option<&str> {
        let place = |seen: &&Seen| {
            let block = |features: &Seen| Some(seen.name.starts_with(features.name.rsplit(' ').next()?));
            self.features
                .iter()
                .rposition(|features| block(features) == Some(true))
        };
        let bad = self.gradients.iter().filter(|seen| !seen.is_finite());
        bad.max_by_key(place).map(|seen| seen.name.as_str())
    }
}

/// Takes features into the account of their place.
fn see(all: &mut Vec<Seen>, block: &str, flow: Flow, x: &Tensor) {
    let name = match flow {
        Flow::In => format!("what goes into block {block}"),
        Flow::Out => format!("what comes out of block {block}"),
    };
    let x = x.detach();
    let seen = Seen::new(name, x.abs().max().double_value(&[]), &x);
    match all.iter_mut().find(|before| before.name == seen.name) {
        Some(before) => before.add(&seen),
        None => all.push(seen),
    }
}

/// The gradients that there are, by name.
fn gradients(vs: &nn::VarStore) -> Vec<Seen> {
    let gradients = vs
        .variables()
        .into_iter()
        .map(|(name, parameter)| (name, parameter.grad()));
    let there = gradients.filter(|(_, gradient)| gradient.defined());
    let mut seen: Vec<Seen> = there
        .map(|(name, gradient)| Seen::new(name, gradient.norm().double_value(&[]), &gradient))
        .collect();
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    seen
}
