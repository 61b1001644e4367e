//! What every benchmark reports: machine, date and versions in a file, a table on the screen.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::job::Measured;
use crate::pins::LIBTORCH_VERSION;
use crate::{doctor, paths, process};

/// Adds machine, date and versions to a report, those too that the programs name.
pub(super) fn signed(report: Value, programs: &[&Measured]) -> Value {
    let named = |key: &str| programs.iter().find_map(|measured| measured.text(key));
    let libtorch = named("libtorch").unwrap_or(LIBTORCH_VERSION);
    dated(report, &json!({"libtorch": libtorch, "torch": named("torch")}))
}

/// Adds machine, date and versions to a report: those of the checkout, and `others` by name.
pub(crate) fn dated(mut report: Value, others: &Value) -> Value {
    report["date"] = json!(date());
    report["machine"] = json!(machine());
    report["versions"] = versions();
    for (name, version) in others.as_object().into_iter().flatten() {
        report["versions"][name] = version.clone();
    }
    report
}

/// Writes a report to `target/bench/<name>-<date>.json` and says where it is.
pub(crate) fn write(name: &str, report: &Value) -> Result<()> {
    let date = report["date"].as_str().unwrap_or_default().replace(':', "");
    let path = folder().join(format!("{name}-{date}.json"));
    fs::create_dir_all(folder())
        .and_then(|()| fs::write(&path, format!("{report:#}\n")))
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    println!("written: {}", paths::display(&path));
    Ok(())
}

/// Where reports lie.
pub(crate) fn folder() -> PathBuf {
    paths::checkout().join("target/bench")
}

/// Threads, machine and date, for a table's first line.
pub(crate) fn place(threads: usize, report: &Value) -> String {
    let text = |key: &str| report[key].as_str().unwrap_or_default();
    format!("{threads} threads; {}; {}", text("machine"), text("date"))
}

/// The value in the middle, or the mean of the two there; NaN of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        (middle, _) => sorted[middle],
    }
}

/// The slowest round over the fastest.
pub(super) fn spread(seconds: impl IntoIterator<Item = f64>) -> f64 {
    let fold = |(low, high): (f64, f64), s: f64| (s.min(low), s.max(high));
    let (low, high) = seconds.into_iter().fold((f64::MAX, 0.0), fold);
    high / low
}

/// Rounds of one program that differ by more than this were disturbed by something else on the machine.
const QUIET: f64 = 1.25;

/// A line that warns of rounds that differ too much; empty where they do not.
pub(super) fn doubt(spread: f64) -> String {
    if spread > QUIET {
        format!(
            "NOT RELIABLE: the slowest round took {spread:.1} times the fastest; run it again on a quiet machine\n"
        )
    } else {
        String::new()
    }
}

/// CPU, cores and instruction sets.
fn machine() -> String {
    doctor::describe_cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// Now in UTC, `2026-01-31T12:00:00Z`; empty where there is no `date`.
fn date() -> String {
    said(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))
}

/// The checkout's commit, the compiler, the pinned libtorch.
fn versions() -> Value {
    let mut git = Command::new("git");
    git.current_dir(paths::checkout())
        .args(["describe", "--always", "--dirty"]);
    json!({
        "fcmae": env!("CARGO_PKG_VERSION"),
        "commit": said(&mut git),
        "rustc": said(Command::new("rustc").arg("--version")),
        "libtorch": LIBTORCH_VERSION,
    })
}

/// What a command prints; empty where it cannot run.
fn said(command: &mut Command) -> String {
    let text = process::capture(command);
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_counts() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_report_names_where_it_comes_from() {
        let ours = Measured::parse(r#"{"seconds": 1, "peak_mib": 1, "libtorch": "2.11.0"}"#).unwrap();
        let report = signed(json!({"steps": 3}), &[&ours]);
        assert_eq!(
            (&report["steps"], &report["versions"]["libtorch"]),
            (&json!(3), &json!("2.11.0"))
        );
        assert!(report["machine"].as_str().unwrap().contains("cores"));
    }
}
