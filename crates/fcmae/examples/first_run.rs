//! From a folder of pictures to a picture of reconstructions, in one program: what a library user writes.

use std::error::Error;

use fcmae::analysis::contact_sheet;
use fcmae::data::{Color, DataConfig, Dataset, channel_stats};
use fcmae::decoder::DecoderConfig;
use fcmae::encoder::EncoderConfig;
use fcmae::trainer::*;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for i in 0..24u32 {
        let rings = image::GrayImage::from_fn(64, 64, |x, y| {
            let (dx, dy) = (x.abs_diff(32 + i % 5), y.abs_diff(30));
            image::Luma([((dx * dx + dy * dy) / (8 + i % 3) % 256) as u8])
        });
        rings.save(folder.path().join(format!("{i:02}.png")))?;
    }

    let mut data = DataConfig {
        path: Some(folder.path().to_owned()),
        image_size: [48, 64], // not square, and a multiple of the total stride 16
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.25],
        val_fraction: 0.25,
        ..Default::default()
    };
    (data.mean, data.std) = channel_stats(&Dataset::open(&data)?)?;
    let config = PretrainConfig {
        output_dir: folder.path().join("runs"),
        device: "cpu".into(),
        model: EncoderConfig {
            depths: vec![1; 3],
            dims: vec![8, 16, 24],
            in_chans: 1,
            ..Default::default()
        },
        decoder: DecoderConfig { depth: 1, dim: 24 },
        data,
        optimizer: OptimizerConfig {
            lr: Some(3e-3),
            ..Default::default()
        },
        schedule: ScheduleConfig {
            epochs: 8,
            warmup_epochs: 1.0,
            min_lr: 0.0,
        },
        train: TrainConfig {
            batch_size: 6,
            accumulate: 1,
        },
        ..Default::default()
    };
    let summary = pretrain(
        &config,
        &PretrainOptions {
            verbosity: Verbosity::Quiet,
            ..Default::default()
        },
    )?;
    let (first, last) = (
        summary.first_held_out_loss.unwrap_or(0.0),
        summary.held_out_loss.unwrap_or(0.0),
    );
    report(&format!(
        "{} steps: held-out loss {first:.4} -> {last:.4}",
        summary.step
    ));
    assert!(last < first);

    let trained = Pretrained::open(&summary.run, tch::Device::Cpu)?;
    let files = trained.image_files(folder.path())?;
    let rows = trained.reconstruct(
        &files[..2],
        &Hide::Share {
            mask_ratio: 0.5,
            seed: 1,
        },
    )?;
    let sheet = contact_sheet(&rows);
    report(&format!(
        "two reconstructions in a picture of {} × {} pixels",
        sheet.width(),
        sheet.height()
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn report(line: &str) {
    println!("{line}");
}
