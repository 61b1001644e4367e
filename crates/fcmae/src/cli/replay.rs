//! `fcmae replay`: a step that a run refused, once more, and where its numbers go wrong.

use std::path::PathBuf;

use anyhow::Result;
use fcmae::trainer::{Replay, Seen, replay};

use super::{Outcome, output};

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder of a run that met a step whose loss or gradients are not finite
    run: PathBuf,
    /// Print one JSON object: also every gradient and all that went through the blocks
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let replay = replay(&args.run)?;
    if args.json {
        output::json(&replay)?;
    } else {
        output::text(&text(&replay))?;
    }
    Ok(Outcome::Done)
}

fn text(replay: &Replay) -> String {
    let (step, epoch) = (replay.step, replay.epoch);
    let first = replay.first.as_deref();
    let mut lines = vec![
        format!("step {step} (epoch {epoch}), kept in {}", replay.kept.display()),
        format!("then      {}", replay.problem),
        match first {
            Some(first) => format!("now       first not finite: {first}"),
            None => "now       every number is finite".to_owned(),
        },
    ];
    let differences = &replay.differences;
    lines.extend(
        differences
            .iter()
            .map(|difference| format!("warning   the bits may differ: {difference}")),
    );
    let weights = &replay.weights;
    lines.extend(
        weights
            .iter()
            .map(|name| format!("weights   not finite before the step: {name}")),
    );
    let mut text = lines.join("\n") + "\n\n";

    let batches: Vec<Vec<String>> = replay
        .batches
        .iter()
        .map(|batch| {
            let losses = [batch.loss_then, batch.loss].map(number);
            let [then, now] = losses;
            vec![batch.batch.to_string(), then, now, batch.images.join(" ")]
        })
        .collect();
    text += &output::table(&["batch", "loss then", "loss now", "images"], &batches);
    text.push('\n');
    text += &seen("features", "largest", &replay.features);
    text.push('\n');
    text += &seen("gradient of", "norm", &replay.gradients);
    text
}

/// What was seen, a line each.
fn seen(what: &str, size: &str, all: &[Seen]) -> String {
    let row = |seen: &Seen| vec![seen.name.clone(), number(seen.size), seen.not_finite.to_string()];
    let rows: Vec<_> = all.iter().map(row).collect();
    output::table(&[what, size, "not finite"], &rows)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4e}"))
}

#[cfg(test)]
mod tests {
    use fcmae::trainer::ReplayedBatch;

    use super::*;

    #[test]
    fn what_went_wrong_comes_first() {
        let seen = |name: &str, size, not_finite| Seen {
            name: name.into(),
            size,
            not_finite,
        };
        let replay = Replay {
            kept: "runs/a/bad-step/step-00000001".into(),
            step: 2,
            epoch: 1,
            problem: "the loss is NaN".into(),
            first: Some("what comes out of block encoder.stages.0.0".into()),
            differences: vec!["threads: was 2, is 4".into()],
            batches: vec![ReplayedBatch {
                batch: 1,
                loss_then: None,
                loss: None,
                images: vec!["a.png".into(), "b.png".into()],
            }],
            weights: Vec::new(),
            features: vec![
                seen("what goes into block encoder.stages.0.0", Some(1.5e30), 0),
                seen("what comes out of block encoder.stages.0.0", None, 7),
            ],
            gradients: vec![seen("pred.bias", None, 4)],
        };
        let expected = "\
step 2 (epoch 1), kept in runs/a/bad-step/step-00000001
then      the loss is NaN
now       first not finite: what comes out of block encoder.stages.0.0
warning   the bits may differ: threads: was 2, is 4

batch  loss then  loss now  images
    1  -          -         a.png b.png

features                                    largest    not finite
what goes into block encoder.stages.0.0     1.5000e30           0
what comes out of block encoder.stages.0.0  -                   7

gradient of  norm  not finite
pred.bias    -              4
";
        assert_eq!(text(&replay), expected);
    }
}
