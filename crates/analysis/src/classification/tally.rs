//! What a class needs to be measured by: how many are found, taken for it, and of it.

use serde::Serialize;

use super::error::MeasureError;
use super::scores::Scores;

/// Precision, recall and F1 of one class, in `[0, 1]`; 0 where a denominator is 0 (as scikit-learn has it).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassMeasures {
    /// Of the images taken for this class, the share that is of it.
    pub precision: f64,
    /// Of the images of this class, the share that is found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// Counts of one class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Images of the class that are taken for it.
    pub(super) found: u64,
    /// Images that are taken for the class.
    pub(super) taken: u64,
    /// Images of the class.
    pub(super) support: u64,
}

impl Tally {
    pub(super) fn measures(&self) -> ClassMeasures {
        ClassMeasures {
            precision: ratio(self.found, self.taken),
            recall: ratio(self.found, self.support),
            f1: ratio(2 * self.found, self.taken + self.support),
        }
    }
}

/// Counts every class; an image counts as often as its weight says, once where there are no weights.
pub(super) fn tally(
    classes: usize,
    labels: &[u32],
    predictions: &[u32],
    weights: Option<&[u32]>,
) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); classes];
    for (image, (&label, &prediction)) in labels.iter().zip(predictions).enumerate() {
        let weight = weights.map_or(1, |w| u64::from(w[image]));
        tallies[label as usize].support += weight;
        tallies[prediction as usize].taken += weight;
        if label == prediction {
            tallies[label as usize].found += weight;
        }
    }
    tallies
}

/// Mean precision, recall and F1 over the classes that occur, as a label or as a prediction (as scikit-learn has it).
///
/// # Errors
/// Labels that do not fit the scores.
pub fn macro_measures(scores: &Scores, labels: &[u32]) -> Result<ClassMeasures, MeasureError> {
    scores.check_labels(labels)?;
    let tallies = tally(scores.classes(), labels, &scores.predictions(), None);
    Ok(macro_average(&tallies))
}

/// Mean over the classes that occur, as a label or as a prediction.
pub(super) fn macro_average(tallies: &[Tally]) -> ClassMeasures {
    let occurs = |tally: &&Tally| tally.support + tally.taken > 0;
    let present: Vec<_> = tallies.iter().filter(occurs).map(Tally::measures).collect();
    let mean =
        |part: fn(&ClassMeasures) -> f64| present.iter().map(part).sum::<f64>() / present.len().max(1) as f64;
    ClassMeasures {
        precision: mean(|m| m.precision),
        recall: mean(|m| m.recall),
        f1: mean(|m| m.f1),
    }
}

/// Mean recall over the classes that have images: what accuracy would be if all had as many.
///
/// # Errors
/// Labels that do not fit the scores.
pub fn balanced_accuracy(scores: &Scores, labels: &[u32]) -> Result<f64, MeasureError> {
    scores.check_labels(labels)?;
    let tallies = tally(scores.classes(), labels, &scores.predictions(), None);
    Ok(mean_recall(&tallies))
}

/// Mean recall over the classes that have images.
pub(super) fn mean_recall(tallies: &[Tally]) -> f64 {
    let present: Vec<_> = tallies.iter().filter(|tally| tally.support > 0).collect();
    present.iter().map(|tally| tally.measures().recall).sum::<f64>() / present.len().max(1) as f64
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_that_many_images() {
        let weighted = tally(2, &[0, 1, 1], &[0, 0, 1], Some(&[2, 0, 3]));
        assert_eq!(weighted, tally(2, &[0, 0, 1, 1, 1], &[0, 0, 1, 1, 1], None));
        assert_eq!(
            weighted[1],
            Tally {
                found: 3,
                taken: 3,
                support: 3
            }
        );
    }

    #[test]
    fn nothing_divided_by_nothing_is_zero() {
        let measures = Tally::default().measures();
        assert_eq!(
            (measures.precision, measures.recall, measures.f1),
            (0.0, 0.0, 0.0)
        );
        assert_eq!(macro_average(&[Tally::default()]).f1, 0.0);
    }
}
