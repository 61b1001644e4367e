//! The time of a whole training step on random images: what the loop costs without data.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use fcmae_kernels::profile;
use fcmae_masking::{PatchGrid, RandomMask};
use fcmae_model::{Fcmae, Step};
use fcmae_torch_ext::AdamW;
use serde::Serialize;
use tch::{Kind, Tensor, nn};

use crate::config::{Precision, PretrainConfig};
use crate::machine::{DeviceChoice, Machine};
use crate::optimizer::Optimizer;

/// What is measured.
#[derive(Debug, Clone)]
pub struct StepBench {
    /// Model, decoder, mask ratio, device, precision and threads are taken from it.
    pub config: PretrainConfig,
    /// Images of a step.
    pub batch: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// Timed steps; the median counts.
    pub steps: usize,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepTime {
    /// Name of the model.
    pub model: String,
    /// Images of a step.
    pub batch: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// `"f32"` or `"bf16"`.
    pub dtype: &'static str,
    /// `"cpu"`, `"cuda:0"`, ….
    pub device: String,
    /// The kernels' back end, in words.
    pub kernels: String,
    /// Threads of libtorch.
    pub threads: usize,
    /// Median time of a step.
    pub seconds: f64,
    /// Images per second at that time.
    pub images_per_second: f64,
    /// Largest memory of the process so far, in MiB.
    pub peak_mib: Option<u64>,
    /// Loss of the first step: about 1, as nothing is learnt yet.
    pub first_loss: f64,
    /// Mean seconds per step in each operation of the kernels, and in the optimizer.
    pub profile: BTreeMap<String, f64>,
}

/// Measures forward, backward and AdamW together, after three steps to warm up.
///
/// # Errors
/// A model, size, ratio or device that do not fit.
pub fn bench_step(bench: &StepBench) -> Result<StepTime> {
    const WARM_UP: usize = 3;
    let config = &bench.config;
    let device = config.device.parse::<DeviceChoice>()?.find()?;
    let machine = Machine::set_up(device, config.threads, config.precision.kind());
    let vs = nn::VarStore::new(device);
    let model = Fcmae::new(&vs.root(), &config.fcmae())?;
    model.initialise(&vs, config.seed);
    let adamw = AdamW {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
    };
    let mut optimizer = Optimizer::new(vs.variables().into_iter().collect(), adamw, 0.05, true)?;

    let [height, width] = bench.size;
    let grid = PatchGrid::for_image(height, width, config.model.total_stride())?;
    let ids: Vec<u64> = (0..bench.batch as u64).collect();
    let mask = RandomMask::new(config.mask).sample(grid, config.seed, 0, &ids)?;
    let shape = [bench.batch, config.model.in_chans, height, width].map(|size| size as i64);
    tch::manual_seed(0);
    let images = Tensor::f_randn(shape, (Kind::Float, device))?;
    let options = Step {
        precision: config.precision.kind(),
        draws: None,
    };
    let mut step = || -> Result<f64> {
        optimizer.zero_grad();
        let loss = model.loss(&images, &mask, &options)?;
        loss.f_backward()?;
        profile::span(|| "optimizer".to_owned(), || optimizer.step(1e-4))?;
        Ok(loss.double_value(&[])) // waits for the device
    };

    let first_loss = step()?;
    (1..WARM_UP).try_for_each(|_| step().map(drop))?;
    let mut seconds = Vec::with_capacity(bench.steps);
    profile::start();
    for _ in 0..bench.steps.max(1) {
        let started = Instant::now();
        step()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let profile = profile::take().into_iter();
    let profile = profile.map(|(name, time)| (name, time.as_secs_f64() / seconds.len() as f64));
    let profile = profile.collect();
    let seconds = median(seconds);
    Ok(StepTime {
        model: config.model.name.clone(),
        batch: bench.batch,
        size: bench.size,
        dtype: Precision::name(config.precision),
        device: machine.device,
        kernels: machine.kernels,
        threads: machine.threads,
        seconds,
        images_per_second: bench.batch as f64 / seconds,
        peak_mib: peak_memory(),
        first_loss,
        profile,
    })
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let middle = seconds.len() / 2;
    if seconds.len().is_multiple_of(2) {
        (seconds[middle - 1] + seconds[middle]) / 2.0
    } else {
        seconds[middle]
    }
}

/// Linux's `VmHWM`, in MiB; elsewhere it is not known.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024)
}

#[cfg(test)]
mod tests {
    use fcmae_decoder::DecoderConfig;
    use fcmae_encoder::EncoderConfig;

    use super::*;

    #[test]
    fn a_tiny_step_is_measured() {
        let config = PretrainConfig {
            model: EncoderConfig {
                name: "test".into(),
                depths: vec![1, 1],
                dims: vec![4, 8],
                ..EncoderConfig::default()
            },
            decoder: DecoderConfig { depth: 1, dim: 8 },
            device: "cpu".into(),
            threads: 1,
            ..PretrainConfig::default()
        };
        let time = bench_step(&StepBench {
            config,
            batch: 2,
            size: [16, 24],
            steps: 2,
        })
        .unwrap();
        assert!((time.first_loss - 1.0).abs() < 0.2, "{}", time.first_loss);
        assert_eq!(
            (time.model.as_str(), time.threads, time.dtype),
            ("test", 1, "f32")
        );
        assert!(time.seconds > 0.0 && time.images_per_second > 0.0);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
