//! `bench step`: whole training steps, ours and plain PyTorch's in turn, on one machine in one run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::peer::Python;
use crate::{doctor, paths, process, program};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Forward, backward and AdamW of one pre-training step, against plain PyTorch
    Step(Step),
}

/// Options of `bench step`.
#[derive(Debug, Clone, clap::Args)]
struct Step {
    /// Size of the model
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
    /// Timed steps in each round; the median counts
    #[arg(long, default_value_t = 7)]
    steps: u32,
    /// Rounds; in each, ours and the peer run one after the other
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Threads of both [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Let the peer use `torch.compile`
    #[arg(long)]
    compile: bool,
    /// A Python with torch 2.11.0 for the peer [default: one is made in the cache]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Another program for the peer, with the same options and the same JSON line
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Bf16,
}

/// Measures, prints a table, writes the numbers.
pub(crate) fn run(args: &Args) -> Result<()> {
    let What::Step(step) = &args.what;
    let python = match &step.python {
        Some(path) => Python::of_user(path)?,
        None => Python::of_cache()?,
    };
    let script = step
        .peer
        .clone()
        .unwrap_or_else(|| paths::checkout().join("xtask/peer/torch_fcmae.py"));
    let program = program::build()?;
    let mut rounds = Vec::new();
    for round in 1..=step.rounds.max(1) {
        eprintln!("round {round} of {}", step.rounds.max(1));
        let ours = measure(ours(step, &program))?;
        let peer = measure(theirs(step, &python, &script))?;
        rounds.push(Round { ours, peer });
    }
    let report = report(step, &rounds);
    let path = write(&report)?;
    print!("{}", table(&report));
    println!("written: {}", paths::display(&path));
    Ok(())
}

fn ours(step: &Step, program: &Path) -> Command {
    let mut command = Command::new(paths::display(program));
    command.args(["bench-step", "--json"]);
    shared(step, &mut command);
    command
}

fn theirs(step: &Step, python: &Python, script: &Path) -> Command {
    let mut command = python.command(Path::new(&paths::display(script)));
    shared(step, &mut command);
    if step.compile {
        command.arg("--compile");
    }
    command
}

/// The options that both programs understand.
fn shared(step: &Step, command: &mut Command) {
    let dtype = match step.dtype {
        Dtype::F32 => "f32",
        Dtype::Bf16 => "bf16",
    };
    command.args(["--model", &step.model, "--dtype", dtype]);
    let numbers = [
        ("--batch", step.batch),
        ("--size", step.size),
        ("--steps", step.steps),
    ];
    for (name, value) in numbers {
        command.arg(name).arg(value.to_string());
    }
    command.arg("--threads").arg(threads(step).to_string());
}

fn threads(step: &Step) -> usize {
    step.threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// What one program measured of itself in one round.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    seconds: f64,
    peak_mib: f64,
    first_loss: f64,
}

/// One round: ours, then the peer.
#[derive(Debug, Clone, Copy)]
struct Round {
    ours: Measured,
    peer: Measured,
}

fn measure(mut command: Command) -> Result<Measured> {
    eprintln!("$ {}", process::line(&command));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| process::line(&command))?;
    if !output.status.success() {
        bail!("`{}` failed ({})", process::line(&command), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let measured = parse(&text).with_context(|| format!("`{}` printed {text:?}", process::line(&command)))?;
    eprintln!(
        "  {:.3} s per step, {:.0} MiB at most",
        measured.seconds, measured.peak_mib
    );
    Ok(measured)
}

/// The last line is the JSON object.
fn parse(text: &str) -> Result<Measured> {
    let value: Value = serde_json::from_str(text.trim().lines().last().unwrap_or_default())?;
    let number = |key: &str| value[key].as_f64().with_context(|| format!("no number `{key}`"));
    let measured = Measured {
        seconds: number("seconds")?,
        peak_mib: number("peak_mib")?,
        first_loss: number("first_loss")?,
    };
    if measured.seconds <= 0.0 {
        bail!("`seconds` is not above zero");
    }
    Ok(measured)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => (sorted[middle - 1] + sorted[middle]) / 2.0,
        (middle, _) => sorted[middle],
    }
}

fn report(step: &Step, rounds: &[Round]) -> Value {
    let side = |of: fn(&Round) -> Measured| {
        let seconds = median(rounds.iter().map(|round| of(round).seconds));
        json!({
            "seconds": seconds,
            "images_per_second": f64::from(step.batch) / seconds,
            "peak_mib": rounds.iter().map(|round| of(round).peak_mib).fold(0.0, f64::max),
            "first_loss": rounds.first().map(|round| of(round).first_loss),
            "seconds_of_rounds": rounds.iter().map(|round| of(round).seconds).collect::<Vec<_>>(),
        })
    };
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.peer.seconds / round.ours.seconds)
        .collect();
    json!({
        "date": date(),
        "machine": doctor::describe_cpu(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
        "threads": threads(step),
        "model": step.model,
        "batch": step.batch,
        "size": step.size,
        "dtype": format!("{:?}", step.dtype).to_lowercase(),
        "steps": step.steps,
        "peer_compiles": step.compile,
        "ours": side(|round| round.ours),
        "peer": side(|round| round.peer),
        // of each round, then the middle: a busy spell hits both sides of a round
        "times_as_fast": median(ratios.iter().copied()),
        "times_as_fast_of_rounds": ratios,
        "spread": spread(rounds),
    })
}

fn table(report: &Value) -> String {
    let number = |side: &str, key: &str| report[side][key].as_f64().unwrap_or(f64::NAN);
    let text = |key: &str| report[key].as_str().unwrap_or_default();
    let mut out = format!(
        "{} batch {} at {} px, {}, {} threads; {}; {}\n",
        text("model"),
        report["batch"],
        report["size"],
        text("dtype"),
        report["threads"],
        text("machine"),
        text("date"),
    );
    out += &format!(
        "{:14}{:>12}{:>12}{:>12}{:>12}\n",
        "", "s/step", "images/s", "peak MiB", "first loss"
    );
    let peer = if report["peer_compiles"] == true {
        "torch.compile"
    } else {
        "PyTorch"
    };
    for (name, side) in [("fcmae", "ours"), (peer, "peer")] {
        let [seconds, images, peak, loss] =
            ["seconds", "images_per_second", "peak_mib", "first_loss"].map(|key| number(side, key));
        out += &format!("{name:14}{seconds:12.3}{images:12.1}{peak:12.0}{loss:12.4}\n");
    }
    let ratio = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let rounds = report["times_as_fast_of_rounds"].as_array().into_iter().flatten();
    let rounds: Vec<String> = rounds
        .filter_map(Value::as_f64)
        .map(|r| format!("{r:.2}"))
        .collect();
    let memory = number("ours", "peak_mib") / number("peer", "peak_mib");
    out += &format!(
        "{:.2} times as fast (rounds: {}), {memory:.2} of the memory\n",
        ratio("times_as_fast"),
        rounds.join(", ")
    );
    if ratio("spread") > QUIET {
        out += &format!(
            "NOT RELIABLE: the slowest round took {:.1} times the fastest; run it again on a quiet machine\n",
            ratio("spread")
        );
    }
    out
}

/// Rounds of one program that differ by more than this were disturbed by something else on the machine.
const QUIET: f64 = 1.25;

/// The slowest round over the fastest, of the side where that is worse.
fn spread(rounds: &[Round]) -> f64 {
    let side = |of: fn(&Round) -> Measured| {
        let seconds = rounds.iter().map(|round| of(round).seconds);
        let (low, high) = seconds.fold((f64::MAX, 0.0), |(low, high), s| (s.min(low), s.max(high)));
        high / low
    };
    side(|round| round.ours).max(side(|round| round.peer))
}

fn write(report: &Value) -> Result<PathBuf> {
    let folder = paths::checkout().join("target/bench");
    let path = folder.join(format!(
        "step-{}.json",
        report["date"].as_str().unwrap_or_default().replace(':', "")
    ));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&path, format!("{report:#}\n")))
        .with_context(|| format!("{}: cannot be written", path.display()))?;
    Ok(path)
}

/// Now in UTC, `2026-01-31T12:00:00Z`; empty where there is no `date`.
fn date() -> String {
    let text = process::capture(Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]));
    text.map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(words: &[&str]) -> Step {
        use clap::Parser;
        #[derive(Parser)]
        struct Cli {
            #[command(flatten)]
            step: Step,
        }
        Cli::try_parse_from([&["step"], words].concat()).unwrap().step
    }

    #[test]
    fn both_sides_get_the_same_options() {
        let step = step(&["--batch", "8", "--dtype", "bf16", "--threads", "2", "--compile"]);
        let options = "--model atto --dtype bf16 --batch 8 --size 224 --steps 7 --threads 2";
        let line = process::line(&ours(&step, Path::new("target/release/fcmae")));
        assert_eq!(line, format!("target/release/fcmae bench-step --json {options}"));
        let mut command = Command::new("python");
        shared(&step, &mut command);
        assert_eq!(process::line(&command), format!("python {options}"));
    }

    #[test]
    fn the_last_line_is_read_and_nonsense_refused() {
        let good =
            parse("warming up\n{\"seconds\": 0.5, \"peak_mib\": 900, \"first_loss\": 1.01}\n").unwrap();
        assert_eq!(
            good,
            Measured {
                seconds: 0.5,
                peak_mib: 900.0,
                first_loss: 1.01
            }
        );
        assert!(parse("").is_err() && parse("{\"seconds\": 1.0}").is_err());
        assert!(parse("{\"seconds\": 0.0, \"peak_mib\": 900, \"first_loss\": 1.01}").is_err());
    }

    #[test]
    fn a_quiet_run_is_not_warned_of() {
        let side = |seconds| Measured {
            seconds,
            peak_mib: 500.0,
            first_loss: 1.0,
        };
        let rounds = [1.0, 1.1].map(|s| Round {
            ours: side(s),
            peer: side(2.0 * s),
        });
        assert!((spread(&rounds) - 1.1).abs() < 1e-9);
        assert!(!table(&report(&step(&[]), &rounds)).contains("NOT RELIABLE"));
    }

    #[test]
    fn the_middle_counts_and_the_ratio_is_taken_per_round() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0].into_iter()), 2.5);
        let side = |seconds, peak_mib| Measured {
            seconds,
            peak_mib,
            first_loss: 1.0,
        };
        let round = |a, b| Round {
            ours: side(a, 500.0 + a),
            peer: side(b, 1000.0),
        };
        // the second round was disturbed as a whole
        let report = report(
            &step(&["--threads", "2"]),
            &[round(1.0, 2.0), round(10.0, 20.0), round(1.0, 2.5)],
        );
        assert_eq!(report["times_as_fast"], 2.0);
        assert_eq!(report["ours"]["seconds"], 1.0);
        assert_eq!(report["ours"]["peak_mib"], 510.0);
        let table = table(&report);
        assert!(
            table.contains("2.00 times as fast (rounds: 2.00, 2.00, 2.50), 0.51 of the memory"),
            "{table}"
        );
        assert!(
            table.contains("NOT RELIABLE: the slowest round took 10.0 times the fastest"),
            "{table}"
        );
    }
}
