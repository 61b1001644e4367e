//! Pre-trains a tiny network on generated images, goes back to a checkpoint half-way, and arrives at the same bits.

use std::error::Error;
use std::fs;
use std::path::Path;

use fcmae_data::{Color, DataConfig};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use fcmae_trainer::*;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let config = config(folder.path())?;
    let options = PretrainOptions {
        verbosity: Verbosity::Quiet,
        ..Default::default()
    };
    let first = pretrain(&config, &options)?;
    let loss = |run: &Summary| run.held_out_loss.unwrap_or(f64::NAN);
    report(&format!(
        "{} steps, held-out loss {:.4}",
        first.step,
        loss(&first)
    ));

    let checkpoints = first.run.join("checkpoints");
    let weights = || fs::read(checkpoints.join("last/model.safetensors"));
    let undisturbed = weights()?;
    for step in 6..=first.step {
        fs::remove_dir_all(checkpoints.join(format!("step-{step:08}")))?; // as if killed before step 6 was saved
    }
    let second = pretrain(&config, &options)?;
    report(&format!(
        "resumed from step {:?}, held-out loss {:.4}",
        second.resumed_from,
        loss(&second)
    ));
    assert_eq!(weights()?, undisturbed);
    report("both end with the same bits");
    Ok(())
}

fn config(folder: &Path) -> Result<PretrainConfig, Box<dyn Error>> {
    let images = folder.join("images");
    fs::create_dir(&images)?;
    for i in 0..20u32 {
        let bars = image::GrayImage::from_fn(48, 48, |x, y| image::Luma([((x + 3 * i) % 12 * 18 + y) as u8]));
        bars.save(images.join(format!("{i:02}.png")))?;
    }
    let data = DataConfig {
        path: Some(images),
        image_size: [32, 32],
        val_fraction: 0.2,
        ..Default::default()
    };
    Ok(PretrainConfig {
        output_dir: folder.join("runs"),
        device: "cpu".into(),
        model: EncoderConfig {
            depths: vec![1; 3],
            dims: vec![4, 8, 8],
            in_chans: 1,
            ..Default::default()
        },
        decoder: DecoderConfig { depth: 1, dim: 8 },
        data: DataConfig {
            color: Color::Grey,
            mean: vec![0.4],
            std: vec![0.25],
            ..data
        },
        optimizer: OptimizerConfig {
            lr: Some(5e-3),
            ..Default::default()
        },
        schedule: ScheduleConfig {
            epochs: 5,
            warmup_epochs: 1.0,
            min_lr: 0.0,
        },
        train: TrainConfig {
            batch_size: 4,
            accumulate: 2,
        },
        checkpoint: CheckpointConfig {
            every_steps: 1,
            keep: 20,
            ..Default::default()
        },
        ..Default::default()
    })
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn report(line: &str) {
    println!("{line}");
}
