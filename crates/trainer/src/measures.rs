//! What a classifier gets right, in a few numbers.

use std::fmt;

use anyhow::Result;
use fcmae_analysis::{Bootstrap, MultiLabelReport, Scores, auroc, macro_measures, top_k_accuracy};
use serde::{Deserialize, Serialize};

/// Measures of a classifier on a set of labelled images; what does not apply to its kind of labels is absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean loss, without label smoothing and class weights.
    pub loss: f64,
    /// Share of the images whose most likely class is theirs, in `[0, 1]`; for one label an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top1: Option<f64>,
    /// Share of the images whose class is among the five most likely; for more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Mean over the classes of average precision, for several labels an image; absent where no class has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<f64>,
    /// Share of the decisions that are right, for several labels an image: many, where most labels are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_accuracy: Option<f64>,
    /// Mean over the classes of F1.
    pub macro_f1: f64,
    /// Area under the ROC curve, for two classes or one that is there or not; absent where all images agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
}

impl Measures {
    /// Measures logits `[N, classes]` against one label for each image.
    pub(crate) fn of_labels(loss: f64, logits: &[f32], labels: &[u32], classes: usize) -> Result<Measures> {
        let scores = Scores::new(logits, classes)?;
        let area = || {
            let margins: Vec<f64> = scores
                .rows()
                .map(|row| f64::from(row[1]) - f64::from(row[0]))
                .collect();
            let positive: Vec<bool> = labels.iter().map(|&label| label == 1).collect();
            auroc(&margins, &positive)
        };
        Ok(Measures {
            loss,
            top1: Some(top_k_accuracy(&scores, labels, 1)?),
            top5: (classes > 5)
                .then(|| top_k_accuracy(&scores, labels, 5))
                .transpose()?,
            map: None,
            label_accuracy: None,
            macro_f1: macro_measures(&scores, labels)?.f1,
            auroc: if classes == 2 { area()? } else { None },
        })
    }

    /// Measures logits `[N, classes]` against several labels an image, `[N, classes]`.
    pub(crate) fn of_decisions(
        loss: f64,
        logits: &[f32],
        labels: &[bool],
        classes: usize,
    ) -> Result<Measures> {
        let (scores, names) = (Scores::new(logits, classes)?, vec![String::new(); classes]);
        let no_intervals = Bootstrap {
            resamples: 0,
            ..Bootstrap::default()
        };
        let report = MultiLabelReport::new(&scores, labels, &names, &no_intervals)?;
        let right = logits
            .iter()
            .zip(labels)
            .filter(|&(&logit, &label)| (logit > 0.0) == label);
        Ok(Measures {
            loss,
            top1: None,
            top5: None,
            map: report.mean_average_precision.as_ref().map(|mean| mean.value),
            label_accuracy: Some(right.count() as f64 / labels.len() as f64),
            macro_f1: report.macro_f1.value,
            auroc: match &report.per_class[..] {
                [only] => only.auroc,
                _ => None,
            },
        })
    }

    /// Those that there are, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("loss", Some(self.loss)),
            ("top1", self.top1),
            ("top5", self.top5),
            ("map", self.map),
            ("label_accuracy", self.label_accuracy),
            ("macro_f1", Some(self.macro_f1)),
            ("auroc", self.auroc),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, share) in [("top-1", self.top1), ("mAP", self.map)] {
            if let Some(share) = share {
                write!(f, "{name} {:.2} %, ", 100.0 * share)?;
            }
        }
        write!(f, "macro F1 {:.4}", self.macro_f1)?;
        if let Some(auroc) = self.auroc {
            write!(f, ", AUROC {auroc:.4}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_by_hand() {
        // predicted 0, 1, 1, 0; margins −1, 2, 1, −3
        let logits = [0.5, -0.5, 0.0, 2.0, 0.0, 1.0, 3.0, 0.0];
        let found = Measures::of_labels(0.25, &logits, &[1, 1, 0, 0], 2).unwrap();
        assert_eq!((found.loss, found.top1, found.top5), (0.25, Some(0.5), None));
        assert_eq!((found.macro_f1, found.auroc), (0.5, Some(0.75)));
        assert_eq!(found.to_string(), "top-1 50.00 %, macro F1 0.5000, AUROC 0.7500");
        assert_eq!(
            found.named().map(|(name, _)| name).collect::<Vec<_>>(),
            ["loss", "top1", "macro_f1", "auroc"]
        );
    }

    #[test]
    fn six_classes_have_five_best() {
        let logits = [5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0];
        let found = Measures::of_labels(1.0, &logits, &[4, 5], 6).unwrap();
        assert_eq!(
            (found.top1, found.top5, found.auroc),
            (Some(0.0), Some(0.5), None)
        );
    }

    #[test]
    fn memory_does_not_grow_with_the_square_of_the_classes() {
        let classes = 1 << 22; // their pairs would not fit into the address space
        let mut logits = vec![0.0; classes];
        logits[9] = 1.0;
        let found = Measures::of_labels(1.0, &logits, &[9], classes).unwrap();
        assert_eq!(
            (found.top1, found.top5, found.macro_f1),
            (Some(1.0), Some(1.0), 1.0)
        );
    }

    #[test]
    fn decisions_are_counted_one_by_one() {
        let logits = [1.0, -1.0, 1.0, 1.0];
        let found = Measures::of_decisions(0.1, &logits, &[true, false, false, true], 2).unwrap();
        assert_eq!(
            (found.top1, found.label_accuracy, found.auroc),
            (None, Some(0.75), None)
        );
        assert_eq!(found.map, Some(0.75)); // 1 for the second class; of the first both images have the same rank
        assert!(
            found.to_string().starts_with("mAP 75.00 %, macro F1 0.8"),
            "{found}"
        );
        assert!((found.macro_f1 - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn one_decision_has_a_curve() {
        let found = Measures::of_decisions(0.1, &[2.0, -1.0, 1.0], &[true, false, false], 1).unwrap();
        assert_eq!(found.auroc, Some(1.0));
    }
}
