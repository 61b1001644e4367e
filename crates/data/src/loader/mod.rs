//! Batches in a deterministic order, made ahead of time by worker threads.

mod assemble;
mod options;
mod pool;
mod position;
mod stages;
#[cfg(test)]
mod stalled;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::dataset::Dataset;
use crate::decode::panic_text;
use crate::error::DataError;
use crate::labels::Targets;
use crate::storage::Reads;
use crate::threads::workers;

use assemble::Assembler;
use position::{Cut, order};
use stages::Stages;

pub use options::{LoaderOptions, Report};
pub use pool::Pixels;
pub use position::Position;
pub use stages::StageTimes;

/// Images of one step, as plain numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Normalised pixels, `[N, C, H, W]`, contiguous.
    pub images: Pixels,
    /// N, C, H, W.
    pub shape: [usize; 4],
    /// Class of each image, where the source knows it.
    pub labels: Vec<Option<u32>>,
    /// What a loss compares the network's outputs with; mixed and smoothed where the options say so.
    pub targets: Targets,
    /// [`Sample::id`](crate::Sample::id) of each image: the key of masks and augmentation.
    pub ids: Vec<u64>,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Batch within the epoch, from 0.
    pub batch: u64,
    /// Whether the next batch belongs to another epoch.
    pub last_of_epoch: bool,
    /// Images that were replaced because they could not be used (`on_error = "skip"`).
    pub skipped: usize,
}

impl Batch {
    /// Where this batch stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            batch: self.batch,
        }
    }
}

/// An endless iterator over batches, epoch after epoch.
///
/// What a batch holds is a function of the data set, the options and its [`Position`] alone: neither the
/// number of workers, nor the prefetch, nor where the loader was started changes a bit. The order of an
/// epoch is keyed by (seed, epoch), the augmentation of an image by (seed, epoch, sample id).
///
/// After an `Err` the loader is at its end. Under `on_error = "skip"` a bad image is replaced by the next
/// good one in the epoch's order, which therefore appears twice, with the same augmentation.
///
/// Where a server stays away, the batches in the making end with that error, whichever image met it first.
///
/// Dropping the loader stops and joins its threads, but for no longer than a second: threads that a server keeps waiting
/// end by themselves, when it answers or has been silent for `data.http_timeout_s`.
///
/// ```no_run
/// use std::sync::Arc;
/// use fcmae_data::*;
///
/// let config = DataConfig { path: Some("photos".into()), ..DataConfig::default() };
/// let dataset = Arc::new(Dataset::open(&config)?);
/// let transform = Transform::train(&AugmentConfig::default(), config.image_size);
/// let options = LoaderOptions::new(&config, transform, 32, 7);
/// let mut loader = Loader::new(dataset, options, Position::default())?;
/// let batch = loader.next().expect("the sequence is endless")?;
/// assert_eq!(batch.shape, [32, 3, 224, 224]);
/// # Ok::<(), DataError>(())
/// ```
#[derive(Debug)]
pub struct Loader {
    /// `None` only while dropping.
    batches: Option<Receiver<Result<Batch, DataError>>>,
    reads: Arc<Reads>,
    maker: Option<JoinHandle<()>>,
    /// Closed when the maker has ended.
    ended: Receiver<Infallible>,
    batches_per_epoch: u64,
    stages: Arc<Stages>,
}

impl Loader {
    /// Starts the threads; the first batch is the one at `start`.
    ///
    /// # Errors
    /// Options that do not fit the data set (channels, an epoch without a batch, a `start` beyond the
    /// end of an epoch), or threads that cannot be started.
    pub fn new(dataset: Arc<Dataset>, options: LoaderOptions, start: Position) -> Result<Loader, DataError> {
        options.validate(&dataset)?;
        let cut = Cut {
            samples: dataset.len(),
            batch_size: options.batch_size,
            drop_last: options.drop_last,
        };
        let start = start.checked(cut.batches())?;
        let pool = workers(options.workers)?;
        let reads = Arc::new(Reads::default());
        let stages = Arc::new(Stages::default());
        let (sender, batches) = sync_channel(options.prefetch);
        let (end, ended) = sync_channel(0);
        let maker = Maker {
            assembler: Arc::new(Assembler::new(dataset, options, reads.clone(), stages.clone())),
            cut,
            pool,
            sender,
        };
        let maker = std::thread::Builder::new()
            .name("fcmae-data".to_owned())
            .spawn(move || {
                maker.run(start);
                drop(end);
            })
            .map_err(|error| DataError::Loader {
                problem: format!("cannot start a thread: {error}"),
            })?;
        Ok(Loader {
            batches: Some(batches),
            reads,
            maker: Some(maker),
            ended,
            batches_per_epoch: cut.batches(),
            stages,
        })
    }

    /// How long the workers have spent on what since the loader was made.
    #[must_use]
    pub fn stage_times(&self) -> StageTimes {
        self.stages.read()
    }

    /// As [`next`](Iterator::next), for somebody who may be asked to stop while no batch comes: looks at `is_stopped`
    /// every tenth of a second, and gives [`DataError::Stopped`] then. The loader itself is where it was.
    pub fn next_unless(&mut self, is_stopped: impl Fn() -> bool) -> Option<Result<Batch, DataError>> {
        const LOOK_EVERY: Duration = Duration::from_millis(100);
        loop {
            match self.batches.as_ref()?.recv_timeout(LOOK_EVERY) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if is_stopped() => return Some(Err(DataError::Stopped)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// All batches, each as [`next_unless`](Loader::next_unless) gives it.
    pub fn unless(mut self, is_stopped: impl Fn() -> bool) -> impl Iterator<Item = Result<Batch, DataError>> {
        std::iter::from_fn(move || self.next_unless(&is_stopped))
    }

    /// Batches in an epoch.
    #[must_use]
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches_per_epoch
    }
}

impl Iterator for Loader {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batches.as_ref()?.recv().ok()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        /// Longer than any image takes that lies on this machine.
        const GRACE: Duration = Duration::from_secs(1);
        self.reads.stop();
        // Closing the channel wakes a maker that waits to hand a batch over.
        self.batches = None;
        if self.ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
            return; // a server stalls, and a read under way cannot be called off
        }
        if let Some(maker) = self.maker.take() {
            // It catches panics itself, so there is nothing to learn from the result.
            let _ = maker.join();
        }
    }
}

/// The thread that has batches made one after the other, each on all workers.
struct Maker {
    assembler: Arc<Assembler>,
    cut: Cut,
    pool: rayon::ThreadPool,
    sender: SyncSender<Result<Batch, DataError>>,
}

/// Batches in the making: while the last images of one keep some workers busy, the others begin the next.
const IN_THE_MAKING: usize = 2;

/// A batch that the workers are at, or the panic of one.
type Making = Receiver<std::thread::Result<Result<Batch, DataError>>>;

impl Maker {
    fn run(self, start: Position) {
        let made = catch_unwind(AssertUnwindSafe(|| self.make_all(start)));
        let error = match made {
            Ok(Ok(())) => return,
            Ok(Err(error)) => self.assembler.cause_of(error),
            Err(panic) => DataError::Loader {
                problem: format!("a worker {}", panic_text(&*panic)),
            },
        };
        // Fails when the loader is being dropped: then nobody wants the error.
        let _ = self.sender.send(Err(error));
    }

    /// Makes batches until the loader is dropped, the epochs are done, or one fails.
    fn make_all(&self, start: Position) -> Result<(), DataError> {
        let options = self.assembler.options();
        let end = options.epochs.map(|epochs| start.epoch.saturating_add(epochs));
        let mut making = VecDeque::new();
        let mut position = start;
        while end.is_none_or(|end| position.epoch < end) {
            let order = order(self.cut.samples, options.shuffle, options.seed, position.epoch);
            let (order, epoch): (Arc<[u32]>, u64) = (order.into(), position.epoch);
            while position.epoch == epoch {
                making.push_back(self.begin(&order, position));
                if making.len() == IN_THE_MAKING && !self.hand_over(&mut making)? {
                    return Ok(());
                }
                position = position.next(self.cut.batches());
            }
        }
        while !making.is_empty() && self.hand_over(&mut making)? {}
        Ok(())
    }

    /// Sets the workers to a batch.
    fn begin(&self, order: &Arc<[u32]>, position: Position) -> Making {
        let (assembler, order, cut) = (self.assembler.clone(), order.clone(), self.cut);
        let (done, making) = sync_channel(1);
        self.pool.spawn_fifo(move || {
            let assemble = || -> Result<Batch, DataError> {
                let mut batch = assembler.assemble(&order, cut.places(position.batch), position)?;
                batch.last_of_epoch = position.next(cut.batches()).epoch != position.epoch;
                Ok(batch)
            };
            let made = catch_unwind(AssertUnwindSafe(assemble));
            drop(assembler); // whoever sees the batch finds the data set free
            let _ = done.send(made);
        });
        making
    }

    /// Waits for the oldest batch in the making and hands it over; `false` if nobody wants it any more.
    fn hand_over(&self, making: &mut VecDeque<Making>) -> Result<bool, DataError> {
        let made = making.pop_front().and_then(|making| making.recv().ok());
        let wanted = match made {
            Some(Ok(Ok(batch))) => Ok(self.sender.send(Ok(batch)).is_ok()),
            Some(Ok(Err(error))) => Err(error),
            Some(Err(panic)) => Err(DataError::Loader {
                problem: format!("a worker {}", panic_text(&*panic)),
            }),
            None => Err(DataError::Loader {
                problem: "the workers have ended early".to_owned(),
            }),
        };
        if !matches!(wanted, Ok(true)) {
            self.assembler.stop();
            making.drain(..).for_each(|making| drop(making.recv())); // nothing goes on behind the loader's back
        }
        wanted
    }
}
