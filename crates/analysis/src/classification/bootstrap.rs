//! How sure a measure is: resampling of the test images.

use fcmae_random::{Purpose, Stream};
use serde::{Deserialize, Serialize};

/// A percentile bootstrap over images (Efron 1979): images are drawn with replacement, the measure is taken again,
/// and the middle `level` of its values is the interval. Draws are keyed by (seed, resample).
///
/// It tells how the measure would vary with other test images of the same kind; not how another training run would
/// do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bootstrap {
    /// Number of resamples; 0 leaves the intervals out.
    pub resamples: u32,
    /// Share of the resamples inside the interval, in `(0, 1)`.
    pub level: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Bootstrap {
    /// 1,000 resamples, 95 %.
    fn default() -> Bootstrap {
        Bootstrap {
            resamples: 1000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// A measure and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measure {
    /// On the images as they are.
    pub value: f64,
    /// Standard error: deviation over the resamples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
    /// Low and high end of the interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

impl Bootstrap {
    /// Measures `images` images: `measure(None)` on all of them and, for each resample, `measure(Some(weights))`,
    /// where an image counts as often as it was drawn. Entry by entry of what `measure` returns; an entry that is
    /// `None` on all images is left out, and one that is undefined on a resample (a class that was not drawn) does
    /// without that resample.
    pub(super) fn measure(
        &self,
        images: usize,
        measure: impl Fn(Option<&[u32]>) -> Vec<Option<f64>>,
    ) -> Vec<Option<Measure>> {
        let values = measure(None);
        let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); values.len()];
        let mut weights = vec![0; images];
        for resample in 0..self.resamples {
            self.draw(resample, &mut weights);
            for (all, value) in drawn.iter_mut().zip(measure(Some(&weights))) {
                all.extend(value);
            }
        }
        let sure = |(value, drawn): (Option<f64>, Vec<f64>)| Some(self.summarise(value?, drawn));
        values.into_iter().zip(drawn).map(sure).collect()
    }

    /// How often each image is drawn.
    fn draw(&self, resample: u32, weights: &mut [u32]) {
        let mut stream = Stream::new(self.seed, Purpose::Resample, 0, u64::from(resample));
        weights.fill(0);
        for _ in 0..weights.len() {
            weights[stream.below(weights.len() as u32) as usize] += 1;
        }
    }

    fn summarise(&self, value: f64, mut drawn: Vec<f64>) -> Measure {
        drawn.sort_by(f64::total_cmp);
        let n = drawn.len() as f64;
        let mean = drawn.iter().sum::<f64>() / n;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let tail = (1.0 - self.level) / 2.0;
        let enough = drawn.len() > 1;
        Measure {
            value,
            standard_error: enough.then(|| variance.sqrt()),
            interval: enough.then(|| [percentile(&drawn, tail), percentile(&drawn, 1.0 - tail)]),
        }
    }
}

/// Linear between the two nearest of sorted values (numpy's default).
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let at = share.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean of the weighted values.
    fn mean(values: &[f64], weights: Option<&[u32]>) -> f64 {
        match weights {
            None => values.iter().sum::<f64>() / values.len() as f64,
            Some(w) => {
                values.iter().zip(w).map(|(v, &w)| v * f64::from(w)).sum::<f64>() / values.len() as f64
            }
        }
    }

    #[test]
    fn the_standard_error_of_a_share_is_the_binomial_one() {
        let hits: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 5 != 0))).collect(); // 80 %
        let bootstrap = Bootstrap {
            resamples: 4000,
            ..Bootstrap::default()
        };
        let all = bootstrap.measure(hits.len(), |w| vec![Some(mean(&hits, w)), None]);
        let measure = all[0].unwrap();
        assert_eq!(measure.value, 0.8);
        let expected = (0.8f64 * 0.2 / 400.0).sqrt(); // 0.02
        let error = measure.standard_error.unwrap();
        assert!((error / expected - 1.0).abs() < 0.05, "{error} {expected}");
        let [low, high] = measure.interval.unwrap();
        assert!((low - (0.8 - 1.96 * expected)).abs() < 0.004, "{low}");
        assert!((high - (0.8 + 1.96 * expected)).abs() < 0.004, "{high}");
        assert_eq!(all[1], None);
    }

    #[test]
    fn the_same_seed_draws_the_same_images() {
        let values: Vec<f64> = (0..50).map(f64::from).collect();
        let run = |seed| {
            let bootstrap = Bootstrap {
                resamples: 50,
                seed,
                ..Bootstrap::default()
            };
            bootstrap.measure(50, |w| vec![Some(mean(&values, w))])
        };
        assert_eq!(run(3), run(3));
        assert_ne!(run(3), run(4));
    }

    #[test]
    fn without_resamples_there_is_no_interval() {
        let none = Bootstrap {
            resamples: 0,
            ..Bootstrap::default()
        };
        let measure = none.measure(3, |_| vec![Some(0.5)])[0].unwrap();
        assert_eq!(
            (measure.value, measure.standard_error, measure.interval),
            (0.5, None, None)
        );
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let sorted = [0.0, 1.0, 2.0, 3.0];
        let all = [0.0, 0.5, 0.9, 1.0].map(|share| percentile(&sorted, share));
        assert!(
            all.iter()
                .zip([0.0, 1.5, 2.7, 3.0])
                .all(|(a, b)| (a - b).abs() < 1e-12),
            "{all:?}"
        );
    }
}
