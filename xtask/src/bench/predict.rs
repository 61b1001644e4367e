//! `bench predict`: picture files to logits, `fcmae predict` and timm in turn, timed from outside.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::job::{Dtype, threads_or_cores};
use super::report::{self, doubt, median, spread};
use crate::interop::{Others, distance, logits_of_line};
use crate::peer::Python;
use crate::staging::{Lock, Staging};
use crate::{data, paths, process, program};

/// Options of `bench predict`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    /// Size of the model; its weights are random
    #[arg(long, default_value = "atto")]
    model: String,
    /// Images that go through the network at once
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Precision of the matrix products; can be repeated
    #[arg(long, value_enum, default_values_t = [Dtype::F32, Dtype::Bf16])]
    dtype: Vec<Dtype>,
    /// Rounds; in each, all programs run one after the other
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Threads of all [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Processes that decode for timm; 0 = its own
    #[arg(long, default_value_t = 0)]
    workers: usize,
    /// A Python with torch 2.11.0, timm and transformers [default: one is made in the cache]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// Who predicts.
const PROGRAMS: [&str; 3] = ["fcmae", "timm", "timm, compiled"];

pub(super) fn run(options: &Options) -> Result<()> {
    let others = Others(Python::with_models(options.python.as_deref())?);
    let fcmae = program::build()?;
    let home = report::folder();
    let _lock = Lock::take(&home)?;
    let folder = Staging::begin(&home.join("predict"))?;
    let versions = others.draw(&options.model, folder.path())?.versions;
    let weights = folder.path().join("timm.pth");
    let pictures = Pictures::of_elpv(folder.path())?;
    let commands = |dtype| {
        let timm = |compile| timm(&others.0, options, dtype, &weights, compile);
        [ours(&fcmae, options, dtype, &weights), timm(false), timm(true)]
    };
    let mut measured: Vec<Vec<[Timed; 3]>> = vec![Vec::new(); options.dtype.len()];
    for round in 1..=options.rounds.max(1) {
        eprintln!("round {round} of {}", options.rounds.max(1));
        for (&dtype, rounds) in options.dtype.iter().zip(&mut measured) {
            let [ours, eager, compiled] = commands(dtype);
            let time = |command| pictures.time(command, options.batch);
            rounds.push([time(ours)?, time(eager)?, time(compiled)?]);
        }
    }
    let rows = options.dtype.iter().zip(&measured);
    let rows: Vec<Value> = rows
        .map(|(&dtype, rounds)| row(dtype, rounds))
        .collect::<Result<_>>()?;
    let threads = threads_or_cores(options.threads);
    let report = json!({
        "model": options.model,
        "batch": options.batch,
        "pictures": pictures.count,
        "threads": threads,
        "workers": options.workers,
        "rows": rows,
    });
    let report = report::dated(report, &versions);
    let place = report::place(threads, &report);
    println!(
        "{}, batch {}, {} pictures of elpv to logits at 224 px; {place}",
        options.model, options.batch, pictures.count
    );
    rows.iter().for_each(|row| print!("{}", table(row)));
    report::write("predict", &report)
}

fn ours(fcmae: &Path, options: &Options, dtype: Dtype, weights: &Path) -> Command {
    let mut command = Command::new(paths::display(fcmae));
    command.arg("predict").arg(weights).args(["-", "--json"]);
    let settings = [
        "device=cpu".to_owned(),
        format!("precision={}", dtype.name()),
        format!("batch_size={}", options.batch),
        format!("threads={}", threads_or_cores(options.threads)),
    ];
    for setting in settings {
        command.args(["--set", &setting]);
    }
    command
}

fn timm(python: &Python, options: &Options, dtype: Dtype, weights: &Path, compile: bool) -> Command {
    let script = paths::checkout().join("xtask/peer/timm_predict.py");
    let mut command = python.command(Path::new(&paths::display(&script)));
    command.arg("--weights").arg(weights);
    command.args(["--model", &options.model, "--dtype", dtype.name()]);
    let numbers = [
        ("--batch", options.batch),
        ("--threads", threads_or_cores(options.threads)),
        ("--workers", options.workers),
    ];
    for (name, value) in numbers {
        command.args([name, &value.to_string()]);
    }
    command.args(compile.then_some("--compile"));
    command
}

/// The test images of elpv, as a list that both programs read on stdin.
#[derive(Debug)]
struct Pictures {
    list: PathBuf,
    count: usize,
}

impl Pictures {
    fn of_elpv(folder: &Path) -> Result<Pictures> {
        let set = data::find("elpv")?;
        if !set.is_present()? {
            data::fetch(set, false)?;
        }
        let home = paths::data_home()?.join("elpv");
        let split = home.join("test.csv");
        let text = fs::read_to_string(&split).with_context(|| split.display().to_string())?;
        let names = text.lines().skip(1).filter_map(|line| line.split(',').next());
        let files: Vec<String> = names.map(|name| home.join(name).display().to_string()).collect();
        let list = folder.join("pictures.txt");
        fs::write(&list, files.join("\n") + "\n").with_context(|| list.display().to_string())?;
        Ok(Pictures {
            list,
            count: files.len(),
        })
    }

    /// Runs a program on the list and takes the time of every line that it prints.
    fn time(&self, mut command: Command, batch: usize) -> Result<Timed> {
        let shown = process::line(&command);
        eprintln!("$ {shown} < {}", paths::display(&self.list));
        let list = File::open(&self.list).with_context(|| self.list.display().to_string())?;
        let start = Instant::now();
        let mut child = command
            .stdin(list)
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("`{shown}` could not be started"))?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let mut printed = Vec::with_capacity(self.count);
        for line in lines {
            printed.push((start.elapsed(), line?));
        }
        let status = child.wait()?;
        let whole = start.elapsed();
        if !status.success() {
            bail!("`{shown}` failed ({status})");
        }
        ensure!(
            printed.len() == self.count,
            "`{shown}` printed {} lines",
            printed.len()
        );
        let (times, lines): (Vec<_>, Vec<_>) = printed.into_iter().unzip();
        let timed = Timed {
            first: times[0].as_secs_f64(),
            whole: whole.as_secs_f64(),
            images_per_second: steady(&times, batch),
            logits: lines
                .iter()
                .map(|line| logits_of_line(line))
                .collect::<Result<_>>()?,
        };
        let Timed {
            first,
            whole,
            images_per_second,
            ..
        } = timed;
        eprintln!(
            "  first after {first:.2} s, all after {whole:.2} s, between them {images_per_second:.1} images/s"
        );
        Ok(timed)
    }
}

/// One run of a program.
#[derive(Debug, Clone)]
struct Timed {
    /// Seconds until the first picture's line: start-up and the first batch.
    first: f64,
    /// Seconds of the whole process.
    whole: f64,
    /// Once it runs.
    images_per_second: f64,
    logits: Vec<Vec<f32>>,
}

/// Images per second between the ends of two batches, after a quarter and after three quarters of them: start-up lies
/// before, and what was decoded ahead is as much at either end.
fn steady(times: &[Duration], batch: usize) -> f64 {
    let batches = times.len() / batch;
    let [from, to] = [batches / 4, batches * 3 / 4].map(|number| number.max(1) * batch);
    let seconds = (times[to - 1] - times[from - 1]).as_secs_f64();
    (to - from) as f64 / seconds
}

/// Medians of the rounds, and what the others need for each of our seconds.
fn row(dtype: Dtype, rounds: &[[Timed; 3]]) -> Result<Value> {
    let of = |number: fn(&Timed) -> f64, program: usize| -> Vec<f64> {
        rounds.iter().map(|round| number(&round[program])).collect()
    };
    let programs = (0..PROGRAMS.len()).map(|program| {
        let rates = of(|timed| timed.images_per_second, program);
        let times_as_long = |number: fn(&Timed) -> f64| {
            median(
                of(number, program)
                    .iter()
                    .zip(of(number, 0))
                    .map(|(theirs, ours)| theirs / ours),
            )
        };
        json!({
            "program": PROGRAMS[program],
            "images_per_second": median(rates.iter().copied()),
            "images_per_second_of_rounds": rates,
            "first_seconds": median(of(|timed| timed.first, program)),
            "whole_seconds": median(of(|timed| timed.whole, program)),
            "fcmae_times_as_fast": times_as_long(|timed| 1.0 / timed.images_per_second),
            "fcmae_times_as_fast_with_start": times_as_long(|timed| timed.whole),
        })
    });
    let spreads = (0..PROGRAMS.len()).map(|program| spread(of(|timed| timed.images_per_second, program)));
    let apart = distance(&rounds[0][0].logits, &rounds[0][1].logits)?;
    Ok(json!({
        "dtype": dtype.name(),
        "programs": programs.collect::<Vec<_>>(),
        "spread": spreads.fold(0.0, f64::max),
        "logits_difference": apart.difference,
        "logits_magnitude": apart.magnitude,
    }))
}

fn table(row: &Value) -> String {
    let number = |value: &Value, digits: usize| format!("{:.digits$}", value.as_f64().unwrap_or(f64::NAN));
    let cells = |program: &Value| {
        let rounds = program["images_per_second_of_rounds"]
            .as_array()
            .into_iter()
            .flatten();
        vec![
            program["program"].as_str().unwrap_or_default().to_owned(),
            number(&program["images_per_second"], 1),
            number(&program["fcmae_times_as_fast"], 2),
            number(&program["first_seconds"], 2),
            number(&program["whole_seconds"], 2),
            number(&program["fcmae_times_as_fast_with_start"], 2),
            rounds.map(|rate| number(rate, 1)).collect::<Vec<_>>().join(", "),
        ]
    };
    let programs: Vec<_> = row["programs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(cells)
        .collect();
    let dtype = row["dtype"].as_str().unwrap_or_default();
    let header = [
        dtype,
        "images/s",
        "fcmae is ×",
        "first after s",
        "all after s",
        "fcmae is ×",
        "images/s of rounds",
    ];
    let of = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
    crate::table::columns(&header, &programs)
        + &format!(
            "logits of fcmae and timm differ by {:.1e} at most, the largest is {:.1}\n",
            of("logits_difference"),
            of("logits_magnitude")
        )
        + &doubt(of("spread"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_up_and_the_end_are_not_counted() {
        // batches of 2 at 10 s, 11 s, … and the last one late
        let seconds = [10, 11, 12, 13, 14, 15, 16, 40];
        let times: Vec<_> = seconds
            .iter()
            .flat_map(|&s| [Duration::from_secs(s); 2])
            .collect();
        assert_eq!(steady(&times, 2), 2.0);
    }

    fn timed(images_per_second: f64, whole: f64) -> Timed {
        Timed {
            first: 1.0,
            whole,
            images_per_second,
            logits: vec![vec![whole as f32]],
        }
    }

    #[test]
    fn ratios_are_taken_per_round_and_the_middle_counts() {
        let round = |slow: f64| {
            [
                timed(100.0 / slow, 4.0 * slow),
                timed(50.0 / slow, 12.0 * slow),
                timed(80.0 / slow, 40.0 * slow),
            ]
        };
        let row = row(Dtype::F32, &[round(1.0), round(3.0), round(1.0)]).unwrap();
        assert_eq!(row["logits_difference"], 8.0);
        let expected = "f32             images/s  fcmae is ×  first after s  all after s  fcmae is ×  images/s of rounds\n\
                        fcmae              100.0        1.00           1.00         4.00        1.00  100.0, 33.3, 100.0\n\
                        timm                50.0        2.00           1.00        12.00        3.00    50.0, 16.7, 50.0\n\
                        timm, compiled      80.0        1.25           1.00        40.00       10.00    80.0, 26.7, 80.0\n\
                        logits of fcmae and timm differ by 8.0e0 at most, the largest is 12.0\n\
                        NOT RELIABLE: the slowest round took 3.0 times the fastest; run it again on a quiet machine\n";
        assert_eq!(table(&row), expected);
    }
}
