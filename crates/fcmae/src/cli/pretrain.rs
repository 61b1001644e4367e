//! `fcmae pretrain`: a run, and what to do with it afterwards.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use fcmae::trainer::{Ending, PretrainConfig, Summary, duration, pretrain};

use super::run_args::{RunArgs, at_most, command, ended, how_it_ended};
use super::{Outcome, output};

/// Arguments of `pretrain`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    run: RunArgs,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let args = &args.run;
    let file = args.config.file("pretrain", "configs/pretrain/quickstart.toml")?;
    let config = PretrainConfig::load(file, &args.config.overrides())?;
    if args.dry_run {
        return args.show(&config);
    }
    let summary = args.carry_out(file, &config.run_folder(), |options| pretrain(&config, options))?;
    if !args.quiet {
        eprint!("{}", farewell(&summary, &command()));
    }
    if args.json {
        output::json(&summary)?;
    }
    Ok(ended(&summary))
}

/// The last lines of a run: what came out, where it is, and the next commands to try.
fn farewell(summary: &Summary, command: &str) -> String {
    let mut lines = vec![ending(summary)];
    let path = |path: &Path| path.display().to_string();
    lines.extend(
        summary
            .reconstruction
            .as_deref()
            .map(|file| format!("pictures  {}", path(file))),
    );
    lines.extend(
        summary
            .weights
            .as_deref()
            .map(|file| format!("weights   {}", path(file))),
    );
    lines.extend(
        summary
            .report
            .as_deref()
            .map(|file| format!("report    {}", path(file))),
    );
    let (run, images) = (path(&summary.run), path(&summary.images));
    match summary.ending {
        Ending::Stopped => lines.push("next      the same command continues".to_owned()),
        Ending::Finished | Ending::AlreadyFinished => {
            let epochs = 2 * summary.epochs;
            lines.push(format!(
                "next      {command} reconstruct {run} {images} --mask-ratio 0.75"
            ));
            lines.push(format!(
                "          {command} pretrain {run} --set schedule.epochs={epochs}"
            ));
        }
    }
    lines.join("\n") + "\n"
}

fn ending(summary: &Summary) -> String {
    if summary.ending != Ending::Finished {
        return how_it_ended(summary);
    }
    let time = duration(Duration::from_secs_f64(summary.seconds));
    let (epochs, rate) = (summary.epochs, summary.images_per_second);
    let loss = match (summary.first_held_out_loss, summary.held_out_loss) {
        (Some(first), Some(last)) => format!("held-out loss {first:.4} → {last:.4}"),
        _ => format!("loss {:.4}", summary.train_loss.unwrap_or(f64::NAN)),
    };
    let memory = at_most(summary.peak_mib);
    format!("finished {epochs} epochs in {time}, {rate:.1} img/s{memory}; {loss}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::run_args::tests::summary;

    #[test]
    fn a_finished_run_says_what_to_try_next() {
        let text = farewell(&summary(Ending::Finished), "cargo xtask");
        let expected = "finished 10 epochs in 1 min 01 s, 40.0 img/s, 812 MiB at most; held-out loss 0.9000 → 0.6500\n\
                        weights   runs/a/w\n\
                        report    runs/a/report.html\n\
                        next      cargo xtask reconstruct runs/a photos --mask-ratio 0.75\n          \
                        cargo xtask pretrain runs/a --set schedule.epochs=20\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_stopped_run_says_how_to_go_on() {
        let text = farewell(&summary(Ending::Stopped), "fcmae");
        assert!(
            text.starts_with("stopped and saved at step 30, after 3 of 10 epochs\n"),
            "{text}"
        );
        assert!(text.ends_with("next      the same command continues\n"), "{text}");
    }
}
