//! `bench`: whole steps, memory, mask ratios, predictions, single kernels, the loader, a long run; what is compared is measured in one run.

mod data;
mod job;
mod kernels;
mod memory;
mod predict;
mod programs;
mod ratio;
pub(crate) mod report;
mod soak;
mod step;

use anyhow::Result;
use clap::Subcommand;

pub(crate) use report::median;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One step, ours and plain PyTorch's in turn: speed, memory, where our time goes
    Step(step::Options),
    /// Peak memory of the whole process, ours and plain PyTorch's, for several models
    Memory(memory::Options),
    /// Our step at several mask ratios: is the encoder's time proportional to what is visible?
    Ratio(ratio::Options),
    /// Pictures to logits, `fcmae predict` and timm in turn: whole programs, start-up and all
    Predict(predict::Options),
    /// Useful FLOP/s of each kernel, with libtorch's matrix product as the ceiling
    Kernels(kernels::Options),
    /// Images per second of the loader, of its parts, and of torchvision's `ImageFolder` in a `DataLoader`
    Data(data::Options),
    /// A long training: do memory, file handles and throughput stay where they are?
    Soak(soak::Options),
}

/// Measures, prints a table, writes the numbers.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.what {
        What::Step(options) => step::run(options),
        What::Memory(options) => memory::run(options),
        What::Ratio(options) => ratio::run(options),
        What::Predict(options) => predict::run(options),
        What::Kernels(options) => kernels::run(options),
        What::Data(options) => data::run(options),
        What::Soak(options) => soak::run(options),
    }
}
