//! Scores of images for classes: rows of logits or probabilities, and what follows from their order.

use super::error::MeasureError;

/// A view of scores `[N, K]`, row-major: N ≥ 1 images, K ≥ 1 classes, no NaN. Higher means more likely.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    values: &'a [f32],
    classes: usize,
}

impl<'a> Scores<'a> {
    /// Checks the buffer.
    ///
    /// # Errors
    /// No rows, a buffer that is not whole rows, a NaN.
    pub fn new(values: &'a [f32], classes: usize) -> Result<Scores<'a>, MeasureError> {
        if values.is_empty() {
            return Err(MeasureError::Empty);
        }
        if classes == 0 || !values.len().is_multiple_of(classes) {
            let values = values.len();
            return Err(MeasureError::Shape { values, classes });
        }
        if let Some(at) = values.iter().position(|value| value.is_nan()) {
            return Err(MeasureError::NotANumber { image: at / classes });
        }
        Ok(Scores { values, classes })
    }

    /// Number of images, N.
    #[must_use]
    pub fn images(&self) -> usize {
        self.values.len() / self.classes
    }

    /// Number of classes, K.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The scores of each image.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f32]> + use<'a> {
        self.values.chunks_exact(self.classes)
    }

    /// The class with the highest score of each image; of equal ones the first.
    #[must_use]
    pub fn predictions(&self) -> Vec<u32> {
        self.rows().map(first_maximum).collect()
    }

    /// Refuses labels that do not fit these scores.
    pub(super) fn check_labels(&self, labels: &[u32]) -> Result<(), MeasureError> {
        if labels.len() != self.images() {
            let (labels, images) = (labels.len(), self.images());
            return Err(MeasureError::Labels { labels, images });
        }
        match labels.iter().position(|&label| label as usize >= self.classes) {
            None => Ok(()),
            Some(image) => Err(MeasureError::Label {
                image,
                label: labels[image],
                classes: self.classes,
            }),
        }
    }
}

fn first_maximum(row: &[f32]) -> u32 {
    let mut best = 0;
    for (class, score) in row.iter().enumerate() {
        if *score > row[best] {
            best = class;
        }
    }
    best as u32
}

/// Place of a class in its row, from 0: the number of classes before it in the order of falling scores. Of equal
/// scores the lower class comes first, so a row of equal scores is no success by accident.
pub(super) fn place(row: &[f32], class: u32) -> usize {
    let (class, own) = (class as usize, row[class as usize]);
    let before = |&(other, &score): &(usize, &f32)| score > own || (score == own && other < class);
    row.iter().enumerate().filter(before).count()
}

/// Share of images whose label is among the `k` highest scores.
///
/// # Errors
/// Labels that do not fit the scores.
pub fn top_k_accuracy(scores: &Scores, labels: &[u32], k: usize) -> Result<f64, MeasureError> {
    scores.check_labels(labels)?;
    let hits = scores
        .rows()
        .zip(labels)
        .filter(|(row, label)| place(row, **label) < k);
    Ok(hits.count() as f64 / labels.len() as f64)
}

/// The `k` classes with the highest scores of a row, best first; of equal ones the lower class first.
#[must_use]
pub fn top_k_classes(row: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    let key = |class: usize| row[class] + 0.0; // -0 equals 0
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    order.truncate(k);
    order
}

/// Probabilities of a row of logits, in f64: `exp(z) / Σ exp(z)`.
#[must_use]
pub fn softmax(row: &[f32]) -> Vec<f64> {
    let scale = SoftmaxScale::of(row);
    row.iter().map(|&z| scale.share(z)).collect()
}

/// What turns any logit of a row into its probability: one class can be looked at without all others kept.
pub(super) struct SoftmaxScale {
    highest: f64,
    sum: f64,
}

impl SoftmaxScale {
    pub(super) fn of(row: &[f32]) -> SoftmaxScale {
        let highest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum = row.iter().map(|&z| (f64::from(z) - highest).exp()).sum();
        SoftmaxScale { highest, sum }
    }

    pub(super) fn share(&self, logit: f32) -> f64 {
        (f64::from(logit) - self.highest).exp() / self.sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_label_must_be_among_the_k_best() {
        let values = [3.0, 1.0, 2.0, 0.0, 5.0, 4.0];
        let scores = Scores::new(&values, 3).unwrap();
        assert_eq!(scores.predictions(), [0, 1]);
        let top = |k| top_k_accuracy(&scores, &[2, 2], k).unwrap();
        assert_eq!([top(1), top(2), top(3)], [0.0, 1.0, 1.0]);
        assert_eq!(top_k_classes(&values[..3], 2), [0, 2]);
    }

    #[test]
    fn equal_scores_are_no_success_by_accident() {
        let scores = Scores::new(&[1.0; 8], 4).unwrap();
        assert_eq!(top_k_accuracy(&scores, &[0, 3], 1).unwrap(), 0.5);
        assert_eq!(top_k_accuracy(&scores, &[2, 3], 3).unwrap(), 0.5);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |values: &[f32], classes| Scores::new(values, classes).unwrap_err();
        assert_eq!(refused(&[], 2), MeasureError::Empty);
        assert_eq!(
            refused(&[1.0; 3], 2),
            MeasureError::Shape {
                values: 3,
                classes: 2
            }
        );
        assert_eq!(
            refused(&[1.0; 3], 0),
            MeasureError::Shape {
                values: 3,
                classes: 0
            }
        );
        assert_eq!(
            refused(&[1.0, 1.0, f32::NAN, 1.0], 2),
            MeasureError::NotANumber { image: 1 }
        );
        let scores = Scores::new(&[1.0; 4], 2).unwrap();
        let refused = |labels: &[u32]| top_k_accuracy(&scores, labels, 1).unwrap_err();
        assert_eq!(refused(&[0]), MeasureError::Labels { labels: 1, images: 2 });
        assert_eq!(
            refused(&[0, 2]),
            MeasureError::Label {
                image: 1,
                label: 2,
                classes: 2
            }
        );
    }

    #[test]
    fn softmax_of_large_logits_is_finite() {
        let shares = softmax(&[1e30, 1e30, -1e30]);
        assert_eq!(shares, [0.5, 0.5, 0.0]);
    }

    proptest! {
        /// The prediction is what comes first, and the places of a row are a permutation.
        #[test]
        fn places_are_a_permutation(row in prop::collection::vec((-3i8..3).prop_map(f32::from), 1..12)) {
            let order = top_k_classes(&row, row.len());
            for (place_of, &class) in order.iter().enumerate() {
                prop_assert_eq!(place(&row, class as u32), place_of);
            }
            prop_assert_eq!(order[0] as u32, first_maximum(&row));
        }

        #[test]
        fn probabilities_sum_to_one(row in prop::collection::vec(-80f32..80.0, 1..12)) {
            prop_assert!((softmax(&row).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }
}
