//! `interop`: weights to the real timm and transformers and back. Do all programs say the same of the same pictures?

mod pair;
mod programs;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::bench::report;
use crate::peer::Python;
use crate::staging::{Lock, Staging, remove};
use crate::{instructions, paths, program};

pub(crate) use pair::distance;
use pair::{Pair, TOLERANCE, table};
use programs::{FOLDER_OF_TIMM, Fcmae, OTHERS};
pub(crate) use programs::{Others, logits_of_line};

/// The sizes of the paper; timm and transformers have them all.
const SIZES: [&str; 8] = ["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"];

/// Arguments of `interop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A size, with random weights; can be repeated [default: all eight, or none with --weights]
    #[arg(long, value_parser = SIZES)]
    model: Vec<String>,
    /// Weights of your own with a head, a file or the folder of a run: will the others read them? Can be repeated
    #[arg(long, value_name = "FILE|RUN")]
    weights: Vec<PathBuf>,
    /// A Python with torch 2.11.0, timm and transformers [default: one is made in the cache]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

impl Args {
    fn sizes(&self) -> Vec<&str> {
        if self.model.is_empty() && self.weights.is_empty() {
            SIZES.to_vec()
        } else {
            self.model.iter().map(String::as_str).collect()
        }
    }
}

/// Exchanges, compares, prints the table and writes the numbers; an error where one pair differs.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut exchange = Exchange {
        others: Others(Python::with_models(args.python.as_deref())?),
        fcmae: Fcmae(program::build()?),
        pairs: Vec::new(),
        versions: Value::Null,
    };
    let home = paths::checkout().join("target/interop");
    let _lock = Lock::take(&home)?;
    // a folder goes when its turn is over: huge takes 11 GB
    for size in args.sizes() {
        let folder = Staging::begin(&home.join(size))?;
        exchange.random(size, folder.path())?;
    }
    for weights in &args.weights {
        let folder = Staging::begin(&home.join("weights"))?;
        exchange.exported(&paths::display(weights), weights, folder.path())?;
    }
    tell(&exchange)
}

/// The programs, and what was found so far.
#[derive(Debug)]
struct Exchange {
    fcmae: Fcmae,
    others: Others,
    pairs: Vec<Pair>,
    /// Of the others.
    versions: Value,
}

impl Exchange {
    /// Random weights, both ways: the others' are read here, and are exported from here.
    fn random(&mut self, size: &str, folder: &Path) -> Result<()> {
        let drawn = self.others.draw(size, folder)?;
        for other in OTHERS.iter().filter(|other| drawn.has(other.name)) {
            let ours = self.fcmae.logits(&folder.join(other.file), folder);
            let pair = Pair::new(size, (other.name, "fcmae"), ours, drawn.logits(other.name));
            self.pairs.push(pair);
        }
        let native = folder.join("native.safetensors");
        self.fcmae.convert(&folder.join("timm.pth"), "native", &native)?;
        for other in &OTHERS {
            // it must not be taken for what is exported
            remove(&folder.join(other.file))?;
        }
        self.exported(size, &native, folder)
    }

    /// Weights of ours, exported for the others and loaded there.
    fn exported(&mut self, subject: &str, weights: &Path, folder: &Path) -> Result<()> {
        for other in &OTHERS {
            let written = self.fcmae.convert(weights, other.to, &folder.join(other.file));
            match written {
                // of networks that timm has none for there is no folder, and fcmae has said so
                Err(error) if other.name == FOLDER_OF_TIMM => eprintln!("note: {error:#}"),
                written => written?,
            }
        }
        let loaded = self.others.load(folder)?;
        let ours = self.fcmae.logits(weights, folder)?;
        let asked = OTHERS.iter().filter(|other| loaded.has(other.name));
        self.pairs.extend(asked.map(|other| {
            let between = ("fcmae", other.name);
            Pair::new(subject, between, Ok(ours.clone()), loaded.logits(other.name))
        }));
        self.versions = loaded.versions;
        Ok(())
    }
}

/// Prints the table, writes the report, and fails where a pair does.
fn tell(exchange: &Exchange) -> Result<()> {
    let Exchange { pairs, versions, .. } = exchange;
    let forced = std::env::var(instructions::FORCED).unwrap_or_default();
    let kernels = instructions::taken(&forced, &instructions::available()).map_err(|why| anyhow!(why))?;
    let report = json!({
        "tolerance": TOLERANCE,
        "kernels": kernels,
        "pairs": pairs.iter().map(Pair::to_json).collect::<Vec<_>>(),
    });
    let report = report::dated(report, versions);
    let version = |name: &str| versions[name].as_str().unwrap_or("?").to_owned();
    println!(
        "f32, kernels {kernels}; timm {}, transformers {}, torch {}; {}",
        version("timm"),
        version("transformers"),
        version("torch"),
        report["date"].as_str().unwrap_or_default(),
    );
    print!("{}", table(pairs));
    report::write("interop", &report)?;
    let faults: Vec<String> = pairs.iter().filter_map(Pair::fault).collect();
    faults.iter().for_each(|fault| eprintln!("FAILED: {fault}"));
    ensure!(
        faults.is_empty(),
        "{} of {} exchanges failed",
        faults.len(),
        pairs.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn all_sizes_are_taken_unless_something_is_named() {
        let sizes = |words: &[&str]| {
            let args = Cli::try_parse_from([&["interop"], words].concat()).unwrap().args;
            args.sizes().join(" ")
        };
        assert_eq!(sizes(&[]), "atto femto pico nano tiny base large huge");
        assert_eq!(sizes(&["--model", "tiny", "--weights", "w"]), "tiny");
        assert_eq!(sizes(&["--weights", "w"]), "");
        assert!(Cli::try_parse_from(["interop", "--model", "small"]).is_err());
    }
}
