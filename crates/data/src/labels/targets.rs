//! The labels of a batch as a loss takes them.

use crate::dataset::Sample;

/// What the images of a batch are labelled with.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Nothing: the data set was not opened for labels.
    None,
    /// One class per image, `[N]`.
    Classes(Vec<u32>),
    /// One row per image, `[N, K]` contiguous: probabilities that sum to 1, or K independent numbers in
    /// `[0, 1]` (multi-label). Whatever was mixed or smoothed is rows.
    Rows {
        /// The numbers.
        values: Vec<f32>,
        /// K.
        classes: usize,
    },
}

impl Targets {
    /// The targets of `samples`: rows where all have one, else classes where all have one.
    pub(crate) fn of<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> Targets {
        if let Some(rows) = samples
            .clone()
            .map(|s| s.row.as_deref())
            .collect::<Option<Vec<_>>>()
        {
            let classes = rows.first().map_or(0, |row| row.len());
            return Targets::Rows {
                values: rows.concat(),
                classes,
            };
        }
        let classes = samples.map(|s| s.label).collect::<Option<Vec<u32>>>();
        classes.map_or(Targets::None, Targets::Classes)
    }

    /// The targets as rows `[N, classes]`: a class becomes a 1 among zeros.
    ///
    /// # Panics
    /// When there are no targets, or a class or a row does not fit `classes`.
    #[must_use]
    pub fn into_rows(self, classes: usize) -> Vec<f32> {
        match self {
            Targets::None => panic!("targets of images without labels"),
            Targets::Rows {
                values,
                classes: found,
            } => {
                assert_eq!(found, classes, "classes of the rows");
                values
            }
            Targets::Classes(labels) => {
                let mut rows = vec![0.0; labels.len() * classes];
                for (row, label) in rows.chunks_exact_mut(classes).zip(labels) {
                    row[label as usize] = 1.0;
                }
                rows
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(label: Option<u32>, row: Option<&[f32]>) -> Sample {
        Sample {
            location: "x.png".into(),
            name: "x.png".into(),
            label,
            row: row.map(Into::into),
            id: 0,
        }
    }

    #[test]
    fn rows_go_before_classes_and_a_gap_is_none() {
        let both = [
            sample(Some(1), Some(&[0.2, 0.8])),
            sample(Some(0), Some(&[1.0, 0.0])),
        ];
        let rows = Targets::of(both.iter());
        assert_eq!(rows.into_rows(2), [0.2, 0.8, 1.0, 0.0]);
        let classes = [sample(Some(1), None), sample(Some(0), None)];
        assert_eq!(Targets::of(classes.iter()), Targets::Classes(vec![1, 0]));
        let gap = [sample(Some(1), None), sample(None, None)];
        assert_eq!(Targets::of(gap.iter()), Targets::None);
    }

    #[test]
    fn a_class_is_a_one_among_zeros() {
        assert_eq!(
            Targets::Classes(vec![2, 0]).into_rows(3),
            [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
        );
    }
}
