//! `metrics.jsonl`: one JSON object per logged step and per epoch.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::measures::Measures;
use crate::monitored::Monitored;

/// One line of `metrics.jsonl`; the key `kind` says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// A logged optimizer step.
    Step(StepRecord),
    /// A finished epoch.
    Epoch(Box<EpochRecord>),
}

/// A logged optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimizer steps done, this one included.
    pub step: u64,
    /// Epochs done, as a fraction.
    pub epoch: f64,
    /// Loss of this step's images.
    pub loss: f64,
    /// Exponential average of the loss over the steps.
    pub loss_smoothed: f64,
    /// Learning rate of this step.
    pub lr: f64,
    /// Norm of all gradients together, before they were clipped; absent in runs of early versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Images trained on per second since the last logged step.
    pub images_per_second: f64,
    /// Share of that time spent waiting for the data loader, in `[0, 1]`.
    pub data_wait: f64,
}

/// A finished epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Optimizer steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Mean loss over the steps of this epoch; `null` where all of them were passed over (`[guard]`).
    pub train_loss: Option<f64>,
    /// Loss on the held-out images (masked: under fixed masks); absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// What a classifier got right of the held-out images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<Measures>,
    /// The same with the averaged weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_ema: Option<Measures>,
    /// What the features are like, where `[monitor]` asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Box<Monitored>>,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Images of this epoch that could not be read and were left out.
    pub skipped: u64,
    /// Seconds this process spent on the epoch.
    pub seconds: f64,
    /// Memory of the process at the end of the epoch, in MiB, where the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

impl Record {
    /// The optimizer step after which the line was written.
    #[must_use]
    pub fn step(&self) -> u64 {
        match self {
            Record::Step(record) => record.step,
            Record::Epoch(record) => record.step,
        }
    }
}

/// Appends records to `metrics.jsonl`.
#[derive(Debug)]
pub struct MetricsFile {
    file: File,
    damaged: Option<PathBuf>,
}

impl MetricsFile {
    /// Opens `path` for a run that goes on after `step`, and cuts off what a killed process wrote beyond it, so
    /// that the file reads as that of an undisturbed run. Step 0 starts an empty file.
    ///
    /// An epoch line of the very step stays only if that epoch was closed (`epochs_closed`): otherwise it will
    /// be written again. Lines before the last that are no records are left out, and the file is kept as it was in
    /// [`damaged`](MetricsFile::damaged).
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn open(path: &Path, step: u64, epochs_closed: u64) -> io::Result<MetricsFile> {
        let text = match fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let (kept, is_damaged) = keep(&text, step, epochs_closed);
        let damaged = is_damaged.then(|| path.with_extension("jsonl.damaged"));
        if let Some(damaged) = &damaged {
            fs::copy(path, damaged)?;
        }
        let cut = path.with_extension("jsonl.part");
        fs::write(&cut, kept)?;
        fs::rename(&cut, path)?;
        Ok(MetricsFile {
            file: OpenOptions::new().append(true).open(path)?,
            damaged,
        })
    }

    /// The file as it was, where lines of it could not be read and are left out.
    #[must_use]
    pub fn damaged(&self) -> Option<&Path> {
        self.damaged.as_deref()
    }

    /// Appends one line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())
    }
}

/// The lines up to `step`, and whether others are damaged. The last line may be the torn end of a killed write.
fn keep(text: &str, step: u64, epochs_closed: u64) -> (String, bool) {
    let (mut kept, mut is_damaged) = (String::new(), false);
    for line in text.split_inclusive('\n') {
        let is_kept = match serde_json::from_str::<Record>(line) {
            Ok(Record::Step(record)) => record.step <= step,
            Ok(Record::Epoch(record)) => record.step <= step && record.epoch <= epochs_closed,
            Err(_) => {
                is_damaged |= line.ends_with('\n');
                false
            }
        };
        if is_kept {
            kept += line.trim_end();
            kept.push('\n');
        }
    }
    (kept, is_damaged)
}

/// Exponential average of a series, without the bias of its start: the weights always sum to 1.
///
/// ```
/// use fcmae_trainer::Smoothed;
/// let mut loss = Smoothed::default();
/// loss.add(2.0);
/// assert_eq!(loss.value(), 2.0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Smoothed {
    sum: f64,
    weight: f64,
}

impl Smoothed {
    /// Share of the past that one new value leaves: about the last 20 values count.
    const DECAY: f64 = 0.95;

    /// Adds the next value.
    pub fn add(&mut self, value: f64) {
        self.sum = Self::DECAY * self.sum + (1.0 - Self::DECAY) * value;
        self.weight = Self::DECAY * self.weight + (1.0 - Self::DECAY);
    }

    /// The average; NaN before the first value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.sum / self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Record {
        Record::Step(StepRecord {
            step,
            epoch: step as f64 / 3.0,
            loss: 0.1 + 0.2,
            loss_smoothed: 1.0 / 3.0,
            lr: 1e-4,
            grad_norm: None,
            images_per_second: 10.0,
            data_wait: 0.5,
        })
    }

    fn epoch(epoch: u64) -> Record {
        Record::Epoch(Box::new(EpochRecord {
            step: epoch * 2,
            epoch,
            train_loss: Some(0.7),
            val_loss: Some(0.6),
            val: None,
            val_ema: None,
            monitor: None,
            lr: 1e-4,
            skipped: 0,
            seconds: 3.0,
            memory_mib: Some(700),
        }))
    }

    /// Writes all `records`, opens the file again at `step`, and returns the steps that are left.
    fn reopened(records: &[Record], at: u64, closed: u64) -> Vec<Record> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0, 0).unwrap();
        records.iter().for_each(|record| file.write(record).unwrap());
        file.file.write_all(b"{\"kind\":\"step\",\"st").unwrap(); // a torn write
        drop(MetricsFile::open(&path, at, closed).unwrap());
        let text = fs::read_to_string(&path).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_resumed_file_holds_nothing_after_the_checkpoint() {
        let all = [step(1), step(2), epoch(1), step(3), step(4), epoch(2)];
        assert_eq!(reopened(&all, 3, 1), all[..4]);
        assert_eq!(reopened(&all, 4, 1), all[..5]); // stopped before the epoch was closed
        assert_eq!(reopened(&all, 4, 2), all);
        let Record::Epoch(mut passed_over) = epoch(2) else {
            unreachable!()
        };
        passed_over.train_loss = None;
        let all = [step(1), step(2), epoch(1), Record::Epoch(passed_over)];
        assert_eq!(reopened(&all, 4, 2), all);
        assert_eq!(reopened(&all, 0, 0), []);
    }

    #[test]
    fn damaged_lines_are_left_out_and_the_file_is_kept_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0, 0).unwrap();
        (1..4).for_each(|at| file.write(&step(at)).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 0x80; // no UTF-8 any more
        fs::write(&path, &bytes).unwrap();
        let file = MetricsFile::open(&path, 3, 0).unwrap();
        assert_eq!(fs::read(file.damaged().unwrap()).unwrap(), bytes);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert!(MetricsFile::open(&path, 3, 0).unwrap().damaged().is_none());
    }

    #[test]
    fn numbers_survive_the_file_bit_for_bit() {
        let line = serde_json::to_string(&step(7)).unwrap();
        assert!(line.starts_with(r#"{"kind":"step","step":7,"#), "{line}");
        assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), step(7));
    }

    #[test]
    fn the_average_weighs_recent_values_more_and_sums_to_one() {
        let mut smoothed = Smoothed::default();
        (0..500).for_each(|_| smoothed.add(3.0));
        assert!((smoothed.value() - 3.0).abs() < 1e-12);
        smoothed.add(23.0);
        assert!((smoothed.value() - 4.0).abs() < 1e-9);
    }
}
