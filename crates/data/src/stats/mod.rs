//! Mean and standard deviation of a data set's channels, and what else there is to know of its images.

mod survey;

use rayon::prelude::*;

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::threads::workers;

pub use survey::{Survey, survey};

/// Mean and population standard deviation of each channel over all pixels of all images at their full
/// size, with pixels in `[0, 1]`: values for `data.mean` and `data.std`.
///
/// Every pixel counts the same, so large images weigh more. Exact up to the last rounding, whatever the
/// number of threads: pixels are counted by value.
///
/// # Errors
/// The first image, in order, that cannot be loaded; [`DataError::TooFewSamples`] for an empty data set.
pub fn channel_stats(dataset: &Dataset) -> Result<(Vec<f64>, Vec<f64>), DataError> {
    if dataset.is_empty() {
        let problem = format!("{}: no images to take statistics of", dataset.origin().display());
        return Err(DataError::TooFewSamples { problem });
    }
    let channels = dataset.color().channels();
    let counts = workers(0)?.install(|| {
        (0..dataset.len())
            .into_par_iter()
            .map(|index| dataset.load(index).map(|image| count(image.pixels(), channels)))
            .try_reduce(|| vec![[0; 256]; channels], |a, b| Ok(sum(a, &b)))
    })?;
    Ok(counts.iter().map(moments).unzip())
}

/// How many pixels have which value.
type Histogram = [u64; 256];

fn count(pixels: &[u8], channels: usize) -> Vec<Histogram> {
    let mut counts = vec![[0; 256]; channels];
    for pixel in pixels.chunks_exact(channels) {
        for (histogram, &value) in counts.iter_mut().zip(pixel) {
            histogram[usize::from(value)] += 1;
        }
    }
    counts
}

fn sum(mut a: Vec<Histogram>, b: &[Histogram]) -> Vec<Histogram> {
    for (a, b) in a.iter_mut().flatten().zip(b.iter().flatten()) {
        *a += b;
    }
    a
}

fn moments(histogram: &Histogram) -> (f64, f64) {
    let total: u64 = histogram.iter().sum();
    let average = |f: &dyn Fn(f64) -> f64| {
        let terms = histogram
            .iter()
            .enumerate()
            .map(|(value, &n)| n as f64 * f(value as f64 / 255.0));
        terms.sum::<f64>() / total as f64
    };
    let mean = average(&|x| x);
    (mean, average(&|x| (x - mean).powi(2)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_known_sample() {
        // 0, 0, 255, 255, 255: mean 0.6, variance 0.24.
        let (mean, std) = moments(&count(&[0, 0, 255, 255, 255], 1)[0]);
        assert!((mean - 0.6).abs() < 1e-15 && (std - 0.24f64.sqrt()).abs() < 1e-15);
    }

    #[test]
    fn channels_are_kept_apart() {
        let counts = count(&[1, 2, 3, 1, 2, 4], 3);
        assert_eq!(
            (counts[0][1], counts[1][2], counts[2][3], counts[2][4]),
            (2, 2, 1, 1)
        );
        assert_eq!(sum(counts.clone(), &counts)[0][1], 4);
    }
}
