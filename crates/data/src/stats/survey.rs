//! Everything worth knowing of a data set before training on it.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Histogram, count, moments, sum};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::image::Image;
use crate::threads::workers;

/// What a data set holds.
#[derive(Debug)]
pub struct Survey {
    /// Images that can be used.
    pub images: usize,
    /// Bytes of their files.
    pub bytes: u64,
    /// Bytes of their pixels, decoded: what `data.cache` would need.
    pub decoded_bytes: u64,
    /// Smallest, median and largest width.
    pub width: [usize; 3],
    /// Smallest, median and largest height.
    pub height: [usize; 3],
    /// Mean of each channel over all pixels, in `[0, 1]`: for `data.mean`.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel over all pixels, in `[0, 1]`: for `data.std`.
    pub std: Vec<f64>,
    /// Why images cannot be used, in the data set's order.
    pub unusable: Vec<DataError>,
}

/// Reads and decodes every image once. Colours and pixel limit are those of the data set's config; every pixel counts
/// the same, and the number of threads (0: one per core) changes nothing.
///
/// # Errors
/// No image that can be used, or a server that does not answer.
pub fn survey(dataset: &Dataset, threads: usize) -> Result<Survey, DataError> {
    let channels = dataset.color().channels();
    let one = |mut tally: Tally, index: usize| {
        match look(dataset, index) {
            Ok((image, bytes)) => tally.add(&image, bytes),
            Err(error @ DataError::Fetch { .. }) => return Err(error),
            Err(error) => tally.unusable.push((index, error)),
        }
        Ok(tally)
    };
    let tally = workers(threads)?.install(|| {
        (0..dataset.len())
            .into_par_iter()
            .try_fold(|| Tally::new(channels), one)
            .try_reduce(|| Tally::new(channels), |a, b| Ok(a.join(b)))
    })?;
    tally.finish(dataset)
}

fn look(dataset: &Dataset, index: usize) -> Result<(Arc<Image>, usize), DataError> {
    let bytes = dataset.samples()[index].location.read()?;
    Ok((dataset.decode(index, &bytes)?, bytes.len()))
}

/// What some of the images add up to.
struct Tally {
    counts: Vec<Histogram>,
    bytes: u64,
    decoded_bytes: u64,
    widths: Vec<usize>,
    heights: Vec<usize>,
    unusable: Vec<(usize, DataError)>,
}

impl Tally {
    fn new(channels: usize) -> Tally {
        Tally {
            counts: vec![[0; 256]; channels],
            bytes: 0,
            decoded_bytes: 0,
            widths: Vec::new(),
            heights: Vec::new(),
            unusable: Vec::new(),
        }
    }

    fn add(&mut self, image: &Image, bytes: usize) {
        let counts = count(image.pixels(), self.counts.len());
        self.counts = sum(std::mem::take(&mut self.counts), &counts);
        self.bytes += bytes as u64;
        self.decoded_bytes += image.pixels().len() as u64;
        self.widths.push(image.width());
        self.heights.push(image.height());
    }

    fn join(mut self, other: Tally) -> Tally {
        self.counts = sum(self.counts, &other.counts);
        self.bytes += other.bytes;
        self.decoded_bytes += other.decoded_bytes;
        self.widths.extend(other.widths);
        self.heights.extend(other.heights);
        self.unusable.extend(other.unusable);
        self
    }

    fn finish(mut self, dataset: &Dataset) -> Result<Survey, DataError> {
        self.unusable.sort_by_key(|&(index, _)| index);
        let unusable: Vec<DataError> = self.unusable.into_iter().map(|(_, error)| error).collect();
        if self.widths.is_empty() {
            return Err(match unusable.into_iter().next() {
                Some(first) => DataError::AllBad {
                    samples: dataset.len(),
                    last: Box::new(first),
                },
                None => DataError::TooFewSamples {
                    problem: format!("{}: no images to look at", dataset.origin().display()),
                },
            });
        }
        let (mean, std) = self.counts.iter().map(moments).unzip();
        Ok(Survey {
            images: self.widths.len(),
            bytes: self.bytes,
            decoded_bytes: self.decoded_bytes,
            width: spread(self.widths),
            height: spread(self.heights),
            mean,
            std,
            unusable,
        })
    }
}

/// Smallest, median (of an even number, the upper one) and largest.
fn spread(mut lengths: Vec<usize>) -> [usize; 3] {
    lengths.sort_unstable();
    [lengths[0], lengths[lengths.len() / 2], lengths[lengths.len() - 1]]
}
