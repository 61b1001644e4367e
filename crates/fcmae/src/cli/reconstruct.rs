//! `fcmae reconstruct`: what a model makes of an image or a folder.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::analysis::{Reconstruction, contact_sheet};
use fcmae::data::Location;
use fcmae::masking::MaskError;
use fcmae::trainer::{DeviceChoice, Hide, InputError, Pretrained};
use serde_json::json;

use super::{Outcome, output};

/// Arguments of `reconstruct`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Weights: the folder of a run or of a checkpoint, or a `model.safetensors`
    weights: PathBuf,
    /// An image, a folder of images, a manifest `.csv`, or tar shards
    images: PathBuf,
    /// Where the picture goes: input, masked input and prediction of each image
    #[arg(short, long, default_value = "reconstruction.png")]
    output: PathBuf,
    /// Hide these patches, counted row by row from 0, e.g. `0,3,7`
    #[arg(long, value_name = "PATCHES", value_delimiter = ',', conflicts_with_all = ["mask_ratio", "seed"])]
    hide: Vec<u32>,
    /// Hide this share of the patches at random [default: as the model was trained]
    #[arg(long, value_name = "RATIO")]
    mask_ratio: Option<f64>,
    /// Another seed hides other patches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Most images of a folder in the picture, spread evenly over it
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    count: u32,
    /// `auto`, `cpu` or `cuda:0`
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Print one JSON object: the picture's name and the loss of each image
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let trained = Pretrained::open(&args.weights, args.device.find()?)?;
    let all = trained.image_files(&args.images)?;
    let count = all.len().min(args.count as usize);
    let files: Vec<Location> = (0..count).map(|i| all[i * all.len() / count].clone()).collect();
    let rows = trained
        .reconstruct(&files, &hidden(args, &trained))
        .map_err(|error| match args.mask_ratio {
            Some(ratio) if error.is::<MaskError>() => error.context(format!("--mask-ratio {ratio}")),
            _ => error,
        })?;
    let picture = contact_sheet(&rows);
    picture.save(&args.output).map_err(|error| InputError::Argument {
        message: format!("--output {}: {error}", args.output.display()),
    })?;
    let loss = rows.iter().map(|row| row.loss).sum::<f64>() / rows.len() as f64;
    if args.json {
        let images: Vec<_> = files
            .iter()
            .zip(&rows)
            .map(|(file, row)| json!({"file": file.path(), "loss": row.loss}))
            .collect();
        let (weights, step) = (&trained.file, trained.step);
        output::json(
            &json!({"picture": args.output, "loss": loss, "images": images, "weights": weights, "step": step}),
        )?;
    } else {
        output::text(&table(&files, &rows, loss, &args.output))?;
    }
    Ok(Outcome::Done)
}

fn hidden(args: &Args, trained: &Pretrained) -> Hide {
    if !args.hide.is_empty() {
        return Hide::Patches(args.hide.clone());
    }
    let mask_ratio = args.mask_ratio.unwrap_or(trained.config.mask.mask_ratio);
    Hide::Share {
        mask_ratio,
        seed: args.seed,
    }
}

fn table(files: &[Location], rows: &[Reconstruction], loss: f64, picture: &Path) -> String {
    let row = |(file, row): (&Location, &Reconstruction)| {
        vec![file.path().display().to_string(), format!("{:.4}", row.loss)]
    };
    let rows: Vec<_> = files.iter().zip(rows).map(row).collect();
    let table = output::table(&["image", "masked loss"], &rows);
    format!("{table}\nmean loss {loss:.4}; picture: {}\n", picture.display())
}
