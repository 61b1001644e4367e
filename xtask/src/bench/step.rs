//! `bench step`: whole steps, ours and plain PyTorch's in turn, on one machine in one run.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::job::{Job, Measured};
use super::programs::{Ours, Peer, PeerOptions};
use super::report::{self, doubt, median};
use crate::table;

/// Options of `bench step`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    job: Job,
    /// Rounds; in each, ours and the peer run one after the other
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[command(flatten)]
    peer: PeerOptions,
}

/// One round: ours, then the peer.
#[derive(Debug)]
struct Round {
    ours: Measured,
    peer: Measured,
}

pub(super) fn run(options: &Options) -> Result<()> {
    let peer = Peer::open(&options.peer)?;
    let ours = Ours::build()?;
    let job = &options.job;
    let mut rounds = Vec::new();
    for round in 1..=options.rounds.max(1) {
        eprintln!("round {round} of {}", options.rounds.max(1));
        let (ours, peer) = (ours.measure(job)?, peer.measure(job)?);
        rounds.push(Round { ours, peer });
    }
    let report = report(job, peer.name(), &rounds);
    let report = report::signed(report, &[&rounds[0].ours, &rounds[0].peer]);
    let place = report::place(job.threads(), &report);
    print!("{}; {place}\n{}", job.subject(), table(&report));
    report::write("step", &report)
}

fn report(job: &Job, peer: &str, rounds: &[Round]) -> Value {
    let ratios: Vec<f64> = rounds
        .iter()
        .map(|round| round.peer.seconds / round.ours.seconds)
        .collect();
    let (ours, peers) = (of(rounds, |round| &round.ours), of(rounds, |round| &round.peer));
    json!({
        "task": job.task.name(),
        "threads": job.threads(),
        "model": job.model,
        "batch": job.batch,
        "size": job.size,
        "dtype": job.dtype.name(),
        "mask_ratio": job.mask_ratio,
        "steps": job.steps,
        "peer_is": peer,
        "ours": side(job, &ours),
        "peer": side(job, &peers),
        // of each round, then the middle: a busy spell hits both sides of a round
        "times_as_fast": median(ratios.iter().copied()),
        "times_as_fast_of_rounds": ratios,
        "memory": peak(&ours) / peak(&peers),
        "spread": spread(&ours).max(spread(&peers)),
        "profile": profile(middle(&ours)),
    })
}

/// One side of every round.
fn of(rounds: &[Round], side: fn(&Round) -> &Measured) -> Vec<&Measured> {
    rounds.iter().map(side).collect()
}

fn side(job: &Job, rounds: &[&Measured]) -> Value {
    let seconds = median(rounds.iter().map(|round| round.seconds));
    json!({
        "seconds": seconds,
        "images_per_second": f64::from(job.batch) / seconds,
        "peak_mib": peak(rounds),
        "first_loss": rounds.first().map(|round| round.first_loss),
        "kernels": rounds.first().map(|round| round.text("kernels")),
        "seconds_of_rounds": rounds.iter().map(|round| round.seconds).collect::<Vec<_>>(),
    })
}

/// The largest memory of all rounds, in MiB.
fn peak(rounds: &[&Measured]) -> f64 {
    rounds.iter().map(|round| round.peak_mib).fold(0.0, f64::max)
}

fn spread(rounds: &[&Measured]) -> f64 {
    report::spread(rounds.iter().map(|round| round.seconds))
}

/// The round in the middle: half of the others were faster.
fn middle<'a>(rounds: &[&'a Measured]) -> &'a Measured {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    sorted[(sorted.len() - 1) / 2]
}

/// Mean seconds per step of each operation, and of the rest that no operation claims.
fn profile(measured: &Measured) -> BTreeMap<String, f64> {
    let mut profile = measured.profile();
    if !profile.is_empty() {
        let total = measured.number("mean_seconds").unwrap_or(measured.seconds);
        let claimed: f64 = profile.values().sum();
        profile.insert(REST.to_owned(), total - claimed);
    }
    profile
}

/// The name of what no operation claims.
const REST: &str = "rest";

fn table(report: &Value) -> String {
    let ratio = |key: &str| report[key].as_f64().unwrap_or(f64::NAN);
    let peer = report["peer_is"].as_str().unwrap_or("peer");
    let rows = [("fcmae", "ours"), (peer, "peer")].map(|(name, side)| row(name, &report[side]));
    let mut out = table::columns(
        &["", "s/step", "images/s", "peak MiB", "first loss", "rounds"],
        &rows,
    );
    out += &format!(
        "{:.2} times as fast (rounds: {}), {:.2} of the memory\n",
        ratio("times_as_fast"),
        numbers(&report["times_as_fast_of_rounds"], 2),
        ratio("memory"),
    );
    out += &doubt(ratio("spread"));
    out + &profile_table(&report["profile"])
}

/// One side's cells; seconds with enough digits for a step of milliseconds.
fn row(name: &str, side: &Value) -> Vec<String> {
    let number = |key: &str, digits: usize| match side[key].as_f64() {
        Some(number) => format!("{number:.digits$}"),
        None => "–".to_owned(),
    };
    vec![
        name.to_owned(),
        number("seconds", 4),
        number("images_per_second", 1),
        number("peak_mib", 0),
        number("first_loss", 4),
        numbers(&side["seconds_of_rounds"], 4),
    ]
}

fn numbers(list: &Value, digits: usize) -> String {
    let numbers = list.as_array().into_iter().flatten().filter_map(Value::as_f64);
    let shown: Vec<String> = numbers.map(|number| format!("{number:.digits$}")).collect();
    shown.join(", ")
}

/// Where the time goes: the longest first, what no operation claims last.
fn profile_table(profile: &Value) -> String {
    let entries = profile.as_object().into_iter().flatten();
    let mut entries: Vec<(&str, f64)> = entries
        .filter_map(|(name, seconds)| Some((name.as_str(), seconds.as_f64()?)))
        .collect();
    if entries.is_empty() {
        return String::new();
    }
    let total: f64 = entries.iter().map(|(_, seconds)| seconds).sum();
    entries.sort_by(|a, b| (a.0 == REST).cmp(&(b.0 == REST)).then(b.1.total_cmp(&a.1)));
    let cells = |&(name, seconds): &(&str, f64)| {
        let (ms, share) = (seconds * 1e3, seconds / total * 100.0);
        vec![name.to_owned(), format!("{ms:.2}"), format!("{share:.1} %")]
    };
    let rows: Vec<_> = entries.iter().map(cells).collect();
    table::columns(&["where the time goes", "ms", "share"], &rows)
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::{job, measured};
    use super::*;

    fn round(ours: f64, peer: f64) -> Round {
        Round {
            ours: measured(ours, 500.0 + ours),
            peer: measured(peer, 1000.0),
        }
    }

    #[test]
    fn a_quiet_run_is_not_warned_of() {
        let report = report(&job(&[]), "PyTorch", &[round(1.0, 2.0), round(1.1, 2.2)]);
        assert!((report["spread"].as_f64().unwrap() - 1.1).abs() < 1e-9);
        let table = table(&report);
        assert!(
            !table.contains("NOT RELIABLE") && !table.contains("where the time goes"),
            "{table}"
        );
    }

    #[test]
    fn the_middle_counts_and_the_ratio_is_taken_per_round() {
        // the second round was disturbed as a whole
        let rounds = [round(1.0, 2.0), round(10.0, 20.0), round(1.0, 2.5)];
        let report = report(&job(&["--threads", "2"]), "torch.compile", &rounds);
        assert_eq!(report["times_as_fast"], 2.0);
        assert_eq!(report["ours"]["seconds"], 1.0);
        assert_eq!(report["ours"]["peak_mib"], 510.0);
        assert_eq!(report["ours"]["images_per_second"], 32.0);
        let table = table(&report);
        for expected in [
            "2.00 times as fast (rounds: 2.00, 2.00, 2.50), 0.51 of the memory",
            "NOT RELIABLE: the slowest round took 10.0 times the fastest",
            "torch.compile  2.5000      12.8      1000      1.0000  2.0000, 20.0000, 2.5000",
        ] {
            assert!(table.contains(expected), "{table}");
        }
    }

    #[test]
    fn the_rest_is_what_no_operation_claims_and_comes_last() {
        let line = r#"{"seconds": 1.9, "mean_seconds": 2.0, "peak_mib": 1,
                       "profile": {"block 40, forward": 0.5, "optimizer": 0.1}}"#;
        let profile = profile(&Measured::parse(&line.replace('\n', " ")).unwrap());
        assert!((profile[REST] - 1.4).abs() < 1e-12);
        let expected = "where the time goes       ms   share\n\
                        block 40, forward     500.00  25.0 %\n\
                        optimizer             100.00   5.0 %\n\
                        rest                 1400.00  70.0 %\n";
        assert_eq!(profile_table(&json!(profile)), expected);
    }

    #[test]
    fn what_a_task_does_not_have_is_a_dash() {
        let cells = row("fcmae", &json!({"seconds": 0.01234, "first_loss": null}));
        assert_eq!(cells, ["fcmae", "0.0123", "–", "–", "–", ""]);
    }
}
