//! Which classes are taken for which.

use serde::Serialize;

use super::error::MeasureError;
use super::scores::Scores;
use super::tally::{ClassMeasures, Tally, macro_average, mean_recall};

/// Counts `[true class, predicted class]`. As JSON: its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

impl ConfusionMatrix {
    /// A report of more classes has no matrix: it grows with their square, to 3.8 GB for ImageNet-22K.
    pub const MOST_CLASSES: usize = 2000;

    /// Counts the highest scores against the labels.
    ///
    /// # Errors
    /// Labels that do not fit the scores.
    pub fn new(scores: &Scores, labels: &[u32]) -> Result<ConfusionMatrix, MeasureError> {
        scores.check_labels(labels)?;
        Ok(ConfusionMatrix::of(
            scores.classes(),
            labels,
            &scores.predictions(),
        ))
    }

    pub(super) fn of(classes: usize, labels: &[u32], predictions: &[u32]) -> ConfusionMatrix {
        let mut counts = vec![0; classes * classes];
        for (&label, &prediction) in labels.iter().zip(predictions) {
            counts[label as usize * classes + prediction as usize] += 1;
        }
        ConfusionMatrix { classes, counts }
    }

    /// Number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Images of class `truth` that were taken for class `predicted`.
    #[must_use]
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// The rows: for each true class, how often each class was predicted.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes)
    }

    /// Share of images on the diagonal.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        right as f64 / self.counts.iter().sum::<u64>() as f64
    }

    /// Precision, recall and F1 of every class.
    #[must_use]
    pub fn per_class(&self) -> Vec<ClassMeasures> {
        self.tallies().iter().map(Tally::measures).collect()
    }

    /// Mean over the classes that occur, as a label or as a prediction (as scikit-learn has it).
    #[must_use]
    pub fn macro_average(&self) -> ClassMeasures {
        macro_average(&self.tallies())
    }

    /// Mean recall over the classes that have images: what accuracy would be if all had as many.
    #[must_use]
    pub fn balanced_accuracy(&self) -> f64 {
        mean_recall(&self.tallies())
    }

    fn tallies(&self) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.classes];
        for (truth, row) in self.rows().enumerate() {
            tallies[truth].support = row.iter().sum();
            tallies[truth].found = row[truth];
            row.iter()
                .zip(&mut tallies)
                .for_each(|(count, tally)| tally.taken += count);
        }
        tallies
    }
}

impl Serialize for ConfusionMatrix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.rows())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matrix(labels: &[u32], predictions: &[u32], classes: usize) -> ConfusionMatrix {
        ConfusionMatrix::of(classes, labels, predictions)
    }

    #[test]
    fn measures_of_a_worked_example() {
        // scikit-learn, precision_recall_fscore_support(average="macro"): 2/9, 1/3, 4/15
        let m = matrix(&[0, 1, 2, 0, 1, 2], &[0, 2, 1, 0, 0, 1], 3);
        assert_eq!(m.rows().collect::<Vec<_>>(), [[2, 0, 0], [1, 0, 1], [0, 2, 0]]);
        let all = m.macro_average();
        assert!((all.precision - 2.0 / 9.0).abs() < 1e-12);
        assert!((all.recall - 1.0 / 3.0).abs() < 1e-12);
        assert!((all.f1 - 4.0 / 15.0).abs() < 1e-12);
        assert_eq!((m.accuracy(), m.balanced_accuracy()), (1.0 / 3.0, 1.0 / 3.0));
    }

    #[test]
    fn classes_that_do_not_occur_do_not_count() {
        let m = matrix(&[0, 0, 1], &[0, 0, 1], 5);
        assert_eq!((m.macro_average().f1, m.balanced_accuracy()), (1.0, 1.0));
        let m = matrix(&[0, 0], &[0, 2], 3);
        assert_eq!((m.macro_average().recall, m.balanced_accuracy()), (0.25, 0.5));
    }

    #[test]
    fn scores_are_counted_by_their_maximum() {
        let scores = Scores::new(&[0.2, 0.8, 0.7, 0.3], 2).unwrap();
        let m = ConfusionMatrix::new(&scores, &[1, 1]).unwrap();
        assert_eq!((m.count(1, 1), m.count(1, 0)), (1, 1));
        assert_eq!(serde_json::to_string(&m).unwrap(), "[[0,0],[1,1]]");
    }

    proptest! {
        /// Recall weighted by support is accuracy; F1 lies between precision and recall.
        #[test]
        fn measures_agree(pairs in prop::collection::vec((0u32..4, 0u32..4), 1..60)) {
            let (labels, predictions): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let m = matrix(&labels, &predictions, 4);
            let all = m.per_class();
            let support = |class: u32| labels.iter().filter(|&&label| label == class).count() as f64;
            let weighted: f64 = (0..4).map(|c| all[c as usize].recall * support(c)).sum();
            prop_assert!((weighted / labels.len() as f64 - m.accuracy()).abs() < 1e-12);
            for c in all {
                let (low, high) = (c.precision.min(c.recall), c.precision.max(c.recall));
                prop_assert!(c.f1 >= low - 1e-12 && c.f1 <= high + 1e-12);
            }
        }
    }
}
