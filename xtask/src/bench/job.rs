//! One measurement: what a program is asked, and what it answers.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Task {
    /// Forward, masked loss, backward and AdamW of pre-training
    Pretrain,
    /// Forward, cross-entropy, backward and AdamW of the dense classifier with 1000 classes
    Classify,
    /// The dense classifier's forward pass alone
    Infer,
}

impl Task {
    pub(super) fn name(self) -> &'static str {
        match self {
            Task::Pretrain => "pretrain",
            Task::Classify => "classify",
            Task::Infer => "infer",
        }
    }
}

/// Kind of the activations and matrix products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Dtype {
    F32,
    Bf16,
}

impl Dtype {
    pub(super) fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
        }
    }
}

/// One measurement by one program; both programs understand these options.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Job {
    /// What a step is
    #[arg(long, value_enum, default_value_t = Task::Pretrain)]
    pub(super) task: Task,
    /// Size of the model
    #[arg(long, default_value = "atto")]
    pub(super) model: String,
    /// Images in a batch
    #[arg(long, default_value_t = 32)]
    pub(super) batch: u32,
    /// Side of the square images in pixels, a multiple of 32
    #[arg(long, default_value_t = 224)]
    pub(super) size: u32,
    /// Precision of the matrix products
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub(super) dtype: Dtype,
    /// Share of the patches that is hidden in pre-training [default: 0.6]
    #[arg(long)]
    pub(super) mask_ratio: Option<f64>,
    /// Timed steps in each round; the median counts
    #[arg(long, default_value_t = 7)]
    pub(super) steps: u32,
    /// Threads [default: all cores]
    #[arg(long)]
    pub(super) threads: Option<usize>,
}

impl Job {
    pub(super) fn threads(&self) -> usize {
        threads_or_cores(self.threads)
    }

    /// Task, model, batch and precision in words, for a table's first line.
    pub(super) fn subject(&self) -> String {
        let (task, model, dtype) = (self.task.name(), &self.model, self.dtype.name());
        format!(
            "{task}, {model}, batch {} at {} px, {dtype}",
            self.batch, self.size
        )
    }

    /// Appends the options. The two that a peer of one's own may not know are left out where they are as usual.
    pub(super) fn ask(&self, command: &mut Command) {
        if self.task != Task::Pretrain {
            command.args(["--task", self.task.name()]);
        }
        command.args(["--model", &self.model, "--dtype", self.dtype.name()]);
        let numbers = [
            ("--batch", self.batch),
            ("--size", self.size),
            ("--steps", self.steps),
        ];
        for (name, value) in numbers {
            command.arg(name).arg(value.to_string());
        }
        command.arg("--threads").arg(self.threads().to_string());
        if let Some(ratio) = self.mask_ratio {
            command.arg("--mask-ratio").arg(ratio.to_string());
        }
    }
}

/// As many threads as asked for, or one per core.
pub(super) fn threads_or_cores(threads: Option<usize>) -> usize {
    threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// What one program measured of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measured {
    /// Median seconds of a step.
    pub(super) seconds: f64,
    /// Largest memory of the whole process, in MiB.
    pub(super) peak_mib: f64,
    /// Loss of the first step; inference has none.
    pub(super) first_loss: Option<f64>,
    /// All that it printed.
    line: Value,
}

impl Measured {
    /// Reads what a program printed: the last line is the JSON object.
    pub(super) fn parse(text: &str) -> Result<Measured> {
        let line: Value = serde_json::from_str(text.trim().lines().last().unwrap_or_default())?;
        let number = |key: &str| line[key].as_f64().with_context(|| format!("no number `{key}`"));
        let (seconds, peak_mib) = (number("seconds")?, number("peak_mib")?);
        if seconds <= 0.0 {
            bail!("`seconds` is not above zero");
        }
        Ok(Measured {
            seconds,
            peak_mib,
            first_loss: line["first_loss"].as_f64(),
            line,
        })
    }

    /// Mean seconds per step of each operation by name; the peer tells none.
    pub(super) fn profile(&self) -> BTreeMap<String, f64> {
        let entries = self.line["profile"].as_object().into_iter().flatten();
        entries
            .filter_map(|(name, seconds)| Some((name.clone(), seconds.as_f64()?)))
            .collect()
    }

    /// A number that ours tells and a peer need not.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        self.line[key].as_f64()
    }

    /// A text that ours tells and a peer need not.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.line[key].as_str()
    }

    /// Channels of the stages.
    pub(super) fn dims(&self) -> Vec<u64> {
        let dims = self.line["dims"].as_array().into_iter().flatten();
        dims.filter_map(Value::as_u64).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser;

    use super::*;
    use crate::process;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        job: Job,
    }

    /// A job as one would type it.
    pub(in crate::bench) fn job(words: &[&str]) -> Job {
        Cli::try_parse_from([&["bench"], words].concat()).unwrap().job
    }

    /// What a program would have measured.
    pub(in crate::bench) fn measured(seconds: f64, peak_mib: f64) -> Measured {
        Measured::parse(&format!(
            r#"{{"seconds": {seconds}, "peak_mib": {peak_mib}, "first_loss": 1.0}}"#
        ))
        .unwrap()
    }

    #[test]
    fn options_are_told_in_full_and_usual_ones_left_out() {
        let check = |words: &[&str], expected: &str| {
            let mut command = Command::new("p");
            job(words).ask(&mut command);
            assert_eq!(process::line(&command), expected);
        };
        check(
            &["--batch", "8", "--dtype", "bf16", "--threads", "2"],
            "p --model atto --dtype bf16 --batch 8 --size 224 --steps 7 --threads 2",
        );
        check(
            &["--task", "infer", "--threads", "1", "--mask-ratio", "0.75"],
            "p --task infer --model atto --dtype f32 --batch 32 --size 224 --steps 7 --threads 1 --mask-ratio 0.75",
        );
    }

    #[test]
    fn the_last_line_is_read_and_nonsense_refused() {
        let text = "warming up\n{\"seconds\": 0.5, \"peak_mib\": 900, \"first_loss\": 1.01, \"dims\": [40, 80], \
                    \"profile\": {\"optimizer\": 0.1}, \"visible_share\": 0.4, \"kernels\": \"packed\"}\n";
        let good = Measured::parse(text).unwrap();
        assert_eq!(
            (good.seconds, good.peak_mib, good.first_loss),
            (0.5, 900.0, Some(1.01))
        );
        assert_eq!(good.profile(), BTreeMap::from([("optimizer".to_owned(), 0.1)]));
        assert_eq!(
            (good.number("visible_share"), good.text("kernels")),
            (Some(0.4), Some("packed"))
        );
        assert_eq!(good.dims(), [40, 80]);

        let bare = Measured::parse("{\"seconds\": 0.5, \"peak_mib\": 900, \"first_loss\": null}").unwrap();
        assert_eq!((bare.first_loss, bare.profile().len()), (None, 0));
        assert!(Measured::parse("").is_err() && Measured::parse("{\"seconds\": 1.0}").is_err());
        assert!(Measured::parse("{\"seconds\": 0.0, \"peak_mib\": 900, \"first_loss\": 1.01}").is_err());
    }
}
