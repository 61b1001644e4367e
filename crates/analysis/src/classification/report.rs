//! The whole table for one label per image.

use serde::Serialize;

use super::bootstrap::{Bootstrap, Measure};
use super::confusion::ConfusionMatrix;
use super::error::MeasureError;
use super::ranking::Ranking;
use super::scores::{Scores, place, softmax};
use super::tally::{ClassMeasures, balanced_accuracy, macro_average, tally};

/// Above this many images × classes × resamples, AUROC is reported without an interval: it would take minutes.
const MOST_RANKED: u64 = 2_000_000_000;

/// All measures of a classifier with one label per image.
#[derive(Debug, Clone, Serialize)]
pub struct ClassificationReport {
    /// Images measured.
    pub images: usize,
    /// Share of images whose label has the highest score.
    pub top1: Measure,
    /// Share of images whose label is among the five highest scores; with more than five classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top5: Option<Measure>,
    /// Mean recall over the classes that have images.
    pub balanced_accuracy: Measure,
    /// Mean over the classes that occur.
    pub macro_precision: Measure,
    /// Mean over the classes that occur.
    pub macro_recall: Measure,
    /// Mean over the classes that occur.
    pub macro_f1: Measure,
    /// Area under the ROC curve. With two classes: of the second one. With more: of each class's probability against
    /// the rest, mean over the classes where it is defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<Measure>,
    /// One row per class.
    pub per_class: Vec<ClassReport>,
    /// Counts, true class by predicted class.
    pub confusion: ConfusionMatrix,
}

/// Measures of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Images of it.
    pub support: u64,
    /// Precision, recall and F1.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// Area under the ROC curve of this class against the rest, where both have images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
}

impl ClassificationReport {
    /// Measures scores against labels.
    ///
    /// # Errors
    /// Labels or names that do not fit the scores.
    pub fn new(
        scores: &Scores,
        labels: &[u32],
        names: &[String],
        bootstrap: &Bootstrap,
    ) -> Result<ClassificationReport, MeasureError> {
        scores.check_labels(labels)?;
        let (images, classes) = (scores.images(), scores.classes());
        if names.len() != classes {
            let names = names.len();
            return Err(MeasureError::Names { names, classes });
        }
        let predictions = scores.predictions();
        let places: Vec<usize> = scores
            .rows()
            .zip(labels)
            .map(|(row, &label)| place(row, label))
            .collect();
        let rankings = rankings(scores, labels)?;
        let measured = bootstrap.measure(images, |weights| {
            let share = |k: usize| {
                let weight = |image: usize| weights.map_or(1, |w| u64::from(w[image]));
                let hits: u64 = (0..images).filter(|&image| places[image] < k).map(weight).sum();
                hits as f64 / images as f64
            };
            let tallies = tally(classes, labels, &predictions, weights);
            let mean = macro_average(&tallies);
            vec![
                Some(share(1)),
                (classes > 5).then(|| share(5)),
                Some(balanced_accuracy(&tallies)),
                Some(mean.precision),
                Some(mean.recall),
                Some(mean.f1),
            ]
        });
        let [top1, top5, balanced, precision, recall, f1]: [Option<Measure>; 6] =
            measured.try_into().expect("as many as are measured above");
        let always = |measure: Option<Measure>| measure.expect("defined for any labels");
        let confusion = ConfusionMatrix::of(classes, labels, &predictions);
        Ok(ClassificationReport {
            images,
            top1: always(top1),
            top5,
            balanced_accuracy: always(balanced),
            macro_precision: always(precision),
            macro_recall: always(recall),
            macro_f1: always(f1),
            auroc: macro_auroc(&rankings, images, bootstrap),
            per_class: per_class(&confusion, names, &rankings),
            confusion,
        })
    }
}

/// A ranking per class; with two classes of the second alone, for the first is its mirror.
fn rankings(scores: &Scores, labels: &[u32]) -> Result<Vec<Ranking>, MeasureError> {
    if scores.classes() == 2 {
        // unlike probabilities, differences of logits do not saturate
        let margins: Vec<f64> = scores
            .rows()
            .map(|row| f64::from(row[1]) - f64::from(row[0]))
            .collect();
        return Ok(vec![Ranking::new(&margins, &is_class(labels, 1))?]);
    }
    let shares: Vec<Vec<f64>> = scores.rows().map(softmax).collect();
    let of_class = |class: usize| {
        let column: Vec<f64> = shares.iter().map(|row| row[class]).collect();
        Ranking::new(&column, &is_class(labels, class))
    };
    (0..scores.classes()).map(of_class).collect()
}

fn is_class(labels: &[u32], class: usize) -> Vec<bool> {
    labels.iter().map(|&label| label as usize == class).collect()
}

fn macro_auroc(rankings: &[Ranking], images: usize, bootstrap: &Bootstrap) -> Option<Measure> {
    let work = images as u64 * rankings.len() as u64 * u64::from(bootstrap.resamples);
    let resamples = if work > MOST_RANKED {
        0
    } else {
        bootstrap.resamples
    };
    let bootstrap = Bootstrap {
        resamples,
        ..*bootstrap
    };
    let mean = |weights: Option<&[u32]>| {
        let areas: Vec<f64> = rankings
            .iter()
            .filter_map(|ranking| ranking.auroc(weights))
            .collect();
        vec![(!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)]
    };
    bootstrap.measure(images, mean).remove(0)
}

fn per_class(confusion: &ConfusionMatrix, names: &[String], rankings: &[Ranking]) -> Vec<ClassReport> {
    let of_class = |(class, measures): (usize, ClassMeasures)| ClassReport {
        name: names[class].clone(),
        support: confusion.rows().nth(class).map_or(0, |row| row.iter().sum()),
        measures,
        auroc: rankings
            .get(class)
            .or(rankings.first())
            .and_then(|ranking| ranking.auroc(None)),
    };
    confusion
        .per_class()
        .into_iter()
        .enumerate()
        .map(of_class)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("class {class}")).collect()
    }

    #[test]
    fn two_classes() {
        let values = [2.0, 1.0, 0.0, 3.0, 1.0, 1.5, 4.0, 0.0];
        let scores = Scores::new(&values, 2).unwrap();
        let report =
            ClassificationReport::new(&scores, &[0, 1, 0, 1], &names(2), &Bootstrap::default()).unwrap();
        assert_eq!(report.top1.value, 0.5);
        assert_eq!(report.top5, None);
        // margins −1, 3, ½, −4 with labels 0, 1, 0, 1: two of four pairs
        assert_eq!(report.auroc.unwrap().value, 0.5);
        assert_eq!(report.per_class[0].auroc, report.per_class[1].auroc);
        let [low, high] = report.top1.interval.unwrap();
        assert!(low <= 0.5 && 0.5 <= high);
    }

    #[test]
    fn many_classes() {
        // six images of six classes: each is second best but for the last, which is last
        let mut values = vec![0.0f32; 36];
        for image in 0..6 {
            values[image * 6 + (image + 1) % 6] = 2.0;
            values[image * 6 + image] = if image == 5 { -1.0 } else { 1.0 };
        }
        let scores = Scores::new(&values, 6).unwrap();
        let labels = [0, 1, 2, 3, 4, 5];
        let report = ClassificationReport::new(&scores, &labels, &names(6), &Bootstrap::default()).unwrap();
        assert_eq!((report.top1.value, report.top5.unwrap().value), (0.0, 5.0 / 6.0));
        assert_eq!(report.per_class.len(), 6);
        let mean = report.per_class.iter().map(|c| c.auroc.unwrap()).sum::<f64>() / 6.0;
        assert!((report.auroc.unwrap().value - mean).abs() < 1e-12);
    }

    #[test]
    fn one_class_alone_has_no_area() {
        let scores = Scores::new(&[1.0, 0.0, 1.0, 0.0], 2).unwrap();
        let report = ClassificationReport::new(&scores, &[0, 0], &names(2), &Bootstrap::default()).unwrap();
        assert_eq!(report.auroc, None);
        assert_eq!(report.top1.value, 1.0);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["confusion"], serde_json::json!([[2, 0], [0, 0]]));
        assert!(json.get("auroc").is_none() && json["per_class"][0]["recall"] == 1.0);
    }

    #[test]
    fn names_are_one_per_class() {
        let scores = Scores::new(&[1.0, 0.0], 2).unwrap();
        let error = ClassificationReport::new(&scores, &[0], &names(3), &Bootstrap::default()).unwrap_err();
        assert_eq!(error, MeasureError::Names { names: 3, classes: 2 });
    }
}
