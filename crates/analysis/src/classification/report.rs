//! The whole table for one label per image.

use serde::Serialize;

use super::bootstrap::{Bootstrap, Measure};
use super::confusion::ConfusionMatrix;
use super::error::MeasureError;
use super::ranking::Ranking;
use super::scores::{Scores, SoftmaxScale, place};
use super::tally::{ClassMeasures, Tally, macro_average, mean_recall, tally};

/// Above this many images × classes × resamples, AUROC is reported without an interval: it would take minutes.
const MOST_RANKED: u64 = 2_000_000_000;
/// Fewer resamples count as so many there: they keep the rankings, 8 bytes × images × classes (so 1 GB at most).
const FEWEST_RESAMPLES: u32 = 16;

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
    /// Counts, true class by predicted class; with at most [`ConfusionMatrix::MOST_CLASSES`] classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion: Option<ConfusionMatrix>,
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
        let (areas, auroc) = areas(scores, labels, bootstrap)?;
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
                Some(mean_recall(&tallies)),
                Some(mean.precision),
                Some(mean.recall),
                Some(mean.f1),
            ]
        });
        let [top1, top5, balanced, precision, recall, f1]: [Option<Measure>; 6] =
            measured.try_into().expect("as many as are measured above");
        let always = |measure: Option<Measure>| measure.expect("defined for any labels");
        let tallies = tally(classes, labels, &predictions, None);
        let is_shown = classes <= ConfusionMatrix::MOST_CLASSES;
        Ok(ClassificationReport {
            images,
            top1: always(top1),
            top5,
            balanced_accuracy: always(balanced),
            macro_precision: always(precision),
            macro_recall: always(recall),
            macro_f1: always(f1),
            auroc,
            per_class: per_class(&tallies, names, &areas),
            confusion: is_shown.then(|| ConfusionMatrix::of(classes, labels, &predictions)),
        })
    }
}

/// The order of images by the probability of a class, made anew whenever it is asked for; of two classes by the margin
/// of the second: unlike probabilities, differences of logits do not saturate.
fn ranker(scores: &Scores, labels: &[u32]) -> impl Fn(usize) -> Result<Ranking, MeasureError> {
    let scales: Vec<SoftmaxScale> = scores.rows().map(SoftmaxScale::of).collect();
    move |class| {
        let key = |(row, scale): (&[f32], &SoftmaxScale)| match row {
            [first, second] => f64::from(*second) - f64::from(*first),
            _ => scale.share(row[class]),
        };
        let column: Vec<f64> = scores.rows().zip(&scales).map(key).collect();
        let of_class: Vec<bool> = labels.iter().map(|&label| label as usize == class).collect();
        Ranking::new(&column, &of_class)
    }
}

/// AUROC of each class (with two classes of the second alone, for the first is its mirror) and their mean. One ranking
/// is held at a time, all of them only to resample.
fn areas(
    scores: &Scores,
    labels: &[u32],
    bootstrap: &Bootstrap,
) -> Result<(Vec<Option<f64>>, Option<Measure>), MeasureError> {
    let (images, classes) = (scores.images(), scores.classes());
    let ranked = if classes == 2 { 1..2 } else { 0..classes };
    let work = images as u64 * ranked.len() as u64 * u64::from(bootstrap.resamples.max(FEWEST_RESAMPLES));
    let resamples = if work > MOST_RANKED {
        0
    } else {
        bootstrap.resamples
    };
    let rank = ranker(scores, labels);
    let (mut areas, mut rankings) = (Vec::new(), Vec::new());
    for class in ranked {
        let ranking = rank(class)?;
        areas.push(ranking.auroc(None));
        if resamples > 0 {
            rankings.push(ranking);
        }
    }
    let mean = |weights: Option<&[u32]>| {
        let areas: Vec<f64> = match weights {
            None => areas.iter().copied().flatten().collect(),
            Some(_) => rankings
                .iter()
                .filter_map(|ranking| ranking.auroc(weights))
                .collect(),
        };
        vec![(!areas.is_empty()).then(|| areas.iter().sum::<f64>() / areas.len() as f64)]
    };
    let bootstrap = Bootstrap {
        resamples,
        ..*bootstrap
    };
    let mean = bootstrap.measure(images, mean).remove(0);
    Ok((areas, mean))
}

fn per_class(tallies: &[Tally], names: &[String], areas: &[Option<f64>]) -> Vec<ClassReport> {
    let of_class = |(class, (tally, name)): (usize, (&Tally, &String))| ClassReport {
        name: name.clone(),
        support: tally.support,
        measures: tally.measures(),
        auroc: areas.get(class).or(areas.first()).copied().flatten(),
    };
    tallies.iter().zip(names).enumerate().map(of_class).collect()
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
    fn many_more_classes_have_no_matrix() {
        for (classes, has_matrix) in [(2000, true), (2001, false)] {
            let mut values = vec![0.0; classes];
            values[7] = 1.0;
            let scores = Scores::new(&values, classes).unwrap();
            let report =
                ClassificationReport::new(&scores, &[7], &names(classes), &Bootstrap::default()).unwrap();
            assert_eq!((report.macro_f1.value, report.per_class[7].support), (1.0, 1));
            assert_eq!(report.confusion.is_some(), has_matrix);
            let json = serde_json::to_value(&report).unwrap();
            assert_eq!(json.get("confusion").is_some(), has_matrix);
        }
    }

    #[test]
    fn names_are_one_per_class() {
        let scores = Scores::new(&[1.0, 0.0], 2).unwrap();
        let error = ClassificationReport::new(&scores, &[0], &names(3), &Bootstrap::default()).unwrap_err();
        assert_eq!(error, MeasureError::Names { names: 3, classes: 2 });
    }
}
