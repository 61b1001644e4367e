//! The table for any number of labels per image.

use serde::Serialize;

use super::bootstrap::{Bootstrap, Measure};
use super::error::MeasureError;
use super::ranking::Ranking;
use super::scores::Scores;
use super::tally::{ClassMeasures, Tally};

/// All measures of a classifier whose classes are decided one by one. Scores are logits: a class is predicted where
/// its logit is above 0, which is a probability above ½.
#[derive(Debug, Clone, Serialize)]
pub struct MultiLabelReport {
    /// Images measured.
    pub images: usize,
    /// Mean average precision over the classes that have images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_average_precision: Option<Measure>,
    /// Mean F1 over the classes that occur, as labels or as predictions.
    pub macro_f1: Measure,
    /// F1 of all decisions together.
    pub micro_f1: Measure,
    /// Share of images with every class right.
    pub exact_match: Measure,
    /// One row per class.
    pub per_class: Vec<MultiLabelClass>,
}

/// Measures of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MultiLabelClass {
    /// Its name.
    pub name: String,
    /// Images of it.
    pub support: u64,
    /// Precision, recall and F1.
    #[serde(flatten)]
    pub measures: ClassMeasures,
    /// Average precision, where the class has images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_precision: Option<f64>,
    /// Area under the ROC curve, where there are images of it and others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
}

impl MultiLabelReport {
    /// Measures logits `[N, K]` against labels `[N, K]`, row-major.
    ///
    /// # Errors
    /// Labels or names that do not fit the scores.
    pub fn new(
        scores: &Scores,
        labels: &[bool],
        names: &[String],
        bootstrap: &Bootstrap,
    ) -> Result<MultiLabelReport, MeasureError> {
        let (images, classes) = (scores.images(), scores.classes());
        if labels.len() != images * classes {
            let labels = labels.len() / classes;
            return Err(MeasureError::Labels { labels, images });
        }
        if names.len() != classes {
            let names = names.len();
            return Err(MeasureError::Names { names, classes });
        }
        let predicted: Vec<bool> = scores.rows().flatten().map(|&logit| logit > 0.0).collect();
        let rankings = rankings(scores, labels)?;
        let measured = bootstrap.measure(images, |weights| {
            let tallies = tally(classes, labels, &predicted, weights);
            let precisions: Vec<f64> = rankings
                .iter()
                .filter_map(|r| r.average_precision(weights))
                .collect();
            vec![
                (!precisions.is_empty()).then(|| precisions.iter().sum::<f64>() / precisions.len() as f64),
                Some(super::tally::macro_average(&tallies).f1),
                Some(sum(&tallies).measures().f1),
                Some(exact_match(classes, labels, &predicted, weights)),
            ]
        });
        let [precision, macro_f1, micro_f1, exact]: [Option<Measure>; 4] =
            measured.try_into().expect("as many as are measured above");
        let always = |measure: Option<Measure>| measure.expect("defined for any labels");
        let of_class = |((tally, ranking), name): ((&Tally, &Ranking), &String)| MultiLabelClass {
            name: name.clone(),
            support: tally.support,
            measures: tally.measures(),
            average_precision: ranking.average_precision(None),
            auroc: ranking.auroc(None),
        };
        let tallies = tally(classes, labels, &predicted, None);
        Ok(MultiLabelReport {
            images,
            mean_average_precision: precision,
            macro_f1: always(macro_f1),
            micro_f1: always(micro_f1),
            exact_match: always(exact),
            per_class: tallies.iter().zip(&rankings).zip(names).map(of_class).collect(),
        })
    }
}

fn rankings(scores: &Scores, labels: &[bool]) -> Result<Vec<Ranking>, MeasureError> {
    let classes = scores.classes();
    let of_class = |class: usize| {
        let column: Vec<f64> = scores.rows().map(|row| f64::from(row[class])).collect();
        let positive: Vec<bool> = labels.chunks_exact(classes).map(|row| row[class]).collect();
        Ranking::new(&column, &positive)
    };
    (0..classes).map(of_class).collect()
}

fn weight(weights: Option<&[u32]>, image: usize) -> u64 {
    weights.map_or(1, |w| u64::from(w[image]))
}

fn tally(classes: usize, labels: &[bool], predicted: &[bool], weights: Option<&[u32]>) -> Vec<Tally> {
    let mut tallies = vec![Tally::default(); classes];
    for (at, (&label, &predicted)) in labels.iter().zip(predicted).enumerate() {
        let (tally, weight) = (&mut tallies[at % classes], weight(weights, at / classes));
        tally.support += weight * u64::from(label);
        tally.taken += weight * u64::from(predicted);
        tally.found += weight * u64::from(label && predicted);
    }
    tallies
}

fn sum(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::default(), |a, b| Tally {
        found: a.found + b.found,
        taken: a.taken + b.taken,
        support: a.support + b.support,
    })
}

fn exact_match(classes: usize, labels: &[bool], predicted: &[bool], weights: Option<&[u32]>) -> f64 {
    let rows = labels
        .chunks_exact(classes)
        .zip(predicted.chunks_exact(classes))
        .enumerate();
    let images = labels.len() / classes;
    let exact: u64 = rows
        .filter(|(_, (l, p))| l == p)
        .map(|(image, _)| weight(weights, image))
        .sum();
    exact as f64 / images as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example() {
        let values = [2.0, -1.0, 1.0, 1.0, -1.0, 3.0];
        let scores = Scores::new(&values, 2).unwrap();
        let labels = [true, false, false, true, true, true];
        let names = ["crack".to_owned(), "dark".to_owned()];
        let report = MultiLabelReport::new(&scores, &labels, &names, &Bootstrap::default()).unwrap();
        let [crack, dark] = &report.per_class[..] else {
            panic!("two classes")
        };
        assert_eq!((crack.support, crack.measures.f1), (2, 0.5)); // one right, one false, one missed
        assert_eq!((dark.support, dark.measures.f1), (2, 1.0));
        assert_eq!(report.macro_f1.value, 0.75);
        assert_eq!(report.micro_f1.value, 0.75); // 2·3 / (4 + 4)
        assert_eq!(report.exact_match.value, 1.0 / 3.0);
        // crack's images by score: right, wrong, right
        assert!((crack.average_precision.unwrap() - (1.0 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        let map = report.mean_average_precision.unwrap().value;
        assert!((map - (5.0 / 6.0 + 1.0) / 2.0).abs() < 1e-12);
        assert_eq!((crack.auroc, dark.auroc), (Some(0.5), Some(1.0)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let scores = Scores::new(&[1.0, 0.0], 2).unwrap();
        let names = ["a".to_owned(), "b".to_owned()];
        let refused = |labels: &[bool], names: &[String]| {
            MultiLabelReport::new(&scores, labels, names, &Bootstrap::default()).unwrap_err()
        };
        assert_eq!(
            refused(&[true; 4], &names),
            MeasureError::Labels { labels: 2, images: 1 }
        );
        assert_eq!(
            refused(&[true; 2], &names[..1]),
            MeasureError::Names { names: 1, classes: 2 }
        );
    }
}
