//! The average of the weights over the steps (fact sheet §3.8).

use std::path::Path;

use anyhow::{Context, Result};
use fcmae_checkpoint::{Metadata, Tensors, read_safetensors};
use fcmae_encoder::{Classifier, EncoderConfig};
use tch::{Tensor, nn, no_grad};

use super::best::key;

/// The averaged weights in a checkpoint.
pub(super) const FILE: &str = "ema.safetensors";

/// A second classifier whose weights follow those of the first: `ema ← decay·ema + (1 − decay)·w`.
#[derive(Debug)]
pub(super) struct Ema {
    vs: nn::VarStore,
    model: Classifier,
    /// Each averaged parameter with the one that it follows.
    pairs: Vec<(Tensor, Tensor)>,
    decay: f64,
}

impl Ema {
    /// Follows the parameters in `followed`; [`Ema::begin`] or [`Ema::load`] gives it its first values.
    pub(super) fn new(
        followed: &nn::VarStore,
        config: &EncoderConfig,
        classes: usize,
        decay: f64,
    ) -> Result<Ema> {
        let mut vs = nn::VarStore::new(followed.device());
        let model = Classifier::new(&vs.root(), config, classes)?;
        vs.freeze();
        let mut followed = followed.variables();
        let pair = |(name, average): (String, Tensor)| {
            let parameter = followed.remove(&name).expect("both are the same network");
            (average, parameter)
        };
        let pairs = vs.variables().into_iter().map(pair).collect();
        Ok(Ema {
            vs,
            model,
            pairs,
            decay,
        })
    }

    /// Starts the average at the parameters as they are.
    pub(super) fn begin(&self) -> Result<()> {
        let mut pairs = self.pairs.iter();
        no_grad(|| pairs.try_for_each(|(average, w)| average.shallow_clone().f_copy_(w)))?;
        Ok(())
    }

    /// Takes the parameters after a step into the average.
    pub(super) fn update(&self) -> Result<()> {
        let mut pairs = self.pairs.iter();
        no_grad(|| {
            pairs.try_for_each(|(average, w)| average.shallow_clone().f_lerp_(w, 1.0 - self.decay).map(drop))
        })?;
        Ok(())
    }

    /// The network with the averaged weights.
    pub(super) fn model(&self) -> &Classifier {
        &self.model
    }

    /// The averaged weights.
    pub(super) fn tensors(&self) -> Tensors {
        fcmae_model::tensors(&self.vs)
    }

    /// What a file of the averaged weights says beside them: what that of the others does, and that it is an average.
    pub(super) fn metadata(&self, of_weights: &Metadata) -> Metadata {
        let mut metadata = of_weights.clone();
        metadata.insert(key::EMA_DECAY.to_owned(), self.decay.to_string());
        metadata
    }

    /// Takes the average from a checkpoint's file.
    pub(super) fn load(&self, file: &Path) -> Result<()> {
        let (tensors, _) = read_safetensors(file)?;
        fcmae_model::load(&self.vs, &tensors).with_context(|| file.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn the_average_equals_the_golden_steps() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/ema.json")).unwrap();
        let tensor = |name: &str| {
            let values = golden[name].as_array().unwrap().iter();
            Tensor::from_slice(&values.map(|v| v.as_f64().unwrap()).collect::<Vec<_>>()).to_kind(Kind::Float)
        };
        let (average, weight) = (tensor("ema.0"), Tensor::zeros([12], (Kind::Float, Device::Cpu)));
        let ema = Ema {
            pairs: vec![(average.shallow_clone(), weight.shallow_clone())],
            ..tiny()
        };
        for step in 1..=3 {
            weight
                .shallow_clone()
                .copy_(&tensor(&format!("ema.weight.{step}")));
            ema.update().unwrap();
            let difference = &average - tensor(&format!("ema.{step}"));
            let difference = difference.abs().max().double_value(&[]);
            assert!(difference < 1e-6, "step {step}: {difference}"); // a few roundings of f32
        }
    }

    fn tiny() -> Ema {
        let config = EncoderConfig {
            depths: vec![1],
            dims: vec![4],
            ..EncoderConfig::default()
        };
        let vs = nn::VarStore::new(Device::Cpu);
        Classifier::new(&vs.root(), &config, 2).unwrap();
        Ema::new(&vs, &config, 2, 0.99).unwrap()
    }

    #[test]
    fn it_follows_every_parameter_and_takes_no_gradient() {
        let ema = tiny();
        assert_eq!(ema.pairs.len(), ema.vs.variables().len());
        for (average, parameter) in &ema.pairs {
            assert!(!average.requires_grad() && parameter.requires_grad());
            assert_eq!(average.size(), parameter.size());
        }
    }
}
