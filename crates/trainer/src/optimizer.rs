//! AdamW over groups of parameters, through libtorch's fused step.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use fcmae_torch_ext::{AdamW, clear_gradient, fused_adamw};
use tch::{Tensor, no_grad};

use crate::groups::is_decayed;

/// A named parameter; the tensor shares its storage with the model's.
pub type Parameter = (String, Tensor);

/// AdamW (arXiv 1711.05101) with decoupled decay: `w ← w − lr·decay·w − lr·m̂/(√v̂ + eps)`.
///
/// Moments have the kind of their parameter: f32 in training. All state is in [`Optimizer::state`], so that a
/// run that is stopped and resumed continues bit for bit.
#[derive(Debug)]
pub struct Optimizer {
    groups: Vec<Group>,
    adamw: AdamW,
    steps: u64,
}

/// What is one parameter's own in a step of the optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Decoupled weight decay, at least 0.
    pub weight_decay: f64,
    /// Share of the learning rate, above 0.
    pub lr_scale: f64,
}

/// Parameters that share a weight decay and a factor of the learning rate.
#[derive(Debug)]
struct Group {
    names: Vec<String>,
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    weight_decay: f64,
    lr_scale: f64,
}

impl Group {
    fn new(parameters: Vec<Parameter>, weight_decay: f64, lr_scale: f64) -> Group {
        let (names, params): (Vec<_>, Vec<_>) = parameters.into_iter().unzip();
        let zeros = |params: &[Tensor]| params.iter().map(|p| p.detach().zeros_like()).collect();
        Group {
            exp_avgs: zeros(&params),
            exp_avg_sqs: zeros(&params),
            names,
            params,
            weight_decay,
            lr_scale,
        }
    }

    /// The gradients that there are, each with the place of its parameter.
    fn gradients(&self) -> impl Iterator<Item = (usize, Tensor)> {
        let all = self.params.iter().map(Tensor::grad).enumerate();
        all.filter(|(_, gradient)| gradient.defined())
    }

    fn step(&self, adamw: &AdamW, steps: u64, lr: f64) -> Result<()> {
        let (places, gradients): (Vec<usize>, Vec<Tensor>) = self.gradients().unzip();
        fused_adamw(
            &pick(&self.params, &places),
            &gradients.iter().collect::<Vec<_>>(),
            &pick(&self.exp_avgs, &places),
            &pick(&self.exp_avg_sqs, &places),
            steps,
            lr * self.lr_scale,
            self.weight_decay,
            adamw,
        )?;
        Ok(())
    }
}

fn pick<'a>(tensors: &'a [Tensor], places: &[usize]) -> Vec<&'a Tensor> {
    places.iter().map(|&place| &tensors[place]).collect()
}

impl Optimizer {
    /// An optimizer whose two groups follow the reference's pre-training rule ([`is_decayed`]).
    ///
    /// # Errors
    /// A parameter that does not require gradients.
    pub fn new(
        parameters: Vec<Parameter>,
        adamw: AdamW,
        weight_decay: f64,
        decay_grn: bool,
    ) -> Result<Optimizer> {
        let (decayed, free) = parameters
            .into_iter()
            .partition(|(name, p)| is_decayed(name, &p.size(), decay_grn));
        Optimizer::from_groups(
            vec![Group::new(free, 0.0, 1.0), Group::new(decayed, weight_decay, 1.0)],
            adamw,
        )
    }

    /// An optimizer whose parameters have a weight decay and a share of the learning rate each, which `of` tells from
    /// a parameter's name and shape. Equal ones share a group.
    ///
    /// # Errors
    /// A parameter that does not require gradients.
    pub fn grouped(
        parameters: Vec<Parameter>,
        adamw: AdamW,
        of: impl Fn(&str, &[i64]) -> Share,
    ) -> Result<Optimizer> {
        let mut groups: BTreeMap<[u64; 2], (Share, Vec<Parameter>)> = BTreeMap::new();
        for (name, parameter) in parameters {
            let share = of(&name, &parameter.size());
            let key = [share.lr_scale, share.weight_decay].map(f64::to_bits);
            groups
                .entry(key)
                .or_insert_with(|| (share, Vec::new()))
                .1
                .push((name, parameter));
        }
        let group =
            |(share, parameters): (Share, _)| Group::new(parameters, share.weight_decay, share.lr_scale);
        Optimizer::from_groups(groups.into_values().map(group).collect(), adamw)
    }

    fn from_groups(groups: Vec<Group>, adamw: AdamW) -> Result<Optimizer> {
        for (name, param) in groups.iter().flat_map(|g| g.names.iter().zip(&g.params)) {
            ensure!(
                param.requires_grad(),
                "parameter {name} does not require gradients"
            );
        }
        Ok(Optimizer {
            groups,
            adamw,
            steps: 0,
        })
    }

    /// Steps taken so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Takes all gradients away: the start of an accumulation window. The window's first backward pass hands its
    /// own over, the others add to them.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn zero_grad(&mut self) -> Result<()> {
        let mut parameters = self.groups.iter().flat_map(|group| &group.params);
        Ok(parameters.try_for_each(clear_gradient)?)
    }

    /// One step with the gradients as they are, at learning rate `lr`. A parameter that got no gradient since
    /// [`zero_grad`](Optimizer::zero_grad) stays as it is, its moments too, as in PyTorch; the
    /// count of steps is that of the optimizer.
    ///
    /// # Errors
    /// What libtorch refuses.
    pub fn step(&mut self, lr: f64) -> Result<()> {
        self.steps += 1;
        let mut groups = self.groups.iter();
        groups.try_for_each(|group| group.step(&self.adamw, self.steps, lr))
    }

    /// Scales all gradients so that their joint 2-norm is at most `max_norm` (0: as they are); returns the norm before:
    /// 0 where there is no gradient.
    pub fn clip_grad_norm(&mut self, max_norm: f64) -> f64 {
        /// Keeps the quotient finite, as in torch's `clip_grad_norm_`.
        const EPS: f64 = 1e-6;
        let gradients = self.groups.iter().flat_map(Group::gradients);
        let gradients: Vec<Tensor> = gradients.map(|(_, gradient)| gradient).collect();
        if gradients.is_empty() {
            return 0.0;
        }
        let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
        let norm = Tensor::stack(&norms, 0).norm().double_value(&[]);
        let scale = max_norm / (norm + EPS);
        if max_norm > 0.0 && scale < 1.0 {
            no_grad(|| {
                gradients
                    .into_iter()
                    .for_each(|mut g| drop(g.g_mul_scalar_(scale)))
            });
        }
        norm
    }

    /// The moments under names a checkpoint can hold: `exp_avg.<parameter>` and `exp_avg_sq.<parameter>`.
    /// The tensors share their storage with the optimizer's.
    #[must_use]
    pub fn state(&self) -> Vec<Parameter> {
        let mut state = Vec::new();
        for group in &self.groups {
            let moments = group.exp_avgs.iter().zip(&group.exp_avg_sqs);
            for (name, (exp_avg, exp_avg_sq)) in group.names.iter().zip(moments) {
                state.push((format!("exp_avg.{name}"), exp_avg.shallow_clone()));
                state.push((format!("exp_avg_sq.{name}"), exp_avg_sq.shallow_clone()));
            }
        }
        state
    }

    /// Takes over moments and the count of steps, as [`Optimizer::state`] and [`Optimizer::steps`] gave them.
    ///
    /// # Errors
    /// A moment that `find` does not have or that has another shape.
    pub fn load_state(
        &mut self,
        steps: u64,
        mut find: impl FnMut(&str) -> Result<Option<Tensor>>,
    ) -> Result<()> {
        for (name, moment) in self.state() {
            let Some(loaded) = find(&name)? else {
                bail!("the optimizer's state lacks {name}")
            };
            ensure!(
                loaded.size() == moment.size(),
                "the optimizer's state has {name} of shape {:?} instead of {:?}",
                loaded.size(),
                moment.size()
            );
            no_grad(|| moment.shallow_clone().f_copy_(&loaded)).with_context(|| format!("loading {name}"))?;
        }
        self.steps = steps;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tch::{Device, Kind};

    use super::*;

    const PAPER: AdamW = AdamW {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
    };

    /// The steps of pre-training (betas 0.9 and 0.95) and of fine-tuning (0.9 and 0.999).
    const GOLDEN: [&str; 2] = [
        include_str!("../tests/golden/adamw.json"),
        include_str!("../tests/golden/adamw_finetune.json"),
    ];

    fn tensor(golden: &Value, name: &str, kind: Kind) -> Tensor {
        let entry = &golden["tensors"][name];
        let numbers = |key: &str| entry[key].as_array().unwrap().clone();
        let values: Vec<f64> = numbers("values").iter().map(|v| v.as_f64().unwrap()).collect();
        let shape: Vec<i64> = numbers("shape").iter().map(|v| v.as_i64().unwrap()).collect();
        Tensor::from_slice(&values).view(shape.as_slice()).to_kind(kind)
    }

    fn deviation(a: &Tensor, b: &Tensor) -> f64 {
        let scale = b.abs().max().double_value(&[]);
        (a.to_kind(Kind::Double) - b).abs().max().double_value(&[]) / scale
    }

    /// Sets a gradient the way training does: by a backward pass.
    fn backward(param: &Tensor, gradient: &Tensor) {
        (param * gradient).sum(param.kind()).backward();
    }

    fn check(kind: Kind, tolerance: f64) {
        for golden in GOLDEN {
            check_steps(&serde_json::from_str(golden).unwrap(), kind, tolerance);
        }
    }

    fn check_steps(golden: &Value, kind: Kind, tolerance: f64) {
        let adamw = AdamW {
            beta1: golden["betas"][0].as_f64().unwrap(),
            beta2: golden["betas"][1].as_f64().unwrap(),
            eps: golden["eps"].as_f64().unwrap(),
        };
        let group = |name: &str| {
            let param = tensor(golden, &format!("{name}.0"), kind).set_requires_grad(true);
            let of = |key: &str| golden["groups"][name][key].as_f64().unwrap();
            Group::new(vec![(name.to_owned(), param)], of("weight_decay"), of("lr_scale"))
        };
        let mut optimizer = Optimizer::from_groups(vec![group("w"), group("b")], adamw).unwrap();
        for step in 1..=3 {
            optimizer.zero_grad().unwrap();
            for group in &optimizer.groups {
                backward(
                    &group.params[0],
                    &tensor(golden, &format!("{}.grad.{step}", group.names[0]), kind),
                );
            }
            optimizer.step(golden["lr"][step - 1].as_f64().unwrap()).unwrap();
            for group in &optimizer.groups {
                let name = &group.names[0];
                let found = [
                    ("", &group.params[0]),
                    (".exp_avg", &group.exp_avgs[0]),
                    (".exp_avg_sq", &group.exp_avg_sqs[0]),
                ];
                for (part, found) in found {
                    let expected = tensor(golden, &format!("{name}{part}.{step}"), Kind::Double);
                    let deviation = deviation(&found.detach(), &expected);
                    assert!(
                        deviation <= tolerance,
                        "{name}{part} after step {step}: {deviation:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn equals_the_golden_steps_in_f64() {
        // Only the order of the operations differs from the oracle's.
        check(Kind::Double, 1e-14);
    }

    #[test]
    fn equals_the_golden_steps_in_f32() {
        // A few roundings of 6e-8 each.
        check(Kind::Float, 5e-7);
    }

    fn parameters() -> Vec<Parameter> {
        let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        vec![
            ("a.weight".into(), ones(&[2, 3])),
            ("a.bias".into(), ones(&[3])),
            ("grn.gamma".into(), ones(&[1, 1, 1, 4])),
        ]
    }

    fn optimizer(parameters: &[Parameter]) -> Optimizer {
        let shared = parameters
            .iter()
            .map(|(name, p)| (name.clone(), p.shallow_clone()))
            .collect();
        Optimizer::new(shared, PAPER, 0.05, true).unwrap()
    }

    #[test]
    fn a_step_with_gradients_of_zero_decays_what_is_to_be_decayed() {
        let parameters = parameters();
        let mut optimizer = optimizer(&parameters);
        for (_, p) in &parameters {
            backward(p, &p.zeros_like().detach());
        }
        optimizer.step(0.1).unwrap();
        let values: Vec<f64> = parameters
            .iter()
            .map(|(_, p)| p.min().double_value(&[]))
            .collect();
        assert!(
            (values[0] - 0.995).abs() < 1e-6 && (values[2] - 0.995).abs() < 1e-6,
            "{values:?}"
        );
        assert_eq!(values[1], 1.0);
    }

    #[test]
    fn each_parameter_has_its_own_decay_and_share_of_the_learning_rate() {
        let parameters = parameters();
        let shared = |p: &[Parameter]| p.iter().map(|(n, p)| (n.clone(), p.shallow_clone())).collect();
        let share = |name: &str, _: &[i64]| Share {
            weight_decay: if name == "grn.gamma" { 0.5 } else { 0.0 },
            lr_scale: if name == "a.bias" { 0.25 } else { 1.0 },
        };
        let mut optimizer = Optimizer::grouped(shared(&parameters), PAPER, share).unwrap();
        assert_eq!(optimizer.groups.len(), 3);
        for (_, p) in &parameters {
            backward(p, &p.ones_like().detach());
        }
        optimizer.step(0.1).unwrap(); // the first step of AdamW moves by the learning rate
        for ((_, p), expected) in parameters.iter().zip([0.9, 0.975, 0.95 - 0.1]) {
            assert!((p.min().double_value(&[]) - expected).abs() < 1e-6, "{p:?}");
        }
    }

    #[test]
    fn a_parameter_without_a_gradient_is_left_alone() {
        let parameters = parameters();
        let mut optimizer = optimizer(&parameters);
        assert_eq!(optimizer.clip_grad_norm(1.0), 0.0);
        optimizer.step(0.1).unwrap();
        let bias = &parameters[1].1;
        backward(bias, &bias.full_like(3.0).detach());
        assert!((optimizer.clip_grad_norm(1.0) - 27f64.sqrt()).abs() < 1e-5);
        optimizer.step(0.1).unwrap();
        assert_eq!(optimizer.steps(), 2);
        for (name, p) in &parameters {
            let is_changed = p.detach() != p.ones_like().detach();
            assert_eq!(is_changed, name == "a.bias", "{name}");
        }
        for (name, moment) in optimizer.state() {
            let is_changed = moment.abs().max().double_value(&[]) > 0.0;
            assert_eq!(is_changed, name.ends_with(".a.bias"), "{name}");
        }
    }

    #[test]
    fn gradients_accumulate_until_they_are_taken_away() {
        let parameters = parameters();
        let mut optimizer = optimizer(&parameters);
        let weight = &parameters[0].1;
        (0..2).for_each(|_| backward(weight, &weight.full_like(0.5).detach()));
        assert_eq!(weight.grad(), weight.ones_like().detach());
        optimizer.zero_grad().unwrap();
        assert!(!weight.grad().defined());
    }

    #[test]
    fn clipping_bounds_the_joint_norm_and_leaves_small_gradients_alone() {
        let parameters = parameters();
        let mut optimizer = optimizer(&parameters);
        backward(
            &parameters[0].1,
            &Tensor::full([2, 3], 2.0, (Kind::Float, Device::Cpu)),
        );
        backward(
            &parameters[1].1,
            &Tensor::full([3], 2.0, (Kind::Float, Device::Cpu)),
        );
        assert!((optimizer.clip_grad_norm(3.0) - 6.0).abs() < 1e-5); // √(9·4)
        assert!((optimizer.clip_grad_norm(5.0) - 3.0).abs() < 1e-5);
        assert!((optimizer.clip_grad_norm(5.0) - 3.0).abs() < 1e-5);
    }

    #[test]
    fn a_reloaded_state_continues_bit_for_bit() {
        let run = |steps: u64, parameters: &[Parameter], optimizer: &mut Optimizer| {
            for step in optimizer.steps()..steps {
                optimizer.zero_grad().unwrap();
                for (_, p) in parameters {
                    backward(p, &(p.detach() * (step as f64 + 0.3)));
                }
                optimizer.step(0.01).unwrap();
            }
        };
        let undisturbed = parameters();
        run(5, &undisturbed, &mut optimizer(&undisturbed));

        let stopped = parameters();
        let mut first = optimizer(&stopped);
        run(2, &stopped, &mut first);
        let saved: Vec<Parameter> = first
            .state()
            .into_iter()
            .map(|(name, t)| (name, t.copy()))
            .collect();
        let mut second = optimizer(&stopped);
        let find = |name: &str| {
            Ok(saved
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, t)| t.shallow_clone()))
        };
        second.load_state(first.steps(), find).unwrap();
        run(5, &stopped, &mut second);
        for ((name, a), (_, b)) in undisturbed.iter().zip(&stopped) {
            assert_eq!(a.detach(), b.detach(), "{name}");
        }
    }

    #[test]
    fn a_state_of_another_model_is_refused() {
        let parameters = parameters();
        let mut optimizer = optimizer(&parameters);
        let missing = optimizer.load_state(1, |_| Ok(None)).unwrap_err();
        assert!(missing.to_string().contains("lacks exp_avg.a.bias"), "{missing}");
        let misshapen = optimizer.load_state(1, |_| Ok(Some(Tensor::zeros([9], (Kind::Float, Device::Cpu)))));
        assert!(
            misshapen
                .unwrap_err()
                .to_string()
                .contains("shape [9] instead of [3]")
        );
    }
}
