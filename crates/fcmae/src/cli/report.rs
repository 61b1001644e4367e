//! `fcmae report`: runs and matrices as one HTML file.

use std::path::PathBuf;

use anyhow::Result;
use fcmae::report::{Matrix, Pictures, Run, compare_page, matrix_page, run_page, write};
use fcmae::trainer::InputError;
use serde_json::json;

use super::{Outcome, output};

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of runs; several are compared
    #[arg(value_name = "RUN", required_unless_present = "matrix")]
    runs: Vec<PathBuf>,
    /// What an ablation found, as JSON, instead of runs
    #[arg(long, value_name = "FILE", conflicts_with = "runs")]
    matrix: Option<PathBuf>,
    /// The file to write [default, of one run: report.html in its folder]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let file = args.file()?;
    write(&file, &args.page()?)?;
    if args.json {
        output::json(&json!({ "report": file }))?;
    } else {
        eprintln!("report: {}", file.display());
    }
    Ok(Outcome::Done)
}

impl Args {
    fn file(&self) -> Result<PathBuf, InputError> {
        match (&self.out, &self.runs[..]) {
            (Some(file), _) => Ok(file.clone()),
            (None, [run]) => Ok(run.join("report.html")),
            (None, _) => Err(InputError::Argument {
                message: "a report of several runs needs a file, e.g. `--out report.html`".to_owned(),
            }),
        }
    }

    fn page(&self) -> Result<String> {
        if let Some(file) = &self.matrix {
            return Ok(matrix_page(&Matrix::read(file)?));
        }
        let runs = self.runs.iter().map(|folder| Run::read(folder));
        let runs: Vec<Run> = runs.collect::<Result<_, _>>()?;
        Ok(match &runs[..] {
            [run] => run_page(run, &Pictures::of(&run.folder, run.image_size())),
            runs => compare_page(runs),
        })
    }
}
