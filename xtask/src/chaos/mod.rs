//! `chaos`: kills the program again and again, at random moments and in the middle of writing; nothing may be lost by it.

mod clock;
mod kill;
mod victim;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::json;

use crate::{program, table};

use clock::Random;
use kill::{Survived, attack};
use victim::Victim;

/// Arguments of `chaos`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often something is killed; pre-training gets three fifths of it, half of that while a checkpoint is written
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// How often `setup` is killed beside that; it downloads libtorch for each piece of work
    #[arg(long, default_value_t = 0, value_name = "KILLS")]
    setup: u32,
    /// Decides the moments
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// An `fcmae` that is built already [default: it is built, in release mode]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where the runs lie; a new folder [default: a temporary one, removed at the end]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Kills, and says what survived. Anything lost is a failure (exit code 1).
pub(crate) fn run(args: &Args) -> Result<()> {
    let program = match &args.program {
        Some(program) => std::path::absolute(program)?,
        None => program::build()?,
    };
    let out = Folder::make(args.out.as_deref())?;
    let mut random = Random::new(args.seed);
    let mut rows = Vec::new();
    let victims = Victim::all().into_iter().zip(shares(args.kills));
    for (victim, kills) in victims.chain([(Victim::setup(), args.setup)]) {
        if kills > 0 {
            eprintln!("{}: {kills} kills", victim.name);
            let survived = attack(&program, &victim, kills, &mut random, &out.path.join(victim.name))?;
            rows.push((victim.name, survived));
        }
    }
    if args.json {
        let list: Vec<_> = rows.iter().map(|(name, survived)| survived.json(name)).collect();
        println!("{}", json!({"seed": args.seed, "victims": list}));
    } else {
        print!("{}", text(&rows));
    }
    let lost: u32 = rows
        .iter()
        .map(|(_, survived)| survived.kills - survived.survived)
        .sum();
    if lost > 0 {
        bail!("{lost} of {} kills did damage", args.kills + args.setup);
    }
    Ok(())
}

/// How many of the kills each victim gets, in fifths; the first gets what is left over.
fn shares(kills: u32) -> [u32; 4] {
    let fifth = kills / 5;
    [kills - 3 * fifth, fifth, fifth, fifth]
}

fn text(rows: &[(&str, Survived)]) -> String {
    let row = |(name, survived): &(&str, Survived)| {
        vec![
            (*name).to_owned(),
            survived.kills.to_string(),
            survived.runs.to_string(),
            format!("{} / {}", survived.survived, survived.kills),
            survived.expected[..16].to_owned(),
            format!("{} / {}", survived.equal, survived.runs),
        ]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    let header = [
        "killed",
        "kills",
        "runs",
        "survived",
        "undisturbed: sha256",
        "equal hashes",
    ];
    table::columns(&header, &rows)
}

/// Where the runs lie, removed in the end unless it was asked for by name.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    fn make(named: Option<&Path>) -> Result<Folder> {
        let path = match named {
            Some(path) => std::path::absolute(path)?,
            None => std::env::temp_dir().join(format!("fcmae-chaos-{}", std::process::id())),
        };
        if path.exists() {
            bail!("{}: exists; name a new folder", path.display());
        }
        std::fs::create_dir_all(&path)?;
        Ok(Folder {
            path,
            is_kept: named.is_some(),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_dir_all(&self.path); // litter in the system's own folder for it
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kill_is_left_out() {
        assert_eq!(shares(100), [40, 20, 20, 20]);
        assert_eq!(shares(5), [2, 1, 1, 1]);
        assert_eq!(shares(3), [3, 0, 0, 0]);
    }

    #[test]
    fn a_row_says_how_many_survived_and_whether_the_hashes_are_equal() {
        let survived = Survived {
            kills: 20,
            runs: 3,
            survived: 19,
            equal: 2,
            expected: "0123456789abcdef0123".into(),
        };
        let expected = "killed    kills  runs  survived  undisturbed: sha256  equal hashes\n\
                        pretrain     20     3   19 / 20     0123456789abcdef         2 / 3\n";
        assert_eq!(text(&[("pretrain", survived)]), expected);
    }
}
