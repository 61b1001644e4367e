//! `fcmae plan`: what a run would take, measured.

use std::time::Duration;

use anyhow::Result;
use fcmae::trainer::{
    FinetuneConfig, Plan, PlanOptions, PretrainConfig, duration, is_finetuning, plan_finetune, plan_pretrain,
};

use super::run_args::ConfigArgs;
use super::{Outcome, output};

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Batches to be measured, after three to warm up
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Memory that the run may take, in MiB [default: what this machine has to give]
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let file = args.config.file("plan", "configs/pretrain/quickstart.toml")?;
    let overrides = args.config.overrides();
    let options = PlanOptions {
        steps: args.steps as usize,
        memory_mib: args.memory,
    };
    let plan = if is_finetuning(file, &overrides)? {
        plan_finetune(&FinetuneConfig::load(file, &overrides)?, &options)?
    } else {
        plan_pretrain(&PretrainConfig::load(file, &overrides)?, &options)?
    };
    if args.json {
        output::json(&plan)?;
    } else {
        output::text(&table(&plan))?;
    }
    Ok(Outcome::Done)
}

fn table(plan: &Plan) -> String {
    let mebibytes = |size: Option<u64>| size.map_or("unknown".to_owned(), |size| format!("{size} MiB"));
    let of = plan
        .memory_mib
        .map(|size| format!(" of {size}"))
        .unwrap_or_default();
    let rows = [
        ("run", format!("{} into {}", plan.verb, plan.folder.display())),
        ("machine", plan.machine.to_string()),
        ("parameters", format!("{:.2} M", plan.parameters as f64 / 1e6)),
        ("images/s", format!("{:.1}", plan.images_per_second)),
        (
            "step",
            format!(
                "{:.3} s for {} × {} images",
                plan.step_seconds, plan.accumulate, plan.batch_size
            ),
        ),
        ("waiting for images", format!("{:.1} %", 100.0 * plan.data_wait)),
        ("peak memory", mebibytes(plan.peak_mib) + &of),
        ("steps", format!("{} in {} epochs", plan.steps, plan.epochs)),
        (
            "time",
            format!(
                "{} ({:.2} hours), validation and checkpoints not counted",
                duration(Duration::from_secs_f64(plan.seconds)),
                plan.seconds / 3600.0
            ),
        ),
        (
            "checkpoints",
            format!(
                "{} × {} MiB at most, best weights {} MiB, {} MiB free",
                plan.checkpoints, plan.checkpoint_mib, plan.best_mib, plan.free_mib
            ),
        ),
    ];
    rows.into_iter()
        .map(|(name, value)| format!("{name:<20}{value}\n"))
        .collect()
}
