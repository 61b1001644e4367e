//! `fcmae convert`: weights of one program to those of another.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fcmae::checkpoint::{
    Dtype, Exported, Preprocessing, ReadOptions, Target, Weights, export_weights, read_weights_with,
};
use fcmae::trainer::{InputError, keep_description};
use serde_json::json;

use super::{Outcome, output};

/// Arguments of `convert`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The format of IN is told by its content; nothing in a pickle is ever run.\n\
    OUT is a folder for hf, else a file: .safetensors, or for official and timm .pth, .pt or .bin. Without an ending it is\n\
    for timm a folder, which timm.create_model opens as 'local-dir:OUT', images and names of classes described.\n\
    official with a decoder has the names and kernels of the reference's own pre-training (MinkowskiEngine).\n\
    The size of images has no effect on the weights of a ConvNeXt: any multiple of its total stride will do."
)]
pub(super) struct Args {
    /// Weights of fcmae, the reference, timm or transformers: a file, or the folder of a run or of transformers
    input: PathBuf,
    /// For whom
    #[arg(long, value_enum)]
    to: To,
    /// What to write
    output: PathBuf,
    /// Take the averaged weights (EMA)
    #[arg(long)]
    ema: bool,
    /// Overlook tensors of IN that are none of a ConvNeXt's, by a pattern of their names, as 'aux.*'; may be repeated
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// Adapt the stem to images of this many channels: summed to one, repeated to others
    #[arg(long, value_name = "N")]
    in_chans: Option<usize>,
    /// Element type of what is written [default: as in IN]
    #[arg(long, value_enum)]
    dtype: Option<Type>,
    /// Leave the decoder out
    #[arg(long)]
    no_decoder: bool,
    /// Leave norm and head out
    #[arg(long)]
    no_head: bool,
    /// Side of images, for the description that native, hf and folders of timm carry [default: as the weights say, or 224]
    #[arg(long, value_name = "PX", value_parser = clap::value_parser!(u32).range(1..))]
    image_size: Option<u32>,
    /// Replace OUT if it is there
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum To {
    /// fcmae: safetensors
    Native,
    /// The reference, facebookresearch/ConvNeXt-V2
    Official,
    /// timm: a file, or a folder with config.json
    Timm,
    /// transformers, with config.json and preprocessor_config.json
    Hf,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let target = match args.to {
        To::Native => Target::Native,
        To::Official => Target::Official,
        To::Timm => Target::Timm,
        To::Hf => Target::HuggingFace,
    };
    let ignore: Vec<&str> = args.ignore.iter().map(String::as_str).collect();
    let options = ReadOptions {
        ema: args.ema,
        ignore: &ignore,
    };
    let mut weights = read_weights_with(&args.input, &options)?;
    let (file, read) = (weights.file.clone(), weights.to_string());
    refuse_overwriting(args, &file)?;
    keep_description(&mut weights)?;
    change(args, &mut weights)?;
    if let Some(side) = args.image_size {
        Preprocessing::set_image_size(&mut weights.metadata, side as usize);
    }
    let Exported { files, notes } = export_weights(&weights, target, &args.output)?;
    let notes: Vec<String> = weights.notes.iter().cloned().chain(notes).collect();
    if args.json {
        output::json(&json!({
            "input": file, "format": weights.format.to_string(), "names": weights.naming.to_string(),
            "network": weights.architecture.to_string(), "to": target.to_string(), "files": files, "notes": notes,
        }))?;
    } else {
        let list: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
        let mut text = format!("{}: {read}\n", file.display());
        notes.iter().for_each(|note| text += &format!("note: {note}\n"));
        output::text(&(text + &format!("wrote {} ({target})\n", list.join(", "))))?;
    }
    Ok(Outcome::Done)
}

/// OUT must not be there, unless it may be replaced; and it is never IN.
fn refuse_overwriting(args: &Args, file: &Path) -> Result<()> {
    let argument = |message: String| InputError::Argument { message };
    let out = &args.output;
    let is_there = if out.is_dir() {
        let files = ["config.json", "model.safetensors", "preprocessor_config.json"];
        files.iter().any(|file| out.join(file).exists())
    } else {
        out.exists()
    };
    let same = |a: &Path| {
        a.canonicalize()
            .ok()
            .is_some_and(|a| file.canonicalize().is_ok_and(|b| a == b))
    };
    ensure!(
        !same(out) && !same(&out.join("model.safetensors")),
        argument(format!(
            "{}: IN and OUT are the same; write to another place",
            out.display()
        ))
    );
    // What lies in a checkpoint is checked against its list, and weights in a run's folder would be taken for the run's.
    let is_checkpoint = |folder: &Path| folder.join("checksums").exists();
    let is_run = |folder: &Path| folder.join("checkpoints").is_dir();
    let parent = out.parent().unwrap_or(Path::new(""));
    let is_of_run = out
        .file_name()
        .is_some_and(|name| name == "model.safetensors" || name == "checkpoints");
    let is_taken =
        is_checkpoint(out) || is_run(out) || is_checkpoint(parent) || (is_of_run && is_run(parent));
    ensure!(
        !is_taken,
        argument(format!(
            "{}: weights of a run lie there; choose another place",
            out.display()
        ))
    );
    ensure!(
        !is_there || args.force,
        argument(format!(
            "{}: is there already; choose another place or give --force",
            out.display()
        ))
    );
    Ok(())
}

fn change(args: &Args, weights: &mut Weights) -> Result<()> {
    if args.no_decoder {
        weights.drop_decoder();
    }
    if args.no_head {
        weights.drop_head();
    }
    if let Some(channels) = args.in_chans {
        weights.adapt_input_channels(channels)?;
    }
    if let Some(dtype) = args.dtype {
        let dtype = match dtype {
            Type::F32 => Dtype::F32,
            Type::F16 => Dtype::F16,
            Type::Bf16 => Dtype::BF16,
        };
        weights
            .cast(dtype)
            .with_context(|| weights.file.display().to_string())?;
    }
    Ok(())
}
