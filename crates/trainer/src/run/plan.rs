//! What a run would take: some of its steps are carried out and measured, and the rest is multiplied.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use fcmae_blocks::Watch;
use fcmae_data::{LoaderOptions, Report};
use serde::Serialize;
use tch::nn;

use super::Start;
use super::batches::TrainingBatches;
use super::input::Input;
use super::network::{Network, parameters};
use super::prepare::SPACE_BESIDE;
use super::task::Task;
use crate::config::TrainConfig;
use crate::error::InputError;
use crate::machine::{Machine, memory, peak_memory, reset_peak_memory};
use crate::run_folder::{free_space, refuse_full_disk};

/// Batches before those that count: the loader has filled its queues then, and libtorch its caches.
const WARM_UP: usize = 3;

/// Batches that wait in the loader while a run is measured; more change nothing but memory, which can be computed.
const MEASURED_PREFETCH: usize = 2;

/// Smaller batches are tried as they are: they show what an image takes no better than they tell it.
const WORTH_AN_ESTIMATE: usize = 8;

/// How a run is planned.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Batches that are measured, at least 1.
    pub steps: usize,
    /// Memory that the run may take, in MiB; `None`: what this machine has to give.
    pub memory_mib: Option<u64>,
}

impl Default for PlanOptions {
    fn default() -> PlanOptions {
        PlanOptions {
            steps: 20,
            memory_mib: None,
        }
    }
}

/// What a run would take, on this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// The verb of the run.
    pub verb: &'static str,
    /// Where it would lie.
    pub folder: PathBuf,
    /// What it was measured on.
    pub machine: Machine,
    /// Number of parameters.
    pub parameters: usize,
    /// Images of a batch, and batches of an optimizer step.
    pub batch_size: usize,
    /// Batches of an optimizer step.
    pub accumulate: usize,
    /// Mean time of an optimizer step.
    pub step_seconds: f64,
    /// Images per second.
    pub images_per_second: f64,
    /// Share of the time that was spent waiting for images, in `[0, 1]`.
    pub data_wait: f64,
    /// Largest memory of the process, in MiB, where the system tells: what was measured, the copy that waits while a
    /// checkpoint is written, images that `data.cache` will come to hold, and batches that wait beyond those measured.
    pub peak_mib: Option<u64>,
    /// Memory that there is for it, in MiB; not known of a GPU.
    pub memory_mib: Option<u64>,
    /// Passes over the images.
    pub epochs: u64,
    /// Optimizer steps.
    pub steps: u64,
    /// Time of all these steps; what is done between them (validation, checkpoints) is not in it.
    pub seconds: f64,
    /// Size of a checkpoint, about, in MiB.
    pub checkpoint_mib: u64,
    /// Checkpoints that lie on disk at one time: those kept, and one being written.
    pub checkpoints: usize,
    /// Size of the best weights, which are kept beside them, in MiB.
    pub best_mib: u64,
    /// What is free where they would lie, in MiB.
    pub free_mib: u64,
}

/// Measures the run that `config` describes. Its folder is neither made nor touched.
pub(crate) fn plan<T: Task>(config: &T::Config, options: &PlanOptions) -> Result<Plan> {
    let input = Input::check(config, Start::Continue)?;
    T::check(&input, true)?;
    let settings = &input.settings;
    let vs = nn::VarStore::new(input.device);
    let mut task = T::new(&input, &vs, &Report::none())?;
    let disk = Disk::find(&task, &vs, &settings.run_folder(), settings.checkpoint.keep)?;
    let optimizer = task.optimizer(&vs)?;
    task.begin(&vs)?;
    let mut trial = Trial {
        input: &input,
        network: Network::new(vs, optimizer),
        task,
    };
    let copy = if input.device.is_cuda() {
        0
    } else {
        disk.checkpoint + disk.best
    };
    let memory = if input.device.is_cuda() {
        None
    } else {
        options.memory_mib.or_else(memory)
    };
    if let Some(most) = memory {
        trial.refuse_large_batch(most, copy)?;
    }
    reset_peak_memory();
    let taken = trial.measure(settings.train, options.steps)?;
    let peak_mib = peak_memory().map(|peak| peak + (trial.beside(settings.train.batch_size, copy) >> 20));
    if let (Some(peak), Some(most)) = (peak_mib, memory) {
        refuse_peak(peak, most)?;
    }
    let images = settings.train.images_per_step();
    let step_seconds = taken.step_seconds(settings.train.accumulate);
    let steps = input.beginning.steps_per_epoch * settings.schedule.epochs;
    Ok(Plan {
        verb: T::VERB,
        folder: settings.run_folder(),
        machine: input.beginning.machine.clone(),
        parameters: parameters(&trial.network.vs),
        batch_size: settings.train.batch_size,
        accumulate: settings.train.accumulate,
        step_seconds,
        images_per_second: images as f64 / step_seconds,
        data_wait: taken.waited.as_secs_f64() / taken.whole().as_secs_f64(),
        peak_mib,
        memory_mib: memory,
        epochs: settings.schedule.epochs,
        steps,
        seconds: steps as f64 * step_seconds,
        checkpoint_mib: disk.checkpoint.div_ceil(1 << 20),
        checkpoints: disk.checkpoints,
        best_mib: disk.best.div_ceil(1 << 20),
        free_mib: disk.free >> 20,
    })
}

/// Refuses what was measured to take more than there is: small batches, which are tried without an estimate before.
fn refuse_peak(peak: u64, most: u64) -> Result<(), InputError> {
    if peak <= most {
        return Ok(());
    }
    let message = format!(
        "a run with such batches takes {peak} MiB of the {most} there are; lower it, or {LESS_MEMORY}"
    );
    Err(InputError::config("train.batch_size", message))
}

/// What helps where batches do not.
const LESS_MEMORY: &str =
    "choose a smaller `model`, `activation` = \"recompute\", or less of `data.cache_mib` and `data.prefetch`";

/// Room for checkpoints.
struct Disk {
    /// Bytes of one.
    checkpoint: u64,
    checkpoints: usize,
    /// Bytes of the best weights.
    best: u64,
    free: u64,
}

impl Disk {
    /// Refuses a disk that they would not fit on.
    fn find<T: Task>(task: &T, vs: &nn::VarStore, folder: &Path, keep: usize) -> Result<Disk> {
        let (floats, parameters) = (task.floats(), parameters(vs));
        let disk = Disk {
            checkpoint: floats.checkpoint_bytes(parameters),
            checkpoints: keep.saturating_add(1),
            best: floats.best_bytes(parameters),
            free: free_space(folder)?,
        };
        let checkpoints = disk.checkpoint.saturating_mul(disk.checkpoints as u64);
        let all = checkpoints.saturating_add(disk.best).saturating_add(SPACE_BESIDE);
        refuse_full_disk(folder, disk.free, all)?;
        Ok(disk)
    }
}

/// A run that leaves nothing.
struct Trial<'a, T: Task> {
    input: &'a Input<T::Config>,
    network: Network,
    task: T,
}

/// What some batches took, all together.
#[derive(Debug, Default)]
struct Taken {
    batches: u32,
    /// Waiting for images.
    waited: Duration,
    /// From images to gradients.
    computed: Duration,
    /// From gradients to weights.
    updated: Duration,
}

impl Taken {
    fn whole(&self) -> Duration {
        self.waited + self.computed + self.updated
    }

    /// Mean time of an optimizer step of so many batches; each batch measured had an update of its own.
    fn step_seconds(&self, accumulate: usize) -> f64 {
        let mean = |time: Duration| time.as_secs_f64() / f64::from(self.batches);
        accumulate as f64 * mean(self.waited + self.computed) + mean(self.updated)
    }
}

impl<T: Task> Trial<'_, T> {
    /// Carries out batches as the run would, the optimizer after each, and measures all but the first few.
    fn measure(&mut self, train: TrainConfig, batches: usize) -> Result<Taken> {
        let loading = self.task.loading()?;
        let loading = LoaderOptions {
            batch_size: train.batch_size,
            prefetch: loading.prefetch.min(MEASURED_PREFETCH),
            ..loading
        };
        let dataset = Arc::clone(&self.input.dataset);
        let mut loader = TrainingBatches::start(train, loading, dataset, (0, 0))?;
        let mut taken = Taken::default();
        for number in 0..WARM_UP + batches.max(1) {
            if number == WARM_UP {
                taken = Taken::default();
            }
            self.batch(&mut loader, &mut taken)?;
        }
        Ok(taken)
    }

    fn batch(&mut self, loader: &mut TrainingBatches, taken: &mut Taken) -> Result<()> {
        let optimizer = &mut self.network.optimizer;
        optimizer.zero_grad()?;
        let (batch, waited) = loader.next()?;
        let started = Instant::now();
        let loss = self.task.loss(batch, Watch::default())?;
        loss.f_backward()?;
        let _ = loss.double_value(&[]); // waits for a GPU
        let computed = started.elapsed();
        if self.input.settings.clip_grad > 0.0 {
            let _ = optimizer.clip_grad_norm(self.input.settings.clip_grad);
        }
        optimizer.step(0.0)?; // as much work as any other rate
        self.task.step_done()?;
        taken.batches += 1;
        taken.waited += waited;
        taken.computed += computed;
        taken.updated += started.elapsed() - computed;
        Ok(())
    }

    /// Bytes that a run with such batches comes to take and that no few steps show: the `copy` that a checkpoint takes
    /// while it is written, a cache that fills, and a queue of batches that fills when the trainer does something else.
    fn beside(&self, batch_size: usize, copy: u64) -> u64 {
        let data = &self.input.settings.data;
        let numbers = data.image_size[0] * data.image_size[1] * data.mean.len() * batch_size;
        let waiting = data.prefetch.saturating_sub(MEASURED_PREFETCH);
        copy + self.input.dataset.cache_growth() + (numbers * size_of::<f32>() * waiting) as u64
    }

    /// Refuses batches that would not fit into `most` MiB beside the `copy` bytes that a checkpoint takes while it is
    /// written, before one is tried: two small ones show what an image takes.
    fn refuse_large_batch(&mut self, most: u64, copy: u64) -> Result<()> {
        let wanted = self.input.settings.train.batch_size;
        if wanted < WORTH_AN_ESTIMATE {
            return Ok(());
        }
        let small = (wanted / 8).max(2); // two, because mixing needs pairs
        let (Some(a), Some(b)) = (self.peak_of(small)?, self.peak_of(2 * small)?) else {
            return Ok(()); // the system does not tell
        };
        let all = |batch_size, peak| (batch_size, peak + (self.beside(batch_size, copy) >> 20));
        let line = Line::through(all(small, a), all(2 * small, b));
        Ok(line.refuse(wanted, most)?)
    }

    /// Largest memory while batches of this size are carried out, in MiB.
    fn peak_of(&mut self, batch_size: usize) -> Result<Option<u64>> {
        reset_peak_memory();
        let train = TrainConfig {
            batch_size,
            accumulate: 1,
        };
        self.measure(train, 1)?;
        Ok(peak_memory())
    }
}

/// Memory in MiB as a line over the images of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    at_zero: f64,
    per_image: f64,
}

impl Line {
    fn through((x, a): (usize, u64), (y, b): (usize, u64)) -> Line {
        let per_image = (b as f64 - a as f64).max(0.0) / (y - x) as f64;
        Line {
            at_zero: b as f64 - per_image * y as f64,
            per_image,
        }
    }

    fn refuse(self, batch_size: usize, most: u64) -> Result<(), InputError> {
        let needed = self.at_zero + self.per_image * batch_size as f64;
        if needed <= most as f64 {
            return Ok(());
        }
        let fits = ((most as f64 - self.at_zero) / self.per_image).max(0.0).floor();
        let advice = if fits >= 1.0 {
            format!(
                "about {fits} would fit; lower it, and raise `train.accumulate` to keep the images of a step"
            )
        } else {
            format!("not even one would fit; {LESS_MEMORY}")
        };
        let message =
            format!("{batch_size} images would take about {needed:.0} MiB of the {most} there are; {advice}");
        Err(InputError::config("train.batch_size", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_too_much_is_refused() {
        refuse_peak(100, 100).unwrap();
        let message = refuse_peak(101, 100).unwrap_err().to_string();
        assert!(
            message.starts_with("`train.batch_size`: a run with such batches takes 101 MiB of the 100"),
            "{message}"
        );
    }

    #[test]
    fn a_batch_that_does_not_fit_is_told_what_would() {
        let line = Line::through((8, 300), (16, 460)); // 140 MiB and 20 for each image
        assert_eq!(
            line,
            Line {
                at_zero: 140.0,
                per_image: 20.0
            }
        );
        line.refuse(64, 1420).unwrap();
        let message = |most| line.refuse(64, most).unwrap_err().to_string();
        assert_eq!(
            message(1419),
            "`train.batch_size`: 64 images would take about 1420 MiB of the 1419 there are; about 63 would fit; lower \
             it, and raise `train.accumulate` to keep the images of a step"
        );
        assert!(
            message(150).contains("not even one would fit"),
            "{}",
            message(150)
        );
    }

    #[test]
    fn memory_that_does_not_grow_fits_wherever_it_fits_once() {
        let line = Line::through((8, 500), (16, 490));
        line.refuse(1 << 20, 490).unwrap();
        assert!(line.refuse(8, 400).is_err());
    }

    #[test]
    fn a_step_is_its_batches_and_one_update() {
        let taken = Taken {
            batches: 2,
            waited: Duration::from_secs(2),
            computed: Duration::from_secs(4),
            updated: Duration::from_secs(1),
        };
        assert_eq!(taken.step_seconds(1), 3.5);
        assert_eq!(taken.step_seconds(10), 30.5);
        assert_eq!(taken.whole(), Duration::from_secs(7));
    }
}
