//! `bench kernels`: criterion's numbers of each kernel as one table, with libtorch's matrix product as the ceiling.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::job::threads_or_cores;
use super::report;
use crate::{libtorch, process, table};

/// Options of `bench kernels`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// Only benchmarks whose name matches this regular expression, such as `atto.*bf16`; the ceiling always runs
    filter: Option<String>,
    /// Threads [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
}

/// The operation that is the ceiling of its kind.
const CEILING: &str = "matmul";

pub(super) fn run(options: &Options) -> Result<()> {
    libtorch::ensure()?;
    let home = report::folder().join("criterion");
    forget(&home)?;
    process::run(&mut command(options, &home))?;
    let mut found = read(&home)?;
    found.sort_by_key(Entry::key);
    let report = json!({
        "threads": threads_or_cores(options.threads),
        "rows": found.iter().map(|entry| entry.to_json(&found)).collect::<Vec<_>>(),
    });
    let report = report::signed(report, &[]);
    let place = report::place(threads_or_cores(options.threads), &report);
    print!("{place}\n{}", table(&found));
    report::write("kernels", &report)
}

/// Removes what an earlier run left: its benchmarks may have had other names.
fn forget(home: &Path) -> Result<()> {
    match fs::remove_dir_all(home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", home.display()))
        }
        _ => Ok(()),
    }
}

fn command(options: &Options, home: &Path) -> std::process::Command {
    let mut command = process::cargo();
    command.args(["bench", "--package", "fcmae-kernels", "--bench", "kernels", "--"]);
    command.env("CRITERION_HOME", home);
    if let Some(threads) = options.threads {
        command.env("OMP_NUM_THREADS", threads.to_string());
    }
    if let Some(filter) = &options.filter {
        command.arg(format!("{CEILING}|{filter}"));
    }
    command
}

/// One benchmark: `<operation>/<shape>/<kind>` and `forward` or `forward and backward`.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    operation: String,
    shape: String,
    kind: String,
    pass: String,
    /// Median seconds of a call.
    seconds: f64,
    /// Floating-point operations of a call.
    operations: f64,
}

impl Entry {
    /// From criterion's `benchmark.json` and `estimates.json`.
    fn parse(benchmark: &Value, estimates: &Value) -> Option<Entry> {
        let [operation, shape, kind] = benchmark["group_id"].as_str()?.split('/').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        Some(Entry {
            operation: operation.to_owned(),
            shape: shape.to_owned(),
            kind: kind.to_owned(),
            pass: benchmark["function_id"].as_str()?.to_owned(),
            seconds: estimates["median"]["point_estimate"].as_f64()? * 1e-9,
            operations: benchmark["throughput"]["Elements"].as_f64()?,
        })
    }

    fn gflops(&self) -> f64 {
        self.operations / self.seconds * 1e-9
    }

    /// GFLOP/s over those of the ceiling of the same kind; none where that was not measured.
    fn share(&self, all: &[Entry]) -> Option<f64> {
        let is_ceiling = |entry: &&Entry| entry.operation == CEILING && entry.kind == self.kind;
        all.iter()
            .find(is_ceiling)
            .map(|ceiling| self.gflops() / ceiling.gflops())
    }

    /// The ceiling first, then model by model; f32 before bf16.
    fn key(&self) -> impl Ord + use<> {
        let is_kernel = self.operation != CEILING;
        let is_half = self.kind != "f32";
        (
            is_half,
            is_kernel,
            self.shape.clone(),
            self.operation.clone(),
            self.pass.clone(),
        )
    }

    fn to_json(&self, all: &[Entry]) -> Value {
        json!({
            "operation": self.operation,
            "shape": self.shape,
            "kind": self.kind,
            "pass": self.pass,
            "seconds": self.seconds,
            "gflops": self.gflops(),
            "share_of_ceiling": self.share(all),
        })
    }
}

/// All benchmarks that criterion left under `home`.
fn read(home: &Path) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    for folder in folders(home)? {
        let (benchmark, estimates) = (
            folder.join("new/benchmark.json"),
            folder.join("new/estimates.json"),
        );
        if !benchmark.is_file() {
            continue;
        }
        let entry = Entry::parse(&json_of(&benchmark)?, &json_of(&estimates)?);
        found.push(entry.with_context(|| format!("{}: not as expected", benchmark.display()))?);
    }
    if found.is_empty() {
        bail!("{}: criterion left no numbers here", home.display());
    }
    Ok(found)
}

/// `<home>/<group>/<benchmark>`, all of them.
fn folders(home: &Path) -> Result<Vec<PathBuf>> {
    let children = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?;
        let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
        Ok(paths?.into_iter().filter(|path| path.is_dir()).collect())
    };
    let mut found = Vec::new();
    for group in children(home)? {
        found.extend(children(&group)?);
    }
    Ok(found)
}

fn json_of(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: not JSON", path.display()))
}

fn table(entries: &[Entry]) -> String {
    let cells = |entry: &Entry| {
        let share = entry
            .share(entries)
            .map(|share| format!("{:.0} %", share * 100.0));
        vec![
            format!(
                "{} {}, {}, {}",
                entry.kind, entry.operation, entry.shape, entry.pass
            ),
            format!("{:.3}", entry.seconds * 1e3),
            format!("{:.1}", entry.gflops()),
            share.unwrap_or_else(|| "–".to_owned()),
        ]
    };
    let rows: Vec<_> = entries.iter().map(cells).collect();
    table::columns(&["", "ms", "GFLOP/s", "of the ceiling"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder as criterion leaves it.
    fn write(home: &Path, group: &str, pass: &str, nanoseconds: f64, operations: u64) {
        let folder = home.join(group.replace('/', "_")).join(pass).join("new");
        fs::create_dir_all(&folder).unwrap();
        let benchmark = json!({"group_id": group, "function_id": pass, "value_str": null, "throughput": {"Elements": operations}});
        let estimates = json!({"mean": {"point_estimate": 1.0}, "median": {"point_estimate": nanoseconds}});
        fs::write(folder.join("benchmark.json"), benchmark.to_string()).unwrap();
        fs::write(folder.join("estimates.json"), estimates.to_string()).unwrap();
    }

    #[test]
    fn what_criterion_leaves_is_read_and_compared_with_the_ceiling() {
        let home = tempfile::tempdir().unwrap();
        write(
            home.path(),
            "block 40/atto-32 stage 0/f32",
            "forward",
            2e6,
            100_000_000,
        );
        write(
            home.path(),
            "block 40/atto-32 stage 0/bf16",
            "forward",
            1e6,
            100_000_000,
        );
        write(home.path(), "matmul/2048/f32", "forward", 1e6, 200_000_000);
        let mut entries = read(home.path()).unwrap();
        entries.sort_by_key(Entry::key);
        let expected = "                                            ms  GFLOP/s  of the ceiling\n\
                        f32 matmul, 2048, forward                1.000    200.0           100 %\n\
                        f32 block 40, atto-32 stage 0, forward   2.000     50.0            25 %\n\
                        bf16 block 40, atto-32 stage 0, forward  1.000    100.0               –\n";
        assert_eq!(table(&entries), expected);
        assert_eq!(entries[1].to_json(&entries)["share_of_ceiling"], 0.25);
        assert_eq!(entries[2].to_json(&entries)["share_of_ceiling"], Value::Null);
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        assert!(
            read(home.path())
                .unwrap_err()
                .to_string()
                .contains("criterion left no numbers")
        );
        forget(home.path()).unwrap();
        forget(home.path()).unwrap();
        assert!(!home.path().exists());
    }

    #[test]
    fn the_ceiling_always_runs() {
        let options = Options {
            filter: Some("atto.*bf16".into()),
            threads: Some(2),
        };
        let line = process::line(&command(&options, Path::new("here")));
        assert_eq!(
            line,
            "CRITERION_HOME=here OMP_NUM_THREADS=2 cargo bench --package fcmae-kernels --bench kernels -- \
             'matmul|atto.*bf16'"
        );
    }
}
