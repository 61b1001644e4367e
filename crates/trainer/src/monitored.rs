//! What the features of a network were like after an epoch, as `metrics.jsonl` and TensorBoard have it.

use std::collections::BTreeMap;

use fcmae_analysis::{FeatureReport, LayerMeasures};
use fcmae_encoder::Site;
use serde::{Deserialize, Serialize};

/// What the features were like after an epoch: the measures of `fcmae analyze`, one number per block and site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Monitored {
    /// Images measured.
    pub images: usize,
    /// Mean over the blocks of the cosine distance between the channels of the hidden layer
    /// ([`FeatureReport::hidden_distance`]).
    pub hidden_distance: f64,
    /// Whether that is below `monitor.collapse_below`.
    pub collapsed: bool,
    /// How well the nearest neighbours tell the labels, where there are labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub knn: Option<KnnScore>,
    /// Names of the blocks, in the order of the numbers below.
    pub blocks: Vec<String>,
    /// Cosine distance between channels, by site.
    pub cosine_distance: BTreeMap<Site, Vec<f64>>,
    /// Shares of dead channels, by site.
    pub dead: BTreeMap<Site, Vec<f64>>,
    /// Shares of saturated channels, by site.
    pub saturated: BTreeMap<Site, Vec<f64>>,
    /// Effective ranks of the blocks' outputs.
    pub effective_rank: Vec<f64>,
}

/// How well the labels of images are told by those of their nearest neighbours, each image being left out in turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KnnScore {
    /// Images.
    pub images: usize,
    /// Share of them whose label is told, in `[0, 1]`.
    pub accuracy: f64,
    /// Mean of that share over the classes.
    pub balanced_accuracy: f64,
}

impl Monitored {
    /// The numbers of a report; features have collapsed where channels differ by less than `collapse_below`.
    pub(crate) fn new(report: &FeatureReport, collapse_below: f64, knn: Option<KnnScore>) -> Monitored {
        let by_site = |measure: fn(&LayerMeasures) -> f64| {
            let column = |site: Site| (site, report.at(site).map(measure).collect::<Vec<_>>());
            Site::ALL
                .map(column)
                .into_iter()
                .filter(|(_, numbers)| !numbers.is_empty())
                .collect()
        };
        let outputs = || report.at(Site::Output);
        let hidden_distance = report.hidden_distance();
        Monitored {
            images: report.images,
            hidden_distance,
            collapsed: hidden_distance < collapse_below,
            knn,
            blocks: outputs()
                .map(|layer| format!("stages.{}.{}", layer.stage, layer.block))
                .collect(),
            cosine_distance: by_site(|layer| layer.cosine_distance),
            dead: by_site(|layer| layer.dead),
            saturated: by_site(|layer| layer.saturated),
            effective_rank: outputs().filter_map(|layer| layer.effective_rank).collect(),
        }
    }

    /// Every number by the name that TensorBoard shows.
    pub fn named(&self) -> impl Iterator<Item = (String, f64)> {
        let hidden = [("features/hidden_distance".to_owned(), self.hidden_distance)];
        let knn = self.knn.into_iter().flat_map(|knn| {
            let scores = [
                ("accuracy", knn.accuracy),
                ("balanced_accuracy", knn.balanced_accuracy),
            ];
            scores.map(|(name, value)| (format!("knn/{name}"), value))
        });
        let of_blocks = |name: String, numbers: &[f64]| -> Vec<(String, f64)> {
            let blocks = self.blocks.iter().zip(numbers);
            blocks
                .map(|(block, &number)| (format!("{name}/{block}"), number))
                .collect()
        };
        let tables = [
            ("cosine_distance", &self.cosine_distance),
            ("dead", &self.dead),
            ("saturated", &self.saturated),
        ];
        let by_site = tables.into_iter().flat_map(move |(name, table)| {
            let column = move |(site, numbers): (&Site, &Vec<f64>)| {
                of_blocks(format!("{name}/{}", site.name().replace(' ', "_")), numbers)
            };
            table.iter().flat_map(column)
        });
        let rank = of_blocks("effective_rank".to_owned(), &self.effective_rank);
        hidden.into_iter().chain(knn).chain(by_site).chain(rank)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitored() -> Monitored {
        let layer = |site, cosine_distance| LayerMeasures {
            stage: 0,
            block: 1,
            site,
            channels: 8,
            cosine_distance,
            rms_cosine: 0.5,
            dead: 0.25,
            saturated: 0.0,
            effective_rank: (site == Site::Output).then_some(2.5),
            largest_rank: None,
            selectivity: None,
        };
        let report = FeatureReport {
            images: 3,
            layers: vec![layer(Site::AfterGelu, 0.1 + 0.2), layer(Site::Output, 0.4)],
        };
        let knn = KnnScore {
            images: 9,
            accuracy: 1.0 / 3.0,
            balanced_accuracy: 0.5,
        };
        Monitored::new(&report, 0.31, Some(knn))
    }

    #[test]
    fn features_are_columns_over_the_blocks() {
        let monitored = monitored();
        assert_eq!(
            (monitored.hidden_distance, monitored.collapsed),
            (0.1 + 0.2, true)
        );
        let line = serde_json::to_string(&monitored).unwrap();
        assert!(
            line.contains(r#""cosine_distance":{"after_gelu":[0.30000000000000004],"output":[0.4]}"#),
            "{line}"
        );
        assert_eq!(serde_json::from_str::<Monitored>(&line).unwrap(), monitored);
        let names: Vec<String> = monitored.named().map(|(name, _)| name).collect();
        assert_eq!(
            names[..3],
            [
                "features/hidden_distance",
                "knn/accuracy",
                "knn/balanced_accuracy"
            ]
        );
        assert_eq!(names[3], "cosine_distance/after_GELU/stages.0.1");
        assert_eq!(
            (names.len(), names[9].as_str()),
            (10, "effective_rank/stages.0.1")
        );
    }
}
