//! `fcmae probe`: how much frozen features know of the labels.

use std::path::PathBuf;

use anyhow::Result;
use fcmae::trainer::{KnnTrial, LinearTrial, ProbeReport};
use serde_json::json;

use super::evaluate::single_label;
use super::measured::Measured;
use super::weights::{WeightsArgs, tell_unreadable};
use super::{Outcome, output};

/// Arguments of `probe`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// Folder for `probe.json` and the features, which a later call finds again [default: `probe` in the folder of
    /// the run, else `runs/probe`]
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let inference = args.weights.open()?;
    let weights = &args.weights.weights;
    let default = || {
        if weights.is_dir() {
            weights.join("probe")
        } else {
            PathBuf::from("runs/probe")
        }
    };
    let folder = args.output.clone().unwrap_or_else(default);
    let report = inference.probe(&folder)?;
    args.weights.tell(&inference);
    tell_unreadable(&report.unreadable);
    let split = &inference.config.test_split;
    Measured::new(&inference, &report.data, Some(split))?.write(&folder.join("probe.json"), &report)?;
    if args.json {
        output::json(&json!({"weights": inference.file, "output": folder, "report": report}))?;
    } else {
        output::text(&describe(&report, inference.config.bootstrap.level))?;
        output::text(&format!("\nreport and features: {}\n", folder.display()))?;
    }
    Ok(Outcome::of_pictures(&report.unreadable))
}

fn describe(report: &ProbeReport, level: f64) -> String {
    let (train, val) = (report.train_images, report.val_images);
    let cached = if report.cached {
        "; features from an earlier call"
    } else {
        ""
    };
    let mut text = format!("{train} training images, {val} of them for choices{cached}\n\nlinear probe\n");
    let linear = |trial: &LinearTrial| {
        vec![
            trial.layer.clone(),
            trial.lr.to_string(),
            trial.weight_decay.to_string(),
            format!("{:.4}", trial.val_accuracy),
        ]
    };
    let rows: Vec<_> = best_of_layers(&report.linear.trials, |t| (&t.layer, t.val_accuracy))
        .map(linear)
        .collect();
    text += &output::table(&["layer", "best lr", "weight decay", "held-out accuracy"], &rows);
    text += &format!("\ntest, {}\n", report.linear.chosen.layer);
    text += &single_label(&report.linear.test, &report.class_names, level);
    text += "\nnearest neighbours\n";
    let knn = |trial: &KnnTrial| {
        vec![
            trial.layer.clone(),
            trial.k.to_string(),
            format!("{:.4}", trial.val_accuracy),
        ]
    };
    let rows: Vec<_> = best_of_layers(&report.knn.trials, |t| (&t.layer, t.val_accuracy))
        .map(knn)
        .collect();
    text += &output::table(&["layer", "best k", "held-out accuracy"], &rows);
    text += &format!(
        "\ntest, {}, k = {}\n",
        report.knn.chosen.layer, report.knn.chosen.k
    );
    text + &single_label(&report.knn.test, &report.class_names, level)
}

/// The first of the best trials of each layer; trials of a layer follow each other.
fn best_of_layers<'a, T>(
    trials: &'a [T],
    of: impl Fn(&T) -> (&String, f64) + Copy + 'a,
) -> impl Iterator<Item = &'a T> {
    let layers = trials.chunk_by(move |a, b| of(a).0 == of(b).0);
    layers.filter_map(move |layer| {
        layer
            .iter()
            .reduce(|best, next| if of(next).1 > of(best).1 { next } else { best })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_shows_its_best() {
        let trial = |layer: &str, k, val_accuracy| KnnTrial {
            layer: layer.to_owned(),
            k,
            val_accuracy,
        };
        let all = [
            trial("a", 1, 0.5),
            trial("a", 5, 0.7),
            trial("a", 9, 0.7),
            trial("b", 1, 0.2),
        ];
        let best: Vec<_> = best_of_layers(&all, |t| (&t.layer, t.val_accuracy))
            .map(|t| t.k)
            .collect();
        assert_eq!(best, [5, 1]);
    }
}
