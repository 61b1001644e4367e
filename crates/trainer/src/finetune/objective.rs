//! What is scored: cross-entropy over all classes, or a logistic loss of each, with weights of the classes.

use anyhow::Result;
use fcmae_data::{Dataset, Targets};
use tch::{Device, Kind, Tensor};

use crate::config::{ClassWeighting, ClassWeights, FinetuneConfig};
use crate::error::InputError;

/// A loss of logits `[N, K]` against targets `[N, K]`.
#[derive(Debug)]
pub(super) struct Objective {
    is_sigmoid: bool,
    weights: Option<Weights>,
}

/// Factors of the classes, `[K]`.
#[derive(Debug)]
struct Weights {
    /// Of a class that is there.
    presence: Tensor,
    /// Of one that is not; used where each class is scored by itself.
    absence: Tensor,
}

impl Objective {
    /// The loss of training, with the class weights that `config` asks for.
    ///
    /// # Errors
    /// A list of weights of another length than the classes; a class without images where weights are balanced.
    pub(super) fn new(config: &FinetuneConfig, dataset: &Dataset, device: Device) -> Result<Objective> {
        let is_sigmoid = config.is_sigmoid();
        let names = dataset.class_names();
        let weights = match &config.loss.class_weights {
            ClassWeights::Named(ClassWeighting::None) => None,
            ClassWeights::Named(ClassWeighting::Balanced) => {
                let (images, counts) = (dataset.len() as f64, dataset.class_counts());
                let without = |count: f64| count <= 0.0 || (is_sigmoid && count >= images);
                if let Some(class) = counts.iter().position(|&count| without(count)) {
                    let which = if counts[class] <= 0.0 { "no" } else { "nothing but" };
                    let message = format!(
                        "\"balanced\", but there are {which} training images of class {:?}; give a list of weights",
                        names[class]
                    );
                    return Err(InputError::config("loss.class_weights", message).into());
                }
                let shares = if is_sigmoid { 2.0 } else { names.len() as f64 };
                let presence: Vec<f64> = counts.iter().map(|n| images / (shares * n)).collect();
                let absence: Vec<f64> = counts.iter().map(|n| images / (2.0 * (images - n))).collect();
                Some((presence, absence))
            }
            ClassWeights::Listed(list) if list.len() == names.len() => {
                Some((list.clone(), vec![1.0; names.len()]))
            }
            ClassWeights::Listed(list) => {
                let message = format!(
                    "{} weights for {} classes ({}); give one for each",
                    list.len(),
                    names.len(),
                    names.join(", ")
                );
                return Err(InputError::config("loss.class_weights", message).into());
            }
        };
        let tensor = |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float).to_device(device);
        let weights = weights.map(|(presence, absence)| Weights {
            presence: tensor(&presence),
            absence: tensor(&absence),
        });
        Ok(Objective { is_sigmoid, weights })
    }

    /// The loss that is measured: without weights of the classes.
    pub(super) fn plain(is_sigmoid: bool) -> Objective {
        Objective {
            is_sigmoid,
            weights: None,
        }
    }

    /// Mean over the images (and, where each class is scored by itself, over the classes).
    pub(super) fn loss(&self, logits: &Tensor, targets: &Tensor) -> Tensor {
        let (classes, weights) = ([-1i64], self.weights.as_ref());
        let weigh = |x: Tensor, of: fn(&Weights) -> &Tensor| match weights {
            Some(weights) => x * of(weights),
            None => x,
        };
        if !self.is_sigmoid {
            let scored = weigh(targets * logits.log_softmax(-1, None), |w| &w.presence);
            return -scored.sum_dim_intlist(classes.as_slice(), false, None).mean(None);
        }
        let present = weigh(targets * logits.log_sigmoid(), |w| &w.presence);
        let absent = weigh((1.0 - targets) * (-logits).log_sigmoid(), |w| &w.absence);
        -(present + absent).mean(None)
    }
}

/// The targets of a batch as a tensor `[N, K]` on `device`, f32.
pub(super) fn targets(targets: Targets, classes: usize, device: Device) -> Result<Tensor> {
    let rows = targets.into_rows(classes);
    let rows = Tensor::f_from_slice(&rows)?.f_view([-1, classes as i64])?;
    Ok(rows.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn close(got: &Tensor, expected: f64) {
        let got = got.double_value(&[]);
        assert!(
            (got - expected).abs() < 1e-6 * expected.abs().max(1.0),
            "{got} {expected}"
        );
    }

    /// Losses and gradients of the golden data; labels, smoothed labels and mixed ones are all targets.
    #[test]
    fn cross_entropy_equals_the_golden_numbers() {
        let golden: Value =
            serde_json::from_str(include_str!("../../tests/golden/cross_entropy.json")).unwrap();
        let tensor = |value: &Value| {
            let values = value.as_array().unwrap().iter();
            let values: Vec<f64> = values.map(|v| v.as_f64().unwrap()).collect();
            Tensor::from_slice(&values).view([4, 10]).to_kind(Kind::Float)
        };
        for case in golden["cases"].as_array().unwrap() {
            let logits = tensor(&golden["logits"]).set_requires_grad(true);
            let loss = Objective::plain(false).loss(&logits, &tensor(&case["targets"]));
            close(&loss, case["loss"].as_f64().unwrap());
            loss.backward();
            let difference = (logits.grad() - tensor(&case["grad"])).abs().max();
            assert!(difference.double_value(&[]) < 1e-7, "{case}: {difference:?}");
        }
    }

    #[test]
    fn each_class_by_itself_is_libtorchs_binary_cross_entropy() {
        let logits = Tensor::from_slice(&[0.3f32, -2.0, 40.0, 1.0, 0.0, -50.0]).view([2, 3]);
        let targets = Tensor::from_slice(&[1.0f32, 0.0, 1.0, 0.25, 1.0, 0.0]).view([2, 3]);
        let expected =
            logits.binary_cross_entropy_with_logits::<Tensor>(&targets, None, None, tch::Reduction::Mean);
        close(
            &Objective::plain(true).loss(&logits, &targets),
            expected.double_value(&[]),
        );
    }

    /// Weights by hand: class 1 counts three times.
    #[test]
    fn weights_multiply_the_share_of_their_class() {
        let weights = |presence: [f32; 2], absence: [f32; 2]| {
            Some(Weights {
                presence: Tensor::from_slice(&presence),
                absence: Tensor::from_slice(&absence),
            })
        };
        let logits = Tensor::zeros([2, 2], (Kind::Float, Device::Cpu));
        let targets = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 1.0]).view([2, 2]);
        let softmax = Objective {
            is_sigmoid: false,
            weights: weights([1.0, 3.0], [9.0, 9.0]),
        };
        close(&softmax.loss(&logits, &targets), 2.0 * 2f64.ln());
        let sigmoid = Objective {
            is_sigmoid: true,
            weights: weights([1.0, 3.0], [1.0, 1.0]),
        };
        close(
            &sigmoid.loss(&logits, &targets),
            (1.0 + 1.0 + 1.0 + 3.0) / 4.0 * 2f64.ln(),
        );
    }
}
