//! How well scores separate positives from negatives: AUROC and average precision, exact with ties.

use super::error::MeasureError;

/// Area under the ROC curve: the probability that a positive scores higher than a negative, ties counting half
/// (Hanley & McNeil 1982). Nothing where there is no positive or no negative.
///
/// # Errors
/// Not one flag per score; a NaN.
pub fn auroc(scores: &[f64], positive: &[bool]) -> Result<Option<f64>, MeasureError> {
    Ok(Ranking::new(scores, positive)?.auroc(None))
}

/// Average precision `Σ (Rₙ − Rₙ₋₁)·Pₙ` over the distinct thresholds, without interpolation (as scikit-learn has it).
/// Nothing where there is no positive.
///
/// # Errors
/// Not one flag per score; a NaN.
pub fn average_precision(scores: &[f64], positive: &[bool]) -> Result<Option<f64>, MeasureError> {
    Ok(Ranking::new(scores, positive)?.average_precision(None))
}

/// Images in the order of falling scores: sorted once, measured as often as the bootstrap likes.
#[derive(Debug)]
pub(super) struct Ranking {
    /// Image, whether it is a positive, and whether the next image has a lower score.
    order: Vec<(u32, bool, bool)>,
}

impl Ranking {
    pub(super) fn new(scores: &[f64], positive: &[bool]) -> Result<Ranking, MeasureError> {
        if scores.len() != positive.len() {
            let (labels, images) = (positive.len(), scores.len());
            return Err(MeasureError::Labels { labels, images });
        }
        if let Some(image) = scores.iter().position(|score| score.is_nan()) {
            return Err(MeasureError::NotANumber { image });
        }
        let mut images: Vec<usize> = (0..scores.len()).collect();
        images.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let closes = |at: usize| {
            images
                .get(at + 1)
                .is_none_or(|&next| scores[next] < scores[images[at]])
        };
        let entry = |(at, &image): (usize, &usize)| (image as u32, positive[image], closes(at));
        let order = images.iter().enumerate().map(entry).collect();
        Ok(Ranking { order })
    }

    /// Weights of positives and negatives at each distinct score, from the highest down. `weights`: how often each
    /// image counts; once where none are given.
    fn groups<'a>(&'a self, weights: Option<&'a [u32]>) -> impl Iterator<Item = (f64, f64)> + 'a {
        self.order
            .chunk_by(|&(_, _, closes), _| !closes)
            .map(move |group| {
                let weigh = |sign: bool| {
                    let members = group.iter().filter(|(_, positive, _)| *positive == sign);
                    members
                        .map(|&(image, ..)| weights.map_or(1.0, |w| f64::from(w[image as usize])))
                        .sum()
                };
                (weigh(true), weigh(false))
            })
    }

    pub(super) fn auroc(&self, weights: Option<&[u32]>) -> Option<f64> {
        let (mut above, mut negatives, mut wins) = (0.0, 0.0, 0.0); // positives above, twice the wins
        for (p, n) in self.groups(weights) {
            wins += n * (2.0 * above + p);
            above += p;
            negatives += n;
        }
        let pairs: f64 = above * negatives;
        (pairs > 0.0).then(|| wins / (2.0 * pairs))
    }

    pub(super) fn average_precision(&self, weights: Option<&[u32]>) -> Option<f64> {
        let (mut hits, mut taken, mut sum) = (0.0, 0.0, 0.0);
        for (p, n) in self.groups(weights) {
            hits += p;
            taken += p + n;
            if p > 0.0 {
                sum += p * hits / taken;
            }
        }
        (hits > 0.0).then(|| sum / hits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition: all pairs.
    fn auroc_of_pairs(scores: &[f64], positive: &[bool]) -> Option<f64> {
        let of = |sign| (0..scores.len()).filter(move |&i| positive[i] == sign);
        let (mut wins, mut pairs) = (0.0, 0.0);
        for p in of(true) {
            for n in of(false) {
                pairs += 1.0;
                wins += if scores[p] > scores[n] {
                    1.0
                } else if scores[p] == scores[n] {
                    0.5
                } else {
                    0.0
                };
            }
        }
        (pairs > 0.0).then(|| wins / pairs)
    }

    /// The definition: precision and recall recounted at every distinct threshold.
    fn average_precision_of_thresholds(scores: &[f64], positive: &[bool]) -> Option<f64> {
        let mut thresholds = scores.to_vec();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let positives = positive.iter().filter(|&&p| p).count() as f64;
        let (mut sum, mut recall) = (0.0, 0.0);
        for threshold in thresholds {
            let taken: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] >= threshold).collect();
            let hits = taken.iter().filter(|&&i| positive[i]).count() as f64;
            sum += (hits / positives - recall) * hits / taken.len() as f64;
            recall = hits / positives;
        }
        (positives > 0.0).then_some(sum)
    }

    #[test]
    fn known_values() {
        // scikit-learn's documentation: roc_auc_score and average_precision_score of these
        let (scores, positive) = ([0.1, 0.4, 0.35, 0.8], [false, false, true, true]);
        assert_eq!(auroc(&scores, &positive).unwrap(), Some(0.75));
        let ap = average_precision(&scores, &positive).unwrap().unwrap();
        assert!((ap - 0.833_333_333_333).abs() < 1e-9, "{ap}");
    }

    #[test]
    fn one_sided_labels_have_no_area() {
        assert_eq!(auroc(&[1.0, 2.0], &[true, true]).unwrap(), None);
        assert_eq!(auroc(&[1.0, 2.0], &[false, false]).unwrap(), None);
        assert_eq!(average_precision(&[1.0], &[false]).unwrap(), None);
        assert_eq!(auroc(&[], &[]).unwrap(), None);
    }

    #[test]
    fn minus_zero_ties_with_zero() {
        assert_eq!(auroc(&[0.0, -0.0], &[true, false]).unwrap(), Some(0.5));
    }

    #[test]
    fn nan_has_no_place() {
        assert_eq!(
            auroc(&[0.0, f64::NAN], &[true, false]).unwrap_err(),
            MeasureError::NotANumber { image: 1 }
        );
    }

    fn scored() -> impl Strategy<Value = Vec<(i8, bool, u32)>> {
        prop::collection::vec((-4i8..4, any::<bool>(), 0u32..4), 1..40)
    }

    proptest! {
        #[test]
        fn the_sorted_sums_are_the_definitions(data in scored()) {
            let scores: Vec<f64> = data.iter().map(|d| f64::from(d.0)).collect();
            let positive: Vec<bool> = data.iter().map(|d| d.1).collect();
            let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-12,
                (a, b) => a == b,
            };
            prop_assert!(close(auroc(&scores, &positive).unwrap(), auroc_of_pairs(&scores, &positive)));
            let fast = average_precision(&scores, &positive).unwrap();
            prop_assert!(close(fast, average_precision_of_thresholds(&scores, &positive)));
        }

        /// A weight is that many copies of an image.
        #[test]
        fn weights_are_copies(data in scored()) {
            let scores: Vec<f64> = data.iter().map(|d| f64::from(d.0)).collect();
            let positive: Vec<bool> = data.iter().map(|d| d.1).collect();
            let weights: Vec<u32> = data.iter().map(|d| d.2).collect();
            let copies: Vec<_> = data.iter().flat_map(|d| vec![(f64::from(d.0), d.1); d.2 as usize]).collect();
            let (copied, flags): (Vec<f64>, Vec<bool>) = copies.into_iter().unzip();
            let (weighted, whole) = (Ranking::new(&scores, &positive).unwrap(), Ranking::new(&copied, &flags).unwrap());
            prop_assert_eq!(weighted.auroc(Some(&weights)), whole.auroc(None));
            prop_assert_eq!(weighted.average_precision(Some(&weights)), whole.average_precision(None));
        }

        /// Turning the scores around turns the area around.
        #[test]
        fn auroc_is_antisymmetric(data in scored()) {
            let scores: Vec<f64> = data.iter().map(|d| f64::from(d.0)).collect();
            let turned: Vec<f64> = scores.iter().map(|s| -s).collect();
            let positive: Vec<bool> = data.iter().map(|d| d.1).collect();
            if let Some(area) = auroc(&scores, &positive).unwrap() {
                prop_assert!((area + auroc(&turned, &positive).unwrap().unwrap() - 1.0).abs() < 1e-12);
            }
        }
    }
}
