//! Logistic regression on standardised features, many settings at once.

use anyhow::Result;
use fcmae_random::{Purpose, Stream};
use tch::{Device, Kind, Tensor};

use crate::inference::config::LinearProbeConfig;
use crate::inference::network::Inference;

/// Moments and eps of AdamW.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;
/// A feature that varies less than this is constant.
const LEAST_STD: f64 = 1e-6;

/// What a sweep varies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Setting {
    pub(super) lr: f64,
    pub(super) weight_decay: f64,
}

impl Setting {
    /// Every learning rate with every decay.
    pub(super) fn grid(config: &LinearProbeConfig) -> Vec<Setting> {
        let with = |&lr: &f64| {
            config
                .weight_decay
                .iter()
                .map(move |&weight_decay| Setting { lr, weight_decay })
        };
        config.lr.iter().flat_map(with).collect()
    }
}

/// G trained probes.
#[derive(Debug)]
pub(super) struct LinearProbes {
    mean: Tensor,
    std: Tensor,
    /// `[G, D, K]`.
    weight: Tensor,
    /// `[G, 1, K]`.
    bias: Tensor,
}

/// Trains one probe per setting on features `[N, D]`: softmax regression from zero, AdamW (the decay spares the
/// bias), a cosine to 0 over all steps, batches in an order keyed by (seed, epoch). The gradient of the mean
/// cross-entropy is written out: `xᵀ(p − y) / B`.
pub(super) fn fit(
    inference: &Inference,
    features: &Tensor,
    labels: &[u32],
    classes: usize,
    settings: &[Setting],
) -> LinearProbes {
    let config = &inference.config;
    fit_on(
        features,
        labels,
        classes,
        settings,
        &config.linear,
        config.seed,
        inference.device,
    )
}

fn fit_on(
    features: &Tensor,
    labels: &[u32],
    classes: usize,
    settings: &[Setting],
    config: &LinearProbeConfig,
    seed: u64,
    device: Device,
) -> LinearProbes {
    let _no_graph = tch::no_grad_guard();
    let x = features.to_device(device).to_kind(Kind::Float); // [N, D]
    let (n, d) = x.size2().expect("features are [N, D]");
    let (g, k) = (settings.len() as i64, classes as i64);
    let mean = x.mean_dim([0i64].as_slice(), true, Kind::Float);
    let std = x.std_dim([0i64].as_slice(), false, true).clamp_min(LEAST_STD);
    let x = (x - &mean) / &std;
    let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
    let y = Tensor::from_slice(&labels)
        .to_device(device)
        .one_hot(k)
        .to_kind(Kind::Float); // [N, K]
    let column = |of: fn(&Setting) -> f64| {
        let values: Vec<f32> = settings.iter().map(|setting| of(setting) as f32).collect();
        Tensor::from_slice(&values).view([g, 1, 1]).to_device(device)
    };
    let (lr, decay) = (column(|s| s.lr), column(|s| s.weight_decay));
    let mut weight = Moving::zeros([g, d, k], device);
    let mut bias = Moving::zeros([g, 1, k], device);
    let batch = config.batch_size as i64;
    let steps = config.epochs * (n as u64).div_ceil(batch as u64);
    let mut step = 0;
    for epoch in 0..config.epochs {
        let order: Vec<i64> = Stream::new(seed, Purpose::Order, epoch, 0)
            .permutation(n as usize)
            .into_iter()
            .map(i64::from)
            .collect();
        for rows in order.chunks(batch as usize) {
            let rows = Tensor::from_slice(rows).to_device(device);
            let (x, y) = (x.index_select(0, &rows), y.index_select(0, &rows));
            let p = (x.matmul(&weight.value) + &bias.value).softmax(-1, Kind::Float); // [G, B, K]
            let error = (p - y) / rows.size()[0] as f64;
            let lr = &lr * (0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos()));
            step += 1;
            weight.value *= 1.0 - &lr * &decay;
            weight.step(&x.tr().matmul(&error), &lr, step);
            bias.step(
                &error.sum_dim_intlist([1i64].as_slice(), true, Kind::Float),
                &lr,
                step,
            );
        }
    }
    LinearProbes {
        mean,
        std,
        weight: weight.value,
        bias: bias.value,
    }
}

/// A parameter with its moments.
struct Moving {
    value: Tensor,
    first: Tensor,
    second: Tensor,
}

impl Moving {
    fn zeros(shape: [i64; 3], device: Device) -> Moving {
        let zeros = || Tensor::zeros(shape, (Kind::Float, device));
        Moving {
            value: zeros(),
            first: zeros(),
            second: zeros(),
        }
    }

    /// Adam (Kingma & Ba 2015) with bias correction; `step` from 1.
    fn step(&mut self, gradient: &Tensor, lr: &Tensor, step: u64) {
        let [b1, b2] = BETAS;
        self.first = &self.first * b1 + gradient * (1.0 - b1);
        self.second = &self.second * b2 + gradient.square() * (1.0 - b2);
        let power = step.min(1 << 20) as i32; // later powers are 0
        let first = &self.first / (1.0 - b1.powi(power));
        let second = &self.second / (1.0 - b2.powi(power));
        self.value -= lr * first / (second.sqrt() + EPS);
    }
}

impl LinearProbes {
    /// Logits `[N, K]` of the probe of one setting, row-major.
    pub(super) fn scores(&self, features: &Tensor, setting: usize) -> Result<Vec<f32>> {
        let at = setting as i64;
        let x = (features.to_device(self.mean.device()) - &self.mean) / &self.std;
        let logits = x.matmul(&self.weight.get(at)) + self.bias.get(at);
        Ok(Vec::try_from(
            logits.to_device(Device::Cpu).contiguous().view([-1]),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three clouds on a plane among features that say nothing, of very different scales.
    fn clouds(n: usize, seed: u64) -> (Tensor, Vec<u32>) {
        let mut stream = Stream::new(seed, Purpose::Verify, 0, 0);
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for i in 0..n {
            let label = (i % 3) as u32;
            let angle = f64::from(label) * 2.1;
            values.push((1000.0 + 300.0 * (angle.cos() + 0.25 * stream.normal())) as f32);
            values.push((1e-3 * (angle.sin() + 0.25 * stream.normal())) as f32);
            values.push(stream.normal() as f32);
            values.push(7.0); // constant
            labels.push(label);
        }
        (Tensor::from_slice(&values).view([n as i64, 4]), labels)
    }

    fn train(settings: &[Setting]) -> LinearProbes {
        let (x, labels) = clouds(300, 1);
        let config = LinearProbeConfig {
            batch_size: 64,
            ..LinearProbeConfig::default()
        };
        fit_on(&x, &labels, 3, settings, &config, 0, Device::Cpu)
    }

    #[test]
    fn what_is_separable_is_separated() {
        let settings = [
            Setting {
                lr: 1e-5,
                weight_decay: 0.0,
            },
            Setting {
                lr: 0.03,
                weight_decay: 0.0,
            },
        ];
        let probes = train(&settings);
        let (x, labels) = clouds(150, 2);
        let accuracy = |at| {
            let scores = probes.scores(&x, at).unwrap();
            super::super::accuracy(&scores, &labels, 3).unwrap()
        };
        assert!(accuracy(1) > 0.97, "{}", accuracy(1));
        // a hundred times slower has not arrived: its logits are still small
        let largest = |at| {
            probes
                .scores(&x, at)
                .unwrap()
                .into_iter()
                .fold(0f32, |a, b| a.max(b.abs()))
        };
        assert!(
            largest(0) < 0.1 && largest(1) > 1.0,
            "{} {}",
            largest(0),
            largest(1)
        );
    }

    #[test]
    fn settings_do_not_touch_each_other_and_runs_repeat() {
        let setting = |lr| Setting {
            lr,
            weight_decay: 0.1,
        };
        let (together, alone) = (train(&[setting(1e-3), setting(1e-2)]), train(&[setting(1e-2)]));
        let (x, _) = clouds(20, 3);
        let (a, b) = (together.scores(&x, 1).unwrap(), alone.scores(&x, 0).unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3), "{a:?} {b:?}");
        assert_eq!(b, train(&[setting(1e-2)]).scores(&x, 0).unwrap());
    }

    #[test]
    fn decay_shrinks_the_weights() {
        let settings = [0.0, 10.0].map(|weight_decay| Setting {
            lr: 1e-2,
            weight_decay,
        });
        let probes = train(&settings);
        let norm = |at| probes.weight.get(at).square().sum(Kind::Float).double_value(&[]);
        assert!(norm(1) < 0.5 * norm(0), "{} {}", norm(0), norm(1));
    }

    #[test]
    fn the_grid_is_every_pair() {
        let config = LinearProbeConfig {
            lr: vec![0.1, 0.2],
            weight_decay: vec![0.0, 1.0, 2.0],
            ..LinearProbeConfig::default()
        };
        assert_eq!(Setting::grid(&config).len(), 6);
    }
}
