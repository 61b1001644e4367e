//! How much a channel prefers one class.

use tch::{Kind, Tensor};

use super::numbers;

/// Mean responses of channels to the images of each class, from which the class selectivity index follows.
#[derive(Debug)]
pub struct ClassResponses {
    /// `[K, C]`.
    sums: Tensor,
    images: Vec<u32>,
}

impl ClassResponses {
    /// Of `channels` channels to `classes` classes, from no image so far.
    #[must_use]
    pub fn new(classes: usize, channels: i64) -> ClassResponses {
        ClassResponses {
            sums: Tensor::zeros([classes as i64, channels], (Kind::Double, tch::Device::Cpu)),
            images: vec![0; classes],
        }
    }

    /// Adds the responses `[N, C]` to N images, each at least 0, with the images' classes.
    ///
    /// # Panics
    /// When there are not as many labels as images, or a label is beyond the classes.
    pub fn add(&mut self, responses: &Tensor, labels: &[u32]) {
        let responses = responses.to_device(tch::Device::Cpu).to_kind(Kind::Double);
        assert_eq!(responses.size()[0] as usize, labels.len(), "one label per image");
        labels.iter().for_each(|&label| self.images[label as usize] += 1);
        let rows: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        let _ = self.sums.index_add_(0, &Tensor::from_slice(&rows), &responses);
    }

    /// The index of each channel, in `[0, 1]` (Morcos et al. 2018, arXiv 1803.06959; paper App. C, Fig. 7):
    /// `(μ_max − μ_rest) / (μ_max + μ_rest)`, `μ_max` being the mean response to the class that it answers most and
    /// `μ_rest` the mean of the other classes' means. 0: it answers all alike, or never; 1: one alone.
    ///
    /// Classes without an image do not count; with fewer than two there is no index.
    #[must_use]
    pub fn index(&self) -> Option<Vec<f64>> {
        let seen: Vec<i64> = (0..)
            .zip(&self.images)
            .filter(|(_, n)| **n > 0)
            .map(|(class, _)| class)
            .collect();
        let rest = seen.len().checked_sub(1).filter(|&rest| rest > 0)?;
        let counts: Vec<f64> = self
            .images
            .iter()
            .filter(|&&n| n > 0)
            .map(|&n| f64::from(n))
            .collect();
        let means =
            self.sums.index_select(0, &Tensor::from_slice(&seen)) / Tensor::from_slice(&counts).unsqueeze(1);
        let largest = numbers(&means.amax([0i64].as_slice(), false));
        let all = numbers(&means.sum_dim_intlist([0i64].as_slice(), false, Kind::Double));
        let index = |(largest, all): (f64, f64)| {
            let rest = ((all - largest) / rest as f64).max(0.0); // a difference of near numbers may round below 0
            let sum = largest + rest;
            if sum == 0.0 { 0.0 } else { (largest - rest) / sum }
        };
        Some(largest.into_iter().zip(all).map(index).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition in loops.
    fn by_loops(responses: &[Vec<f64>], labels: &[u32], classes: u32) -> Vec<f64> {
        let mut index = Vec::new();
        for channel in 0..responses[0].len() {
            let mut means = Vec::new();
            for class in 0..classes {
                let (mut sum, mut count) = (0.0, 0.0);
                for (response, &label) in responses.iter().zip(labels) {
                    if label == class {
                        sum += response[channel];
                        count += 1.0;
                    }
                }
                if count > 0.0 {
                    means.push(sum / count);
                }
            }
            let best = (0..means.len()).fold(0, |best, at| if means[at] > means[best] { at } else { best });
            let largest = means.remove(best);
            let rest = means.iter().sum::<f64>() / means.len() as f64;
            index.push(if largest + rest == 0.0 {
                0.0
            } else {
                (largest - rest) / (largest + rest)
            });
        }
        index
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_the_definition_in_loops(
            rows in prop::collection::vec((prop::collection::vec(0.0f64..3.0, 5), 0u32..6), 2..40),
            silent in 0usize..5,
        ) {
            let (mut responses, labels): (Vec<Vec<f64>>, Vec<u32>) = rows.into_iter().unzip();
            responses.iter_mut().for_each(|row| row[silent] = 0.0);
            let mut means = ClassResponses::new(6, 5);
            for (row, label) in responses.chunks(3).zip(labels.chunks(3)) {
                means.add(&Tensor::from_slice(&row.concat()).view([-1, 5]), label);
            }
            let is_one_class = labels.iter().all(|&label| label == labels[0]);
            match means.index() {
                None => prop_assert!(is_one_class),
                Some(found) => {
                    prop_assert!(!is_one_class);
                    for (found, expected) in found.iter().zip(by_loops(&responses, &labels, 6)) {
                        prop_assert!((found - expected).abs() < 1e-12, "{} {}", found, expected);
                    }
                }
            }
        }
    }
}
