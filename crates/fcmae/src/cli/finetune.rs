//! `fcmae finetune`: training with labels, and what came out.

use std::time::Duration;

use anyhow::Result;
use fcmae::trainer::{Best, Ending, FinetuneConfig, Summary, duration, finetune};

use super::run_args::{RunArgs, at_most, ended, how_it_ended};
use super::{Outcome, output};

/// Arguments of `finetune`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let args = &args.run;
    let file = args.config.file("finetune", "configs/finetune/elpv-atto.toml")?;
    let config = FinetuneConfig::load(file, &args.config.overrides())?;
    if args.dry_run {
        return args.show(&config);
    }
    let summary = args.carry_out(file, &config.run_folder(), |options| finetune(&config, options))?;
    if !args.quiet {
        eprint!("{}", farewell(&summary, &super::run_args::command()));
    }
    if args.json {
        output::json(&summary)?;
    }
    Ok(ended(&summary))
}

/// The last lines of a run: what came out, where it is, and the next command to try.
fn farewell(summary: &Summary, command: &str) -> String {
    let mut lines = vec![match summary.ending {
        Ending::Finished => {
            let time = duration(Duration::from_secs_f64(summary.seconds));
            let early = if summary.ended_early {
                " (no better for `selection.patience` epochs)"
            } else {
                ""
            };
            format!(
                "finished {} of {} epochs{early} in {time}, {:.1} img/s{}",
                summary.epoch,
                summary.epochs,
                summary.images_per_second,
                at_most(summary.peak_mib)
            )
        }
        _ => how_it_ended(summary),
    }];
    let found = summary.finetuned.as_ref();
    let bests = [
        ("best", found.and_then(|found| found.best.as_ref())),
        ("averaged", found.and_then(|found| found.best_ema.as_ref())),
    ];
    for (name, best) in bests {
        lines.extend(best.map(|best| format!("{name:<9} {}", describe(best))));
    }
    if let Some(file) = &summary.weights {
        lines.push(format!("newest    {}", file.display()));
    }
    if let Some(file) = &summary.report {
        lines.push(format!("report    {}", file.display()));
    }
    if summary.ending == Ending::Stopped {
        lines.push("next      the same command continues".to_owned());
    } else {
        let best = bests
            .iter()
            .rev()
            .find_map(|(_, best)| best.and_then(|best| best.weights.as_ref()));
        if let Some(weights) = best.or(summary.weights.as_ref()) {
            let weights = weights.display();
            lines.push(format!(
                "next      {command} predict {weights} {}",
                summary.images.display()
            ));
        }
    }
    lines.join("\n") + "\n"
}

fn describe(best: &Best) -> String {
    let file = best.weights.as_ref().map(|file| file.display().to_string());
    format!(
        "epoch {}: {} · {}",
        best.epoch,
        best.measures,
        file.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use fcmae::trainer::{Finetuned, Measures};

    use super::*;
    use crate::cli::run_args::tests::summary;

    #[test]
    fn a_finished_run_names_its_best_weights() {
        let best = Best {
            epoch: 2,
            step: 20,
            measures: Measures {
                loss: 0.4,
                top1: Some(0.875),
                top5: None,
                map: None,
                label_accuracy: None,
                macro_f1: 0.86,
                auroc: Some(0.9375),
            },
            weights: Some("runs/a/checkpoints/best/model.safetensors".into()),
        };
        let summary = Summary {
            ended_early: true,
            finetuned: Some(Finetuned {
                best: Some(best),
                ..Finetuned::default()
            }),
            ..summary(Ending::Finished)
        };
        let expected = "finished 3 of 10 epochs (no better for `selection.patience` epochs) in 1 min 01 s, 40.0 img/s, 812 MiB at most\n\
                        best      epoch 2: top-1 87.50 %, macro F1 0.8600, AUROC 0.9375 · runs/a/checkpoints/best/model.safetensors\n\
                        newest    runs/a/w\n\
                        report    runs/a/report.html\n\
                        next      fcmae predict runs/a/checkpoints/best/model.safetensors photos\n";
        assert_eq!(farewell(&summary, "fcmae"), expected);
    }
}
