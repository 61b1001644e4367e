//! How many images each class has, and a part of the labels.

use std::collections::BTreeMap;

use fcmae_random::{Purpose, Stream, hash64};

use crate::config::ensure;
use crate::dataset::Dataset;
use crate::error::DataError;

impl Dataset {
    /// Number of images of each class, `[K]`; with soft or multi-label targets the sums of the rows'
    /// columns. Images without a label count nowhere.
    #[must_use]
    pub fn class_counts(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.class_names().len()];
        for sample in self.samples() {
            match (&sample.row, sample.label) {
                (Some(row), _) => counts
                    .iter_mut()
                    .zip(&row[..])
                    .for_each(|(c, &x)| *c += f64::from(x)),
                (None, Some(label)) => counts[label as usize] += 1.0,
                (None, None) => {}
            }
        }
        counts
    }

    /// The part of the samples that learning from few labels may use: of each class the `fraction` whose
    /// names have the smallest keyed hash, rounded, at least one. Ids, order and classes stay.
    ///
    /// A smaller fraction's samples are among a larger one's. The choice depends on `seed`, the names and the
    /// labels alone, and is independent of that of
    /// [`split_validation`](Dataset::split_validation). Multi-label samples are one class.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] when `fraction` is not in `(0, 1]`.
    pub fn label_subset(&self, fraction: f64, seed: u64) -> Result<Dataset, DataError> {
        ensure(
            0.0 < fraction && fraction <= 1.0,
            "labels.fraction",
            fraction.to_string(),
            || "must be above 0 and at most 1".to_owned(),
        )?;
        let mut classes: BTreeMap<Option<u32>, Vec<(u64, usize)>> = BTreeMap::new();
        for (index, sample) in self.samples().iter().enumerate() {
            let key = Stream::new(seed, Purpose::Subset, 0, hash64(sample.name.as_bytes())).next_u64();
            classes.entry(sample.label).or_default().push((key, index));
        }
        let mut kept = vec![false; self.len()];
        for members in classes.values_mut() {
            members.sort_unstable();
            let count = (members.len() as f64 * fraction).round().max(1.0) as usize;
            for &(_, index) in &members[..count] {
                kept[index] = true;
            }
        }
        Ok(self.part(|index| kept[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::listed;
    use proptest::prelude::*;

    fn ids(dataset: &Dataset) -> Vec<u64> {
        dataset.samples().iter().map(|sample| sample.id).collect()
    }

    fn count(dataset: &Dataset, label: u32) -> usize {
        dataset
            .samples()
            .iter()
            .filter(|s| s.label == Some(label))
            .count()
    }

    #[test]
    fn a_tenth_is_a_tenth_of_each_class() {
        let part = listed(&[(Some(0), 100), (Some(1), 7), (Some(2), 26)])
            .label_subset(0.1, 3)
            .unwrap();
        assert_eq!([count(&part, 0), count(&part, 1), count(&part, 2)], [10, 1, 3]);
        assert_eq!(part.class_counts(), [10.0, 1.0, 3.0]);
        assert!(ids(&part).is_sorted());
    }

    #[test]
    fn the_validation_split_does_not_decide_the_subset() {
        let all = listed(&[(Some(0), 4000)]);
        let (_, held_out) = all.split_validation(0.25, 3).unwrap();
        let subset = ids(&all.label_subset(0.25, 3).unwrap());
        let both = ids(&held_out)
            .iter()
            .filter(|id| subset.binary_search(id).is_ok())
            .count();
        // Hypergeometric: mean 250, deviation 11.9; five of them.
        assert!((190..=310).contains(&both), "{both}");
    }

    #[test]
    fn fractions_out_of_range_are_refused() {
        for fraction in [0.0, -0.5, 1.01, f64::NAN] {
            let message = listed(&[(Some(0), 3)])
                .label_subset(fraction, 0)
                .unwrap_err()
                .to_string();
            assert!(message.contains("labels.fraction"), "{message}");
        }
    }

    #[test]
    fn soft_labels_count_by_their_probabilities() {
        let mut dataset = listed(&[(Some(0), 2), (Some(1), 1)]);
        dataset.set_rows(&[&[0.75, 0.25], &[1.0, 0.0], &[0.5, 0.5]]);
        assert_eq!(dataset.class_counts(), [2.25, 0.75]);
    }

    proptest! {
        #[test]
        fn a_small_part_lies_in_a_large_one(
            a in 0usize..40, b in 1usize..40, c in 1usize..40, small in 0.01f64..1.0, more in 1.0f64..3.0, seed in any::<u64>(),
        ) {
            let all = listed(&[(None, a), (Some(0), b), (Some(1), c)]);
            let large = (small * more).min(1.0);
            let (small, large) = (ids(&all.label_subset(small, seed).unwrap()), ids(&all.label_subset(large, seed).unwrap()));
            prop_assert!(small.iter().all(|id| large.binary_search(id).is_ok()));
            prop_assert_eq!(ids(&all.label_subset(1.0, seed).unwrap()), ids(&all));
        }
    }
}
