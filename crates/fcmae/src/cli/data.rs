//! `fcmae data pack`, `fcmae data stats`: shards made of images, and what a data set holds.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use fcmae::data::{Color, DataConfig, Dataset, OnError, PackNews, PackOptions, Survey, pack, survey};
use fcmae::trainer::one_line;
use serde_json::{Value, json};

use super::{Outcome, output};

/// What to do with images.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make tar shards (webdataset) of a folder, a manifest, other shards or a named data set
    Pack(PackArgs),
    /// Count and measure images: sizes, classes, mean and deviation as the config wants them
    Stats(StatsArgs),
}

/// Where images come from.
#[derive(Debug, clap::Args)]
struct Source {
    /// A folder, a manifest `.csv`, tar shards (folder, pattern, list, URL) or a named data set
    source: String,
    /// Which part of it
    #[arg(long, default_value = "train")]
    split: String,
    /// Threads; 0 = one per core
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `data pack`.
#[derive(Debug, clap::Args)]
struct PackArgs {
    #[command(flatten)]
    from: Source,
    /// The folder of shards to make, e.g. `shards/train`; it must not exist. The same command goes on where it was broken off
    out: PathBuf,
    /// What a picture does that cannot be read
    #[arg(long, value_enum, default_value_t)]
    on_error: Unreadable,
    /// Most MiB of a shard
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    shard_mib: u64,
    /// Make longer images smaller, until their longer side has this many pixels; they become JPEG
    #[arg(long, value_name = "PIXELS")]
    max_side: Option<usize>,
    /// Quality of the images that are made smaller, 1 to 100
    #[arg(long, default_value_t = 90, requires = "max_side")]
    quality: u8,
}

/// What a picture does that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Unreadable {
    /// It ends the work
    #[default]
    Error,
    /// It is named and left out
    Skip,
}

/// Arguments of `data stats`.
#[derive(Debug, clap::Args)]
struct StatsArgs {
    #[command(flatten)]
    from: Source,
    /// Look at the images as grey ones
    #[arg(long)]
    grey: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    match &args.verb {
        Verb::Pack(args) => run_pack(args),
        Verb::Stats(args) => run_stats(args),
    }
}

impl Source {
    fn config(&self, color: Color) -> DataConfig {
        let channels = color.channels();
        let mut config = DataConfig {
            split: self.split.clone(),
            workers: self.workers,
            color,
            mean: vec![0.5; channels],
            std: vec![0.5; channels],
            ..DataConfig::default()
        };
        config.set_source(&self.source);
        config
    }
}

fn run_pack(args: &PackArgs) -> Result<Outcome> {
    let options = PackOptions {
        shard_bytes: args.shard_mib.saturating_mul(1 << 20),
        max_side: args.max_side,
        quality: args.quality,
    };
    let config = DataConfig {
        on_error: match args.on_error {
            Unreadable::Error => OnError::Error,
            Unreadable::Skip => OnError::Skip,
        },
        ..args.from.config(Color::Rgb)
    };
    let mut finished = 0;
    let packed = pack(&config, &args.out, &options, &mut |news| match news {
        PackNews::Shard {
            path,
            images,
            is_kept,
        } => {
            finished += 1;
            let before = if is_kept { ", finished before" } else { "" };
            eprintln!("{}: {images} images{before}", path.display());
        }
        PackNews::LeftOut { problem } => eprintln!("left out: {}", one_line(problem)),
    });
    let packed = packed.map_err(|error| match (finished, anyhow::Error::new(error)) {
        (0, error) => error,
        (_, error) => error.context(format!(
            "broken off after {finished} finished shards; the same command goes on from those that are still good"
        )),
    })?;
    let (images, bytes, left_out) = (packed.images, packed.bytes, &packed.left_out);
    if args.from.json {
        output::json(&json!({
            "shards": packed.shards, "images": images, "resized": packed.resized, "bytes": bytes, "left_out": left_out,
        }))?;
    } else {
        let text = format!(
            "{images} images in {} shards, {} MiB; {} of them made smaller\nset data.path = {:?}\n",
            packed.shards.len(),
            bytes.div_ceil(1 << 20),
            packed.resized,
            args.out.display().to_string(),
        );
        output::text(&text)?;
    }
    if left_out.is_empty() {
        return Ok(Outcome::Done);
    }
    let (left_out, total) = (left_out.len(), images + left_out.len());
    eprintln!("{left_out} of {total} pictures could not be read; the others are packed");
    Ok(Outcome::Failed)
}

fn run_stats(args: &StatsArgs) -> Result<Outcome> {
    let color = if args.grey { Color::Grey } else { Color::Rgb };
    let dataset = Dataset::open(&args.from.config(color))?;
    let survey = survey(&dataset, args.from.workers)?;
    for error in &survey.unusable {
        eprintln!("unusable: {}", one_line(&error.to_string()));
    }
    if args.from.json {
        output::json(&as_json(&dataset, &survey))?;
    } else {
        output::text(&as_text(&dataset, &survey, color))?;
    }
    Ok(if survey.unusable.is_empty() {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

fn as_json(dataset: &Dataset, survey: &Survey) -> Value {
    let classes = dataset.class_names().iter().zip(dataset.class_counts());
    json!({
        "origin": dataset.origin(),
        "images": survey.images,
        "unusable": survey.unusable.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "bytes": survey.bytes,
        "decoded_bytes": survey.decoded_bytes,
        "width": survey.width,
        "height": survey.height,
        "classes": classes.map(|(name, images)| json!({"name": name, "images": images})).collect::<Vec<_>>(),
        "mean": survey.mean,
        "std": survey.std,
    })
}

/// More classes than this are counted and not listed.
const LISTED: usize = 30;

fn as_text(dataset: &Dataset, survey: &Survey, color: Color) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let mut text = format!(
        "{}: {} images, {} unusable, {} MiB ({} MiB decoded)\n",
        dataset.origin().display(),
        survey.images,
        survey.unusable.len(),
        mib(survey.bytes),
        mib(survey.decoded_bytes),
    );
    for (what, [least, middle, most]) in [("width", survey.width), ("height", survey.height)] {
        text += &format!("{what}: {least} to {most} pixels, median {middle}\n");
    }
    text += &classes(dataset);
    let numbers = |values: &[f64]| {
        let digits: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        digits.join(", ")
    };
    text + &format!(
        "\n[data]\ncolor = \"{}\"\nmean = [{}]\nstd = [{}]\n",
        color.name(),
        numbers(&survey.mean),
        numbers(&survey.std)
    )
}

fn classes(dataset: &Dataset) -> String {
    let counts = dataset.class_counts();
    if counts.is_empty() {
        return "no labels\n".to_owned();
    }
    let (least, most) = counts
        .iter()
        .fold((f64::MAX, 0.0f64), |(l, m), &n| (l.min(n), m.max(n)));
    let mut text = format!("classes: {}, of {least} to {most} images\n", counts.len());
    if counts.len() <= LISTED {
        let row = |(name, images): (&String, f64)| vec![name.clone(), images.to_string()];
        let rows: Vec<_> = dataset.class_names().iter().zip(counts).map(row).collect();
        text += &output::table(&["class", "images"], &rows);
    }
    text
}
