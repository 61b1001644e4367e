//! `bench ratio`: what a step costs at several mask ratios, and whether the encoder pays for what is visible alone.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::job::{Dtype, Job, Measured, Task};
use super::programs::Ours;
use super::report::{self, median};
use crate::process::BadInput;
use crate::table;

/// Options of `bench ratio`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// Size of the model; none of its stages may be as wide as the decoder (512)
    #[arg(long, default_value = "atto")]
    model: String,
    /// Images in a batch
    #[arg(long, default_value_t = 32)]
    batch: u32,
    /// Side of the square images in pixels, a multiple of 32
    #[arg(long, default_value_t = 224)]
    size: u32,
    /// Precision of the matrix products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    dtype: Dtype,
    /// A share of hidden patches; can be repeated
    #[arg(long, default_values_t = [0.3, 0.6, 0.9])]
    mask_ratio: Vec<f64>,
    /// Timed steps in each round; the median counts
    #[arg(long, default_value_t = 7)]
    steps: u32,
    /// Rounds; in each, all ratios run one after the other
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Threads [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
}

impl Options {
    fn job(&self, mask_ratio: f64) -> Job {
        Job {
            task: Task::Pretrain,
            model: self.model.clone(),
            batch: self.batch,
            size: self.size,
            dtype: self.dtype,
            mask_ratio: Some(mask_ratio),
            steps: self.steps,
            threads: self.threads,
        }
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    let ours = Ours::build()?;
    let mut measured: Vec<Vec<Measured>> = vec![Vec::new(); options.mask_ratio.len()];
    for round in 1..=options.rounds.max(1) {
        eprintln!("round {round} of {}", options.rounds.max(1));
        for (&ratio, rounds) in options.mask_ratio.iter().zip(&mut measured) {
            let found = ours.measure(&options.job(ratio))?;
            check_widths(&options.model, &found)?;
            rounds.push(found);
        }
    }
    let points = options.mask_ratio.iter().zip(&measured);
    let points: Vec<Point> = points.map(|(&ratio, rounds)| Point::of(ratio, rounds)).collect();
    let job = options.job(NORMAL);
    let report = report::signed(report(&job, &points), &[&measured[0][0]]);
    let place = report::place(job.threads(), &report);
    print!("{}; {place}\n{}", job.subject(), table(&points));
    report::write("ratio", &report)
}

/// A profile tells encoder and decoder apart by their widths.
fn check_widths(model: &str, measured: &Measured) -> Result<()> {
    let decoder = decoder_dim(measured);
    if measured.dims().contains(&decoder) {
        let message = format!(
            "--model {model}: a stage is as wide as the decoder ({decoder}), so a profile cannot tell them apart; \
             take another model"
        );
        return Err(BadInput(message).into());
    }
    Ok(())
}

fn decoder_dim(measured: &Measured) -> u64 {
    measured.number("decoder_dim").map_or(512, |dim| dim as u64)
}

/// The part of a step that an operation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Encoder,
    Decoder,
    Loss,
    Optimizer,
}

/// The part of an operation by its name in the profile, like `block 40, forward` or `linear 320-512, backward`: what
/// has the decoder's width on either side is the decoder's.
fn part(name: &str, decoder_dim: u64) -> Part {
    let operation = name.split(',').next().unwrap_or_default();
    let mut widths = operation
        .split([' ', '-'])
        .filter_map(|word| word.parse::<u64>().ok());
    match operation.split(' ').next() {
        Some("optimizer") => Part::Optimizer,
        Some("loss") => Part::Loss,
        _ if widths.any(|width| width == decoder_dim) => Part::Decoder,
        _ => Part::Encoder,
    }
}

/// Seconds of a profile in the encoder.
fn encoder_seconds(profile: &BTreeMap<String, f64>, decoder_dim: u64) -> f64 {
    let of_encoder = |name: &&String| part(name, decoder_dim) == Part::Encoder;
    profile.keys().filter(of_encoder).map(|name| profile[name]).sum()
}

/// What was measured at one ratio: medians of the rounds.
#[derive(Debug, Clone, Copy)]
struct Point {
    ratio: f64,
    /// Visible patches over all patches: a little less than `1 − ratio`, as patches are whole.
    visible: f64,
    /// Seconds of a whole step.
    total: f64,
    /// Seconds of it in the encoder.
    encoder: f64,
}

impl Point {
    fn of(ratio: f64, rounds: &[Measured]) -> Point {
        let encoder = |measured: &Measured| encoder_seconds(&measured.profile(), decoder_dim(measured));
        let visible = rounds
            .iter()
            .find_map(|measured| measured.number("visible_share"));
        Point {
            ratio,
            visible: visible.unwrap_or(1.0 - ratio),
            total: median(rounds.iter().map(|measured| measured.seconds)),
            encoder: median(rounds.iter().map(encoder)),
        }
    }

    /// The encoder's seconds if all were visible.
    fn per_visible(&self) -> f64 {
        self.encoder / self.visible
    }
}

/// The ratio that the others are compared with: the paper's.
const NORMAL: f64 = 0.6;

/// Time counts as proportional to what is visible when no ratio is further than this from the paper's.
const TOLERANCE: f64 = 0.2;

/// The encoder's seconds per visible share of each ratio, the paper's ratio (or the nearest to it) being 1.
fn normalised(points: &[Point]) -> Vec<f64> {
    let distance = |point: &&Point| (point.ratio - NORMAL).abs();
    let normal = points.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let one = normal.map_or(f64::NAN, Point::per_visible);
    points.iter().map(|point| point.per_visible() / one).collect()
}

fn is_proportional(normalised: &[f64]) -> bool {
    normalised.iter().all(|value| (value - 1.0).abs() <= TOLERANCE)
}

fn report(job: &Job, points: &[Point]) -> Value {
    let normalised = normalised(points);
    let row = |(point, normalised): (&Point, &f64)| {
        json!({
            "mask_ratio": point.ratio,
            "visible_share": point.visible,
            "seconds": point.total,
            "encoder_seconds": point.encoder,
            "encoder_seconds_per_visible": point.per_visible(),
            "normalised": normalised,
        })
    };
    json!({
        "model": job.model,
        "batch": job.batch,
        "size": job.size,
        "dtype": job.dtype.name(),
        "threads": job.threads(),
        "steps": job.steps,
        "rows": points.iter().zip(&normalised).map(row).collect::<Vec<_>>(),
        "proportional": is_proportional(&normalised),
    })
}

fn table(points: &[Point]) -> String {
    let normalised = normalised(points);
    let cells = |(point, normalised): (&Point, &f64)| {
        vec![
            point.ratio.to_string(),
            format!("{:.3}", point.visible),
            format!("{:.4}", point.total),
            format!("{:.4}", point.encoder),
            format!("{:.4}", point.per_visible()),
            format!("{normalised:.2}"),
        ]
    };
    let rows: Vec<_> = points.iter().zip(&normalised).map(cells).collect();
    let header = [
        "mask ratio",
        "visible",
        "s/step",
        "encoder s",
        "encoder / visible",
        "0.6 = 1",
    ];
    let not = if is_proportional(&normalised) { "" } else { "NOT " };
    table::columns(&header, &rows)
        + &format!(
            "the encoder's time is {not}proportional to what is visible within {:.0} %\n",
            TOLERANCE * 100.0
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_belong_to_a_part() {
        for (name, expected) in [
            ("block 40, forward", Part::Encoder),
            ("block 320, backward", Part::Encoder),
            ("stem, forward", Part::Encoder),
            ("downsample 40-80, backward", Part::Encoder),
            ("layer norm 40, forward", Part::Encoder),
            ("block 512, forward", Part::Decoder),
            ("linear 320-512, forward", Part::Decoder),
            ("linear 512-3072, backward", Part::Decoder),
            ("loss, forward", Part::Loss),
            ("optimizer", Part::Optimizer),
        ] {
            assert_eq!(part(name, 512), expected, "{name}");
        }
        assert_eq!(part("block 512, forward", 256), Part::Encoder);
    }

    fn measured(seconds: f64, encoder: f64) -> Measured {
        Measured::parse(&format!(
            r#"{{"seconds": {seconds}, "peak_mib": 1, "visible_share": 0.25, "dims": [40, 80], "decoder_dim": 512,
                "profile": {{"block 40, forward": {encoder}, "block 512, forward": 9, "optimizer": 9}}}}"#
        )
        .replace('\n', " "))
        .unwrap()
    }

    #[test]
    fn a_point_is_the_middle_of_its_rounds() {
        let point = Point::of(0.7, &[measured(3.0, 0.3), measured(1.0, 0.1), measured(2.0, 0.2)]);
        assert_eq!((point.visible, point.total, point.encoder), (0.25, 2.0, 0.2));
        assert_eq!(point.per_visible(), 0.8);
    }

    fn point(ratio: f64, encoder: f64) -> Point {
        Point {
            ratio,
            visible: 1.0 - ratio,
            total: 2.0 * encoder,
            encoder,
        }
    }

    #[test]
    fn the_papers_ratio_is_one() {
        let points = [point(0.5, 0.55), point(0.6, 0.4), point(0.75, 0.2)];
        let values = normalised(&points);
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(
            close(values[0], 1.1) && close(values[1], 1.0) && close(values[2], 0.8),
            "{values:?}"
        );
        assert!(
            table(&points).ends_with("the encoder's time is proportional to what is visible within 20 %\n")
        );
        let slow = [point(0.6, 0.4), point(0.9, 0.2)];
        assert!(table(&slow).contains("is NOT proportional"), "{}", table(&slow));
    }

    #[test]
    fn a_stage_as_wide_as_the_decoder_is_refused() {
        assert!(check_widths("atto", &measured(1.0, 0.1)).is_ok());
        let pico = r#"{"seconds": 1, "peak_mib": 1, "dims": [64, 128, 256, 512], "decoder_dim": 512}"#;
        let error = check_widths("pico", &Measured::parse(pico).unwrap()).unwrap_err();
        assert!(error.is::<BadInput>() && error.to_string().starts_with("--model pico: a stage is as wide"));
    }
}
