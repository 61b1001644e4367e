//! One batch: load, transform and normalise its images on all workers, bad ones replaced or reported.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fcmae_random::{Purpose, Stream};
use rayon::prelude::*;

use super::pool::Pool;
use super::stages::{Stage, Stages};
use super::{Batch, LoaderOptions, Position};
use crate::config::OnError;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::image::Image;
use crate::labels::Targets;
use crate::mix::Mixed;
use crate::storage::Reads;
use crate::transform::Normalize;

/// Everything the workers share.
pub(super) struct Assembler {
    dataset: Arc<Dataset>,
    options: LoaderOptions,
    normalize: Normalize,
    pool: Arc<Pool>,
    /// Samples that failed before: neither tried nor reported again.
    bad: Vec<AtomicBool>,
    reads: Arc<Reads>,
    stages: Arc<Stages>,
}

impl Assembler {
    pub(super) fn new(
        dataset: Arc<Dataset>,
        options: LoaderOptions,
        reads: Arc<Reads>,
        stages: Arc<Stages>,
    ) -> Assembler {
        let normalize = Normalize::new(&options.mean, &options.std);
        let bad = (0..dataset.len()).map(|_| AtomicBool::new(false)).collect();
        Assembler {
            dataset,
            options,
            normalize,
            pool: Arc::default(),
            bad,
            reads,
            stages,
        }
    }

    pub(super) fn options(&self) -> &LoaderOptions {
        &self.options
    }

    /// Makes what is not begun yet end at once.
    pub(super) fn stop(&self) {
        self.reads.stop();
    }

    /// What an error stands for: images are [stopped](DataError::Stopped) because a server stayed away for another one.
    pub(super) fn cause_of(&self, error: DataError) -> DataError {
        self.reads.cause_of(error)
    }

    /// Makes the batch of the images at `places` of the epoch's `order`; runs on the current rayon pool.
    ///
    /// With several bad images the error is that of the first in order, whichever worker met its own first.
    pub(super) fn assemble(
        &self,
        order: &[u32],
        places: Range<usize>,
        position: Position,
    ) -> Result<Batch, DataError> {
        let [height, width] = self.options.transform.size();
        let shape = [places.len(), self.normalize.channels(), height, width];
        let one: usize = shape[1..].iter().product();
        let mut images = self.pool.take(shape[0] * one); // every number of it is written below
        let results: Vec<Result<usize, DataError>> = images
            .par_chunks_exact_mut(one)
            .zip(places.clone())
            .with_max_len(1) // images differ in cost: hand them out one by one
            .map(|(out, place)| self.fill(out, order, place, position.epoch))
            .collect();
        let indices = results.into_iter().collect::<Result<Vec<usize>, DataError>>()?;
        let targets = Targets::of(indices.iter().map(|&index| &self.dataset.samples()[index]));
        let targets = self.stages.time(Stage::Collate, || {
            self.mix(&mut images, shape[0], targets, position)
        });
        let samples = || indices.iter().map(|&index| &self.dataset.samples()[index]);
        let skipped = indices
            .iter()
            .zip(&order[places])
            .filter(|&(&got, &wanted)| got != wanted as usize);
        Ok(Batch {
            images,
            shape,
            targets,
            labels: samples().map(|sample| sample.label).collect(),
            ids: samples().map(|sample| sample.id).collect(),
            epoch: position.epoch,
            batch: position.batch,
            last_of_epoch: false,
            skipped: skipped.count(),
        })
    }

    /// Writes the image at `place` of the order, or its replacement, to `out`; returns its index.
    fn fill(&self, out: &mut [f32], order: &[u32], place: usize, epoch: u64) -> Result<usize, DataError> {
        let (index, image) = match self.options.on_error {
            OnError::Error => {
                let index = order[place] as usize;
                (index, self.load(index)?)
            }
            OnError::Skip => self.load_good(order, place)?,
        };
        let id = self.dataset.samples()[index].id;
        let mut stream = Stream::new(self.options.seed, Purpose::Augment, epoch, id);
        let transform = &self.options.transform;
        let ready = self
            .stages
            .time(Stage::Augment, || transform.apply(&image, &mut stream));
        self.stages.time(Stage::Collate, || {
            self.normalize.write(&ready, out);
            if let Some(erase) = &self.options.erase {
                let mut stream = Stream::new(self.options.seed, Purpose::Erase, epoch, id);
                erase.apply(out, transform.size(), &mut stream);
            }
        });
        Ok(index)
    }

    /// [`Dataset::load`], with the time it takes noted; nothing is begun after a stop.
    fn load(&self, index: usize) -> Result<Arc<Image>, DataError> {
        if self.reads.is_stopped() {
            return Err(DataError::Stopped);
        }
        let cached = self.stages.time(Stage::Decode, || self.dataset.cached(index));
        if let Some(image) = cached {
            return Ok(image);
        }
        let location = &self.dataset.samples()[index].location;
        let bytes = self.stages.time(Stage::Read, || self.reads.read(location))?;
        self.stages
            .time(Stage::Decode, || self.dataset.decode(index, &bytes))
    }

    /// Mixes the images of a batch, and smooths and mixes their targets, if the options say so.
    fn mix(&self, images: &mut [f32], count: usize, targets: Targets, position: Position) -> Targets {
        let (Some(mix), Some(kind)) = (&self.options.mix, self.dataset.label_kind()) else {
            return targets;
        };
        let classes = self.dataset.class_names().len();
        let size = self.options.transform.size();
        let mut stream = Stream::new(self.options.seed, Purpose::Mixup, position.epoch, position.batch);
        let mixed = mix.draw(count, size, &mut stream);
        Mixed::mix_images(&mixed, images, size);
        let mut values = targets.into_rows(classes);
        mix.smooth(&mut values, classes, kind);
        Mixed::mix_rows(&mixed, &mut values, classes);
        Targets::Rows { values, classes }
    }

    /// The first good image at or after `place`, around the end of the order if need be.
    fn load_good(&self, order: &[u32], place: usize) -> Result<(usize, Arc<Image>), DataError> {
        let (before, after) = order.split_at(place);
        for index in after.iter().chain(before).map(|&index| index as usize) {
            if self.bad[index].load(Ordering::Relaxed) {
                continue;
            }
            match self.load(index) {
                Ok(image) => return Ok((index, image)),
                // A server that is down is no fault of the image: the run ends here and goes on when it is back.
                Err(DataError::Stopped) => return Err(DataError::Stopped),
                Err(error) => self.mark_bad(index, &error),
            }
        }
        let index = order[place] as usize;
        match self.load(index) {
            Ok(image) => Ok((index, image)), // it failed only for a while
            Err(DataError::Stopped) => Err(DataError::Stopped),
            Err(last) => Err(DataError::AllBad {
                samples: order.len(),
                last: Box::new(last),
            }),
        }
    }

    fn mark_bad(&self, index: usize, error: &DataError) {
        if !self.bad[index].swap(true, Ordering::Relaxed) {
            self.options.report.tell(error);
        }
    }
}
