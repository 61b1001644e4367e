//! What every benchmark reports: machine, date and versions in a file, a table on the screen.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::job::Measured;
use crate::pins::LIBTORCH_VERSION;
use crate::{doctor, paths, process};

/// Adds machine, date and versions to a report.
pub(super) fn signed(mut report: Value, programs: &[&Measured]) -> Value {
    report["date"] = json!(date());
    report["machine"] = json!(machine());
    report["versions"] = versions(programs);
    report
}

/// Writes a report to `target/bench/<name>-<date>.json` and says where it is.
pub(super) fn write(name: &str, report: &Value) -> Result<()> {
    let date = report["date"].as_str().unwrap_or_default().replace(':', "");
    let path = folder().join(format!("{name}-{date}.json"));
    fs::create_dir_all(folder())
        .and_then(|()| fs::write(&path, format!("{report:#}\n")))
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    println!("written: {}", paths::display(&path));
    Ok(())
}

/// Where reports lie.
pub(super) fn folder() -> PathBuf {
    paths::checkout().join("target/bench")
}

/// Threads, machine and date, for a table's first line.
pub(super) fn place(threads: usize, report: &Value) -> String {
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

/// CPU, cores and instruction sets.
fn machine() -> String {
    doctor::describe_cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
}

/// Now in UTC, `2026-01-31T12:00:00Z`; empty where there is no `date`.
fn date() -> String {
    said(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]))
}

/// The checkout's commit, the compiler, and the libtorch (else the pinned one) and PyTorch that the programs name.
fn versions(programs: &[&Measured]) -> Value {
    let named = |key: &str| programs.iter().find_map(|measured| measured.text(key));
    let mut git = Command::new("git");
    git.current_dir(paths::checkout())
        .args(["describe", "--always", "--dirty"]);
    json!({
        "fcmae": env!("CARGO_PKG_VERSION"),
        "commit": said(&mut git),
        "rustc": said(Command::new("rustc").arg("--version")),
        "libtorch": named("libtorch").unwrap_or(LIBTORCH_VERSION),
        "torch": named("torch"),
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
