//! The time of a whole step on random images: what the loop, or a classifier, costs without data.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Instant;

use anyhow::Result;
use fcmae_encoder::Classifier;
use fcmae_kernels::profile;
use fcmae_masking::{PatchGrid, RandomMask};
use fcmae_model::{Activation, Fcmae, Pass, Step};
use fcmae_torch_ext::AdamW;
use serde::Serialize;
use tch::{Kind, Tensor, nn};

use crate::config::{Precision, PretrainConfig};
use crate::machine::{DeviceChoice, Machine, peak_memory};
use crate::optimizer::Optimizer;

/// What a step is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepTask {
    /// Forward, masked loss, backward and AdamW of pre-training.
    #[default]
    Pretrain,
    /// Forward, cross-entropy, backward and AdamW of the dense classifier with 1000 classes.
    Classify,
    /// The dense classifier's forward pass alone, without a graph.
    Infer,
}

impl FromStr for StepTask {
    type Err = String;

    fn from_str(text: &str) -> Result<StepTask, String> {
        match text {
            "pretrain" => Ok(StepTask::Pretrain),
            "classify" => Ok(StepTask::Classify),
            "infer" => Ok(StepTask::Infer),
            _ => Err("use `pretrain`, `classify` or `infer`".to_owned()),
        }
    }
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct StepBench {
    /// Model, decoder, mask ratio, device, precision, activation and threads are taken from it.
    pub config: PretrainConfig,
    /// What a step is.
    pub task: StepTask,
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
    /// What a step is.
    pub task: StepTask,
    /// Images of a step.
    pub batch: usize,
    /// Height and width of the images.
    pub size: [usize; 2],
    /// Visible patches over all patches, `K / L`; 1 for the dense classifier.
    pub visible_share: f64,
    /// Channels of each stage.
    pub dims: Vec<usize>,
    /// Channels of the decoder; `None` for the classifier.
    pub decoder_dim: Option<usize>,
    /// `"f32"` or `"bf16"`.
    pub dtype: &'static str,
    /// What was kept of each block for the backward pass; the classifier's forward pass alone keeps nothing.
    pub activation: Activation,
    /// `"cpu"`, `"cuda:0"`, ….
    pub device: String,
    /// The kernels' back end, in words.
    pub kernels: String,
    /// Version of libtorch.
    pub libtorch: String,
    /// Threads of libtorch.
    pub threads: usize,
    /// Median time of a step.
    pub seconds: f64,
    /// Mean time of a step: what `profile` is a part of.
    pub mean_seconds: f64,
    /// Images per second at the median.
    pub images_per_second: f64,
    /// Largest memory of the process so far, in MiB.
    pub peak_mib: Option<u64>,
    /// Loss of the first step: of pre-training about 1, of the classifier about ln 1000, as nothing is learnt yet;
    /// `None` where there is none.
    pub first_loss: Option<f64>,
    /// Mean seconds per step in each operation of the kernels, and in the optimizer.
    pub profile: BTreeMap<String, f64>,
}

/// Measures whole steps, after three to warm up.
///
/// # Errors
/// A model, size, ratio or device that do not fit.
pub fn bench_step(bench: &StepBench) -> Result<StepTime> {
    let config = &bench.config;
    let device = config.device.parse::<DeviceChoice>()?.find()?;
    let machine = Machine::set_up(device, config.threads, config.precision.kind())
        .except(config.model.off_kernels(bench.task == StepTask::Pretrain));
    let mut work = Work::new(bench, device)?;
    let timing = time(&mut work.step, bench.steps.max(1))?;
    let is_dense = bench.task != StepTask::Pretrain;
    let seconds = median(timing.seconds.clone());
    Ok(StepTime {
        model: config.model.name.clone(),
        task: bench.task,
        batch: bench.batch,
        size: bench.size,
        visible_share: work.visible_share,
        dims: config.model.dims.clone(),
        decoder_dim: (!is_dense).then_some(config.decoder.dim),
        dtype: Precision::name(config.precision),
        activation: config.activation,
        device: machine.device,
        kernels: machine.kernels,
        libtorch: machine.libtorch,
        threads: machine.threads,
        seconds,
        mean_seconds: timing.seconds.iter().sum::<f64>() / timing.seconds.len() as f64,
        images_per_second: bench.batch as f64 / seconds,
        peak_mib: peak_memory(),
        first_loss: timing.first_loss,
        profile: timing.profile,
    })
}

/// Takes a step, waits for the device, and gives the loss if there is one.
type OneStep = Box<dyn FnMut() -> Result<Option<f64>>>;

/// A model on its device with everything a step needs.
struct Work {
    step: OneStep,
    /// Visible patches over all patches.
    visible_share: f64,
}

impl Work {
    fn new(bench: &StepBench, device: tch::Device) -> Result<Work> {
        let [height, width] = bench.size;
        let shape = [bench.batch, bench.config.model.in_chans, height, width].map(|size| size as i64);
        tch::manual_seed(0);
        let images = Tensor::f_randn(shape, (Kind::Float, device))?;
        match bench.task {
            StepTask::Pretrain => Work::pretraining(bench, images),
            StepTask::Classify => Work::classifying(&bench.config, images),
            StepTask::Infer => Work::inferring(&bench.config, images),
        }
    }

    fn pretraining(bench: &StepBench, images: Tensor) -> Result<Work> {
        let config = &bench.config;
        let vs = nn::VarStore::new(images.device());
        let model = Fcmae::new(&vs.root(), &config.fcmae())?;
        model.initialise(&vs, config.seed);
        let mut optimizer = optimizer(&vs)?;
        let [height, width] = bench.size;
        let grid = PatchGrid::for_image(height, width, config.model.total_stride())?;
        let ids: Vec<u64> = (0..bench.batch as u64).collect();
        let mask = RandomMask::new(config.mask).sample(grid, config.seed, 0, &ids)?;
        let visible_share = mask.visible_per_image() as f64 / grid.patches() as f64;
        let options = Step {
            precision: config.precision.kind(),
            pass: pass(config),
        };
        let step = move || train(&mut optimizer, || Ok(model.loss(&images, &mask, &options)?));
        Ok(Work {
            step: Box::new(step),
            visible_share,
        })
    }

    fn classifying(config: &PretrainConfig, images: Tensor) -> Result<Work> {
        let (vs, classifier) = classifier(config, images.device())?;
        let mut optimizer = optimizer(&vs)?;
        let labels = Tensor::f_randint(CLASSES as i64, [images.size()[0]], (Kind::Int64, images.device()))?;
        let (precision, pass) = (config.precision.kind(), pass(config));
        let step = move || {
            train(&mut optimizer, || {
                let logits = classifier.forward(&images.to_kind(precision), &pass)?; // [N, classes]
                Ok(logits.to_kind(Kind::Float).cross_entropy_for_logits(&labels))
            })
        };
        Ok(Work {
            step: Box::new(step),
            visible_share: 1.0,
        })
    }

    fn inferring(config: &PretrainConfig, images: Tensor) -> Result<Work> {
        let (_, classifier) = classifier(config, images.device())?;
        let precision = config.precision.kind();
        let step = move || {
            let logits = tch::no_grad(|| classifier.forward(&images.to_kind(precision), &Pass::default()))?;
            let _ = logits.double_value(&[0, 0]); // waits for the device
            Ok(None)
        };
        Ok(Work {
            step: Box::new(step),
            visible_share: 1.0,
        })
    }
}

/// Classes of the classifier, as in ImageNet-1k.
const CLASSES: usize = 1000;

/// Nothing is dropped, so that every step is the same work.
fn pass(config: &PretrainConfig) -> Pass<'static> {
    Pass {
        draws: None,
        is_training: true,
        activation: config.activation,
        ..Pass::default()
    }
}

/// The dense classifier with its weights drawn; it shares them with the store.
fn classifier(config: &PretrainConfig, device: tch::Device) -> Result<(nn::VarStore, Classifier)> {
    let vs = nn::VarStore::new(device);
    let classifier = Classifier::new(&vs.root(), &config.model, CLASSES)?;
    fcmae_blocks::initialise(&vs, config.seed);
    Ok((vs, classifier))
}

/// AdamW as the paper pre-trains with, over all parameters of a store.
fn optimizer(vs: &nn::VarStore) -> Result<Optimizer> {
    let adamw = AdamW {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
    };
    let parameters = vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
    Optimizer::new(parameters.collect(), adamw, 0.05, true)
}

/// Forward, backward and one step of the optimizer.
fn train(optimizer: &mut Optimizer, loss: impl FnOnce() -> Result<Tensor>) -> Result<Option<f64>> {
    optimizer.zero_grad()?;
    let loss = loss()?;
    loss.f_backward()?;
    profile::span(|| "optimizer".to_owned(), || optimizer.step(1e-4))?;
    Ok(Some(loss.double_value(&[]))) // waits for the device
}

/// Times of single steps, and where they went.
struct Timing {
    first_loss: Option<f64>,
    /// Seconds of each timed step.
    seconds: Vec<f64>,
    /// Mean seconds per step by operation.
    profile: BTreeMap<String, f64>,
}

/// Three steps to warm up, then `steps` timed ones.
fn time(step: &mut OneStep, steps: usize) -> Result<Timing> {
    const WARM_UP: usize = 3;
    let first_loss = step()?;
    (1..WARM_UP).try_for_each(|_| step().map(drop))?;
    profile::start();
    let mut seconds = Vec::with_capacity(steps);
    for _ in 0..steps {
        let started = Instant::now();
        step()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let profile = profile::take().into_iter();
    let profile = profile.map(|(name, time)| (name, time.as_secs_f64() / steps as f64));
    Ok(Timing {
        first_loss,
        seconds,
        profile: profile.collect(),
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

#[cfg(test)]
mod tests {
    use fcmae_decoder::DecoderConfig;
    use fcmae_encoder::EncoderConfig;

    use super::*;

    fn tiny(task: StepTask) -> StepTime {
        let config = PretrainConfig {
            model: EncoderConfig {
                name: "test".into(),
                depths: vec![1, 1],
                dims: vec![4, 8],
                ..EncoderConfig::default()
            },
            decoder: DecoderConfig {
                dim: 8,
                ..DecoderConfig::default()
            },
            device: "cpu".into(),
            threads: 1,
            ..PretrainConfig::default()
        };
        bench_step(&StepBench {
            config,
            task,
            batch: 2,
            size: [16, 24],
            steps: 2,
        })
        .unwrap()
    }

    #[test]
    fn a_tiny_step_is_measured() {
        let time = tiny(StepTask::Pretrain);
        let loss = time.first_loss.unwrap();
        assert!((loss - 1.0).abs() < 0.2, "{loss}");
        assert_eq!(
            (time.model.as_str(), time.threads, time.dtype),
            ("test", 1, "f32")
        );
        assert_eq!((time.visible_share, time.decoder_dim), (2.0 / 6.0, Some(8)));
        assert!(time.seconds > 0.0 && time.mean_seconds > 0.0 && time.images_per_second > 0.0);
    }

    #[test]
    fn a_classifier_knows_nothing_before_its_first_step() {
        let time = tiny(StepTask::Classify);
        let loss = time.first_loss.unwrap();
        assert!((loss - 1000f64.ln()).abs() < 0.2, "{loss}");
        assert_eq!((time.visible_share, time.decoder_dim), (1.0, None));
    }

    #[test]
    fn inference_has_no_loss_and_no_optimizer() {
        let time = tiny(StepTask::Infer);
        assert_eq!(time.first_loss, None);
        assert!(time.seconds > 0.0);
    }

    #[test]
    fn tasks_have_names() {
        for task in [StepTask::Pretrain, StepTask::Classify, StepTask::Infer] {
            let name = serde_json::to_value(task).unwrap();
            assert_eq!(name.as_str().unwrap().parse(), Ok(task));
        }
        assert!("train".parse::<StepTask>().is_err());
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
