//! `bench soak`: a long training, with a checkpoint after every epoch; do memory, file handles and throughput stay
//! where they are?

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::report::{self, median};
use crate::{data, paths, process, program, table};

/// Options of `bench soak`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// How long to train
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Left out at the beginning, while buffers and caches fill
    #[arg(long, default_value_t = 5.0)]
    warmup_minutes: f64,
    /// Seconds between two readings
    #[arg(long, default_value_t = 5.0)]
    every: f64,
    /// Config of the run [default: the quick start]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Sets a key of the config
    #[arg(long)]
    set: Vec<String>,
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    minutes: f64,
    resident_mib: f64,
    handles: f64,
}

pub(super) fn run(options: &Options) -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("`bench soak` reads /proc, which only Linux has");
    }
    let program = program::build()?;
    let runs = report::folder().join("soak");
    if runs.exists() {
        fs::remove_dir_all(&runs).with_context(|| format!("{}: cannot be removed", runs.display()))?;
    }
    fs::create_dir_all(&runs).with_context(|| format!("{}: cannot be made", runs.display()))?;
    let config = options.config.clone().unwrap_or_else(program::quickstart);
    if options.config.is_none() {
        data::provide("elpv")?;
    }
    let mut command = Command::new(paths::display(&program));
    command
        .arg("pretrain")
        .arg(&config)
        .args(["--name", "soak", "--quiet"]);
    let endless = [
        format!("output_dir={}", paths::display(&runs)),
        "schedule.epochs=100000".into(),
        "checkpoint.every_epochs=1".into(),
    ];
    for setting in endless.iter().chain(&options.set) {
        command.args(["--set", setting]);
    }
    eprintln!("$ {}", process::line(&command));
    let mut child = command.spawn().context("starting the program")?;
    let readings = watch(&mut child, options);
    process::terminate(&mut child);
    let status = child.wait().context("waiting for the program")?;
    let readings = readings?;
    if status.code() != Some(75) {
        bail!("stopped by SIGTERM, the program ended with {status} instead of exit code 75");
    }
    let speeds = speeds(&runs.join("soak/metrics.jsonl"))?;
    let report = report::dated(summary(&readings, &speeds), &json!({}));
    print(&report);
    report::write("soak", &report)
}

/// Reads until the time is over.
fn watch(child: &mut Child, options: &Options) -> Result<Vec<Reading>> {
    let (start, mut readings) = (Instant::now(), Vec::new());
    let minutes = || start.elapsed().as_secs_f64() / 60.0;
    while minutes() < options.minutes {
        thread::sleep(Duration::from_secs_f64(options.every.max(0.1)));
        if let Some(status) = child.try_wait().context("watching the program")? {
            bail!(
                "the program ended by itself ({status}) after {:.1} min",
                minutes()
            );
        }
        if minutes() >= options.warmup_minutes {
            readings.push(read(child.id(), minutes())?);
        }
    }
    Ok(readings)
}

fn read(pid: u32, minutes: f64) -> Result<Reading> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let status = fs::read_to_string(process.join("status")).context("reading what the program holds")?;
    let handles = fs::read_dir(process.join("fd")).context("reading its file handles")?;
    Ok(Reading {
        minutes,
        resident_mib: resident_kib(&status).context("`/proc/…/status` names no VmRSS")? / 1024.0,
        handles: handles.count() as f64,
    })
}

fn resident_kib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Images per second of the logged steps, in their order.
fn speeds(metrics: &Path) -> Result<Vec<f64>> {
    let text =
        fs::read_to_string(metrics).with_context(|| format!("{}: cannot be read", metrics.display()))?;
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let speeds = lines
        .filter(|line| line["kind"] == "step")
        .filter_map(|line| line["images_per_second"].as_f64());
    Ok(speeds.collect())
}

/// Slope of the line with the least squares through points `(x, y)`; 0 of fewer than two.
fn slope(points: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let n = points.clone().count().max(1) as f64;
    let (x_mean, y_mean) = (
        points.clone().map(|(x, _)| x).sum::<f64>() / n,
        points.clone().map(|(_, y)| y).sum::<f64>() / n,
    );
    let spread: f64 = points.clone().map(|(x, _)| (x - x_mean).powi(2)).sum();
    let common: f64 = points.map(|(x, y)| (x - x_mean) * (y - y_mean)).sum();
    if spread > 0.0 { common / spread } else { 0.0 }
}

fn summary(readings: &[Reading], speeds: &[f64]) -> Value {
    let of = |value: fn(&Reading) -> f64| {
        let quarter = readings.len().div_ceil(4);
        json!({
            "first_quarter": median(readings.iter().take(quarter).map(value)),
            "last_quarter": median(readings.iter().rev().take(quarter).map(value)),
            "most": readings.iter().map(value).fold(0.0, f64::max),
            "per_hour": slope(readings.iter().map(|reading| (reading.minutes / 60.0, value(reading)))),
        })
    };
    let quarter = speeds.len().div_ceil(4);
    json!({
        "minutes": readings.last().map_or(0.0, |reading| reading.minutes),
        "readings": readings.len(),
        "steps_logged": speeds.len(),
        "resident_mib": of(|reading| reading.resident_mib),
        "handles": of(|reading| reading.handles),
        "images_per_second": {
            "first_quarter": median(speeds.iter().take(quarter).copied()),
            "last_quarter": median(speeds.iter().rev().take(quarter).copied()),
        },
    })
}

fn print(report: &Value) {
    let number = |value: &Value, digits: usize| match value.as_f64() {
        Some(value) => format!("{value:.digits$}"),
        None => "-".to_owned(),
    };
    let row = |name: &str, key: &str, digits: usize| {
        let of = &report[key];
        let columns =
            ["first_quarter", "last_quarter", "most", "per_hour"].map(|column| number(&of[column], digits));
        std::iter::once(name.to_owned())
            .chain(columns)
            .collect::<Vec<_>>()
    };
    let rows = [
        row("resident memory, MiB", "resident_mib", 1),
        row("open file handles", "handles", 1),
        row("images/s", "images_per_second", 1),
    ];
    println!(
        "{:.0} minutes, {} readings; {}; {}",
        report["minutes"].as_f64().unwrap_or_default(),
        report["readings"],
        report["machine"].as_str().unwrap_or_default(),
        report["date"].as_str().unwrap_or_default(),
    );
    print!(
        "{}",
        table::columns(
            &["median", "first quarter", "last quarter", "most", "per hour"],
            &rows
        )
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_has_a_slope() {
        let readings: Vec<Reading> = (0..60)
            .map(|minute| Reading {
                minutes: f64::from(minute),
                resident_mib: 500.0 + f64::from(minute) * 2.0,
                handles: 20.0,
            })
            .collect();
        let summary = summary(&readings, &[100.0, 100.0, 90.0, 80.0]);
        let close = |value: &Value, to: f64| assert!((value.as_f64().unwrap() - to).abs() < 1e-6, "{value}");
        close(&summary["resident_mib"]["per_hour"], 120.0);
        close(&summary["resident_mib"]["most"], 618.0);
        close(&summary["handles"]["per_hour"], 0.0);
        close(&summary["images_per_second"]["first_quarter"], 100.0);
        close(&summary["images_per_second"]["last_quarter"], 80.0);
    }

    #[test]
    fn status_names_the_resident_memory() {
        assert_eq!(
            resident_kib("Name:\tfcmae\nVmRSS:\t  123456 kB\nThreads: 2"),
            Some(123_456.0)
        );
        assert_eq!(resident_kib("Name:\tfcmae"), None);
    }
}
