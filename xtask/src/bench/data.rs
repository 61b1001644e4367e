//! `bench data`: images per second of the loader, of its parts, and of torchvision's DataLoader, in turn.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::job::threads_or_cores;
use super::report::{self, median};
use crate::peer::Python;
use crate::process::BadInput;
use crate::staging::Staging;
use crate::{data, paths, process};

/// Options of `bench data`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// Worker threads of ours, worker processes of the peer
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Pictures of 500×375 pixels, JPEG of quality 90
    #[arg(long, default_value_t = 1024)]
    images: usize,
    /// Images of a batch
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Rounds; in each, ours and the peer run one after the other
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Decode by libjpeg-turbo (needs cmake and nasm, or the system's libturbojpeg)
    #[arg(long)]
    turbo: bool,
    /// A Python with torch, torchvision, Pillow, timm and transformers for the peer [default: one is made in the cache]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// One round: ours, then the peer.
#[derive(Debug)]
struct Round {
    ours: Value,
    peer: Value,
}

pub(super) fn run(options: &Options) -> Result<()> {
    if options.images < options.batch {
        return Err(BadInput(format!(
            "--images {}: less than a batch of {}",
            options.images, options.batch
        ))
        .into());
    }
    let python = Python::with_models(options.python.as_deref())?;
    let folder = pictures(options.images)?;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds.max(1) {
        eprintln!("round {round} of {}", options.rounds.max(1));
        let mut program = ours(options.turbo);
        let mut script = python.command(&paths::checkout().join("xtask/peer/torch_data.py"));
        rounds.push(Round {
            ours: measure(&mut program, &folder, options)?,
            peer: measure(&mut script, &folder, options)?,
        });
    }
    let versions = &rounds[0].peer["versions"];
    let report = report::dated(report(options, &rounds), versions);
    let place = report::place(threads_or_cores(None), &report);
    print!(
        "500×375 JPEG to 224 px, {} workers; {place}\n{}",
        options.workers,
        table(&report)
    );
    report::write("data", &report)
}

/// The loader's own benchmark, built on first use.
fn ours(turbo: bool) -> Command {
    let mut command = process::cargo();
    command.args(["bench", "--quiet", "--package", "fcmae-data", "--bench", "loader"]);
    if turbo {
        command.args(["--features", "turbojpeg"]);
    }
    command.arg("--");
    command.args(turbo.then_some("--turbo"));
    command
}

/// The folder of pictures, made on first use.
fn pictures(count: usize) -> Result<PathBuf> {
    let folder = report::folder().join(format!("pictures-{count}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let set = data::find("elpv")?;
    data::fetch(set, false)?;
    let staging = Staging::begin(&folder)?;
    let mut command = ours(false);
    command
        .arg(staging.path())
        .args(["--make", &count.to_string(), "--from"]);
    process::run(command.arg(set.folder()?.join("train.csv")))?;
    staging.commit()?;
    Ok(folder)
}

fn measure(command: &mut Command, folder: &Path, options: &Options) -> Result<Value> {
    command.arg(folder);
    command.args([
        "--workers",
        &options.workers.to_string(),
        "--batch",
        &options.batch.to_string(),
    ]);
    let line = process::line(command);
    eprintln!("$ {line}");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| line.clone())?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.trim().lines().last().unwrap_or_default();
    let measured: Value = serde_json::from_str(last).with_context(|| format!("`{line}` printed {text:?}"))?;
    let rate = measured["images_per_second"].as_f64();
    let rate = rate.with_context(|| format!("`{line}` told no `images_per_second`"))?;
    eprintln!("  {rate:.0} images/s");
    Ok(measured)
}

fn report(options: &Options, rounds: &[Round]) -> Value {
    let of = |side: fn(&Round) -> &Value, key: &str| -> Vec<f64> {
        rounds
            .iter()
            .filter_map(|round| side(round)[key].as_f64())
            .collect()
    };
    let ours = |key: &str| of(|round| &round.ours, key);
    let peers = of(|round| &round.peer, "images_per_second");
    let ratios = |over: &[f64]| -> f64 {
        // of each round, then the middle: a busy spell hits both sides of a round
        median(
            ours("images_per_second")
                .iter()
                .zip(over)
                .map(|(ours, other)| ours / other),
        )
    };
    json!({
        "workers": options.workers,
        "images": options.images,
        "batch": options.batch,
        "decoder": if options.turbo { "libjpeg-turbo" } else { "zune-jpeg" },
        "ours": {
            "loader": median(ours("images_per_second")),
            "decode": median(ours("decode")),
            "decode_resize": median(ours("decode_resize")),
            "loader_of_rounds": ours("images_per_second"),
        },
        "peer": {
            "loader": median(peers.iter().copied()),
            "loader_of_rounds": peers.clone(),
        },
        "times_as_fast": ratios(&peers),
        "share_of_decode_resize": ratios(&ours("decode_resize")),
    })
}

fn table(report: &Value) -> String {
    let number = |side: &str, key: &str| report[side][key].as_f64().unwrap_or(f64::NAN);
    let workers = report["workers"].as_f64().unwrap_or(1.0).max(1.0);
    let row = |name: &str, rate: f64| {
        vec![
            name.to_owned(),
            format!("{rate:.0}"),
            format!("{:.0}", rate / workers),
        ]
    };
    let rows = [
        row("decoding alone", number("ours", "decode")),
        row("decoding and resizing alone", number("ours", "decode_resize")),
        row("fcmae's loader", number("ours", "loader")),
        row("ImageFolder in a DataLoader", number("peer", "loader")),
    ];
    let ratio = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    crate::table::columns(&["", "images/s", "per worker"], &rows)
        + &format!(
            "{:.2} times as fast as the DataLoader, {:.0} % of decoding and resizing alone\n",
            ratio("times_as_fast"),
            100.0 * ratio("share_of_decode_resize")
        )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn ratios_are_taken_per_round() {
        let options = Cli::try_parse_from(["x"]).unwrap().options;
        let round = |speed: f64| Round {
            ours: json!({"images_per_second": 400.0 * speed, "decode": 900.0 * speed, "decode_resize": 500.0 * speed}),
            peer: json!({"images_per_second": 160.0 * speed}),
        };
        // the second round was disturbed as a whole
        let report = report(&options, &[round(1.0), round(0.1), round(1.0)]);
        assert_eq!(
            (&report["times_as_fast"], &report["share_of_decode_resize"]),
            (&json!(2.5), &json!(0.8))
        );
        assert_eq!(report["ours"]["loader"], 400.0);
        let table = table(&report);
        for expected in [
            "ImageFolder in a DataLoader       160          80",
            "2.50 times as fast as the DataLoader, 80 % of decoding and resizing alone",
        ] {
            assert!(table.contains(expected), "{table}");
        }
    }
}
