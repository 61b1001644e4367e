//! `fcmae bench-step`: the time of a whole step on random images, for `cargo xtask bench`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::trainer::{PretrainConfig, StepBench, StepTask, bench_step};

use super::{Outcome, output};

/// Arguments of `bench-step`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A size (`atto`, …, `huge`) or a config file
    #[arg(long, default_value = "atto")]
    model: String,
    /// What a step is: `pretrain`, `classify` or `infer`
    #[arg(long, default_value = "pretrain")]
    task: StepTask,
    /// Share of the patches that is hidden in pre-training [default: the config's]
    #[arg(long)]
    mask_ratio: Option<f64>,
    /// Images of a step
    #[arg(long, default_value_t = 32)]
    batch: u32,
    /// Side of the square images, in pixels
    #[arg(long, default_value_t = 224)]
    size: u32,
    /// `f32` or `bf16`
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// `auto`, `cpu` or `cuda:0`
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Timed steps; the median counts
    #[arg(long, default_value_t = 7)]
    steps: u32,
    /// Threads of libtorch; 0 = one per core
    #[arg(long, default_value_t = 0)]
    threads: u32,
    /// Set a key of the config; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The output is JSON in any case
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let mut set = vec![
        format!("precision=\"{}\"", args.dtype),
        format!("device=\"{}\"", args.device),
        format!("threads={}", args.threads),
    ];
    set.extend(args.mask_ratio.map(|ratio| format!("mask.mask_ratio={ratio:?}")));
    set.extend(args.set.iter().cloned());
    let config = PretrainConfig::load_unchecked(&model_file(&args.model), &set)?;
    let side = args.size as usize;
    let bench = StepBench {
        config,
        task: args.task,
        batch: args.batch.max(1) as usize,
        size: [side; 2],
        steps: args.steps as usize,
    };
    output::json(&bench_step(&bench)?)?;
    Ok(Outcome::Done)
}

/// A size is the file of that name in `configs/models`, here or in the checkout that this program was built in.
fn model_file(model: &str) -> PathBuf {
    const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let file = Path::new("configs/models").join(model).with_extension("toml");
    let candidates = [
        PathBuf::from(model),
        file.clone(),
        Path::new(BUILT_IN).join(&file),
    ];
    candidates.into_iter().find(|file| file.is_file()).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_file_of_the_checkout() {
        for size in ["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"] {
            assert!(model_file(size).is_file(), "{size}");
        }
        assert_eq!(model_file("zepto"), Path::new("configs/models/zepto.toml"));
    }
}
