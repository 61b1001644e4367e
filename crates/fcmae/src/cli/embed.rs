//! `fcmae embed`: features of pictures, for programs of one's own.

use std::path::PathBuf;

use anyhow::Result;
use fcmae::trainer::{Embedding, Level};
use serde_json::json;

use super::weights::{PicturesArgs, tell_unreadable};
use super::{Outcome, output};

/// Arguments of `embed`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without an option: the mean of the last stage's map, before the norm, `features [N, C]`; it is there with \
    and without a head, and what `probe` learns from."
)]
pub(super) struct Args {
    #[command(flatten)]
    pictures: PicturesArgs,
    /// Where the features go: `.safetensors` (with the pictures' names) or `.npy` (names beside it)
    #[arg(short, long, default_value = "features.safetensors")]
    output: PathBuf,
    /// What the head of a classifier sees: that mean after the norm (timm's `pre_logits`)
    #[arg(long, conflicts_with_all = ["stages", "maps"])]
    norm: bool,
    /// The mean of every stage's map instead of the last one's: `stage0 [N, C_0]`, …
    #[arg(long)]
    stages: bool,
    /// Every stage's whole map: `stage0 [N, C_0, H_0, W_0]`, …; takes much memory
    #[arg(long, conflicts_with = "stages")]
    maps: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let level = match (args.stages, args.maps) {
        (true, _) => Level::Stages,
        (_, true) => Level::Maps,
        _ if args.norm => Level::Normed,
        _ => Level::Pooled,
    };
    let (inference, files) = args.pictures.open()?;
    Embedding::check_output(&args.output, level)?;
    let embedding = inference.embed(files, level)?;
    args.pictures.tell(&inference);
    embedding.write(&args.output)?;
    tell_unreadable(&embedding.unreadable);
    let shapes = embedding
        .features
        .iter()
        .map(|(name, tensor)| (name.clone(), tensor.size()));
    if args.json {
        let shapes: serde_json::Map<_, _> = shapes.map(|(name, shape)| (name, json!(shape))).collect();
        let unreadable = &embedding.unreadable;
        output::json(&json!({
            "output": args.output, "images": embedding.files.len(), "features": shapes, "unreadable": unreadable,
        }))?;
    } else {
        let rows: Vec<_> = shapes
            .map(|(name, shape)| vec![name, format!("{shape:?}")])
            .collect();
        output::text(&output::table(&["features", "shape"], &rows))?;
        output::text(&format!(
            "\n{} pictures: {}\n",
            embedding.files.len(),
            args.output.display()
        ))?;
    }
    Ok(Outcome::of_pictures(&embedding.unreadable))
}
