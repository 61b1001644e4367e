//! `fcmae verify`: the masking, proved on this machine for the model of a config.

use std::path::PathBuf;

use anyhow::Result;
use fcmae::analysis::{Check, Report, VerifyOptions, verify};
use fcmae::trainer::{DeviceChoice, Machine, PretrainConfig};
use serde_json::json;

use super::{Outcome, output};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Config file of a run or of a model, or the folder of a run
    config: PathBuf,
    /// Set a key of the config, e.g. `--set model.grn_scope=batch`; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Images in a batch
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(2..))]
    images: u32,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let config = PretrainConfig::load_unchecked(&args.config, &args.set)?;
    config.grid()?;
    let device = config.device.parse::<DeviceChoice>()?.find()?;
    let machine = Machine::set_up(device, config.threads, config.precision.kind());
    let options = VerifyOptions {
        sizes: sizes(&config),
        images: args.images as usize,
        mask_ratio: config.mask.mask_ratio,
        seed: config.seed,
        device,
    };
    let report = verify(&config.model, &options)?;
    if args.json {
        let passed = report.passed();
        output::json(
            &json!({"passed": passed, "model": config.model.name, "machine": machine, "checks": report.checks}),
        )?;
    } else {
        output::text(&table(&report))?;
        let verdict = if report.passed() {
            "every check passed"
        } else {
            "NOT every check passed"
        };
        output::text(&format!("\n{} on {machine}: {verdict}\n", config.model.name))?;
    }
    Ok(if report.passed() {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

/// The config's image size and another shape of the same grid: a rectangle for a square and the reverse.
fn sizes(config: &PretrainConfig) -> Vec<(usize, usize)> {
    let [height, width] = config.data.image_size;
    let stride = config.model.total_stride().max(1);
    let other = if height == width {
        let rows = height / stride;
        ((rows - rows / 3).max(1) * stride, width)
    } else {
        (height.min(width), height.min(width))
    };
    if other == (height, width) {
        vec![other]
    } else {
        vec![(height, width), other]
    }
}

fn table(report: &Report) -> String {
    let row = |check: &Check| {
        let verdict = if check.passed() { "ok" } else { "FAILED" };
        vec![
            check.what.to_owned(),
            format!("{}×{}", check.height, check.width),
            format!("{:?}", check.scope).to_lowercase(),
            check.precision.to_owned(),
            number(check.deviation),
            number(check.tolerance),
            verdict.to_owned(),
            check.worst.clone(),
        ]
    };
    let rows: Vec<_> = report.checks.iter().map(row).collect();
    output::table(
        &[
            "check",
            "size",
            "scope",
            "in",
            "deviation",
            "allowed",
            "",
            "worst",
        ],
        &rows,
    )
}

fn number(value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else {
        format!("{value:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_and_a_rectangle_are_verified() {
        let check = |image_size, expected: &[(usize, usize)]| {
            let mut config = PretrainConfig::default();
            config.data.image_size = image_size;
            assert_eq!(sizes(&config), expected);
        };
        check([224, 224], &[(224, 224), (160, 224)]);
        check([96, 160], &[(96, 160), (96, 96)]);
        check([64, 64], &[(64, 64)]);
    }
}
