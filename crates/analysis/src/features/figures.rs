//! Curves over the depth of networks, several of them in one plot.

use fcmae_encoder::Site;

use super::report::{FeatureReport, LayerMeasures};
use crate::plot::{Axis, Chart, Figure, Line};

/// A network by name.
type Named = (String, FeatureReport);

const DEPTH: &str = "depth: first block 0, last block 1";

/// Cosine distance between channels against depth (paper, Fig. 4). One network: its sites in one chart; several: a
/// chart for each site.
#[must_use]
pub fn collapse_figure(networks: &[Named]) -> Figure {
    let axis = || Axis::fixed("mean cosine distance", [0.0, 0.55]);
    let value = |layer: &LayerMeasures| Some(layer.cosine_distance);
    let title = "Do the channels of a layer differ? (0: collapsed, 0.5: nothing in common)";
    if let [(_, only)] = networks {
        let lines = Site::ALL
            .into_iter()
            .map(|site| curve(site.name(), only, site, value));
        return Figure::single(title, chart("", axis(), lines));
    }
    Figure {
        title: title.to_owned(),
        columns: 2,
        charts: by_site(networks, "", axis, value),
    }
}

/// Shares of dead and of saturated channels against depth, a chart for each site.
#[must_use]
pub fn channels_figure(networks: &[Named]) -> Figure {
    let axis = || Axis::fixed("share of the channels", [-0.02, 1.02]);
    let dead = by_site(networks, "dead, ", axis, |layer| Some(layer.dead));
    let saturated = by_site(networks, "saturated, ", axis, |layer| Some(layer.saturated));
    Figure {
        title: "Channels that say nothing".to_owned(),
        columns: 2,
        charts: dead
            .into_iter()
            .zip(saturated)
            .flat_map(|(a, b)| [a, b])
            .collect(),
    }
}

/// Effective rank of the block outputs against depth.
#[must_use]
pub fn rank_figure(networks: &[Named]) -> Figure {
    let axis = Axis::fixed("effective rank / largest possible", [0.0, 1.0]);
    let lines = networks
        .iter()
        .map(|(name, report)| curve(name, report, Site::Output, LayerMeasures::rank_share));
    Figure::single("In how many directions do images differ?", chart("", axis, lines))
}

/// Class selectivity of the block outputs (paper, Fig. 7): its mean against depth, and how it is distributed at the end
/// of each stage. `None` where nothing was labelled.
#[must_use]
pub fn selectivity_figure(networks: &[Named]) -> Option<Figure> {
    let mean = LayerMeasures::mean_selectivity;
    let mut outputs = networks.iter().flat_map(|(_, report)| report.at(Site::Output));
    outputs.find(|layer| layer.selectivity.is_some())?;
    let lines = networks
        .iter()
        .map(|(name, report)| curve(name, report, Site::Output, mean));
    let mut charts = vec![chart("mean", Axis::fixed("class selectivity", [0.0, 1.0]), lines)];
    let stages = networks
        .iter()
        .flat_map(|(_, report)| report.layers.last())
        .map(|layer| layer.stage + 1);
    for stage in 0..stages.max().unwrap_or_default() {
        let distribution = |(name, report): &Named| {
            let layer = report
                .at(Site::Output)
                .filter(|layer| layer.stage == stage)
                .last()?;
            Some(Line {
                name: name.clone(),
                points: histogram(layer.selectivity.as_ref()?),
            })
        };
        charts.push(Chart {
            title: format!("end of stage {stage}"),
            x: Axis::fixed("class selectivity", [0.0, 1.0]),
            y: Axis::free("share of the channels"),
            lines: networks.iter().filter_map(distribution).collect(),
        });
    }
    Some(Figure {
        title: "How much do channels prefer one class?".to_owned(),
        columns: 2,
        charts,
    })
}

/// A chart for each site that any of the networks has.
fn by_site(
    networks: &[Named],
    title: &str,
    axis: impl Fn() -> Axis,
    value: impl Fn(&LayerMeasures) -> Option<f64> + Copy,
) -> Vec<Chart> {
    let of_site = |site: Site| {
        let lines = networks
            .iter()
            .map(|(name, report)| curve(name, report, site, value));
        let chart = chart(&format!("{title}{}", site.name()), axis(), lines);
        (!chart.lines.is_empty()).then_some(chart)
    };
    Site::ALL.into_iter().filter_map(of_site).collect()
}

/// A chart over depth of those lines that have points.
fn chart(title: &str, y: Axis, lines: impl Iterator<Item = Line>) -> Chart {
    Chart {
        title: title.to_owned(),
        x: Axis::fixed(DEPTH, [0.0, 1.0]),
        y,
        lines: lines.filter(|line| !line.points.is_empty()).collect(),
    }
}

/// A value at one site of every block against the block's place in the network.
fn curve(
    name: &str,
    report: &FeatureReport,
    site: Site,
    value: impl Fn(&LayerMeasures) -> Option<f64>,
) -> Line {
    let values: Vec<f64> = report.at(site).filter_map(value).collect();
    let last = values.len().saturating_sub(1).max(1) as f64;
    Line {
        name: name.to_owned(),
        points: values
            .into_iter()
            .enumerate()
            .map(|(block, value)| [block as f64 / last, value])
            .collect(),
    }
}

/// Shares of the values in `[0, 1]` that lie in each of twenty equal parts, at their middles.
fn histogram(values: &[f64]) -> Vec<[f64; 2]> {
    const PARTS: usize = 20;
    let mut counts = [0.0; PARTS];
    for value in values {
        counts[((value * PARTS as f64) as usize).min(PARTS - 1)] += 1.0 / values.len() as f64;
    }
    let middle = |part: usize| (part as f64 + 0.5) / PARTS as f64;
    counts
        .into_iter()
        .enumerate()
        .map(|(part, share)| [middle(part), share])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, has_grn: bool, blocks: usize, selectivity: Option<Vec<f64>>) -> Named {
        let sites = move |&site: &Site| has_grn || site != Site::AfterGrn;
        let layer = |block: usize, site: Site| LayerMeasures {
            stage: 0,
            block,
            site,
            channels: 4,
            cosine_distance: 0.1 * block as f64,
            dead: 0.25,
            saturated: 0.5,
            effective_rank: (site == Site::Output).then_some(2.0),
            largest_rank: (site == Site::Output).then_some(4),
            selectivity: selectivity.clone().filter(|_| site == Site::Output),
        };
        let block = |block| {
            Site::ALL
                .into_iter()
                .filter(sites)
                .map(move |site| layer(block, site))
        };
        let report = FeatureReport {
            images: 9,
            layers: (0..blocks).flat_map(block).collect(),
        };
        (name.to_owned(), report)
    }

    #[test]
    fn one_network_is_one_chart_with_its_sites() {
        let figure = collapse_figure(&[network("a", true, 3, None)]);
        assert_eq!(figure.charts.len(), 1);
        let lines = &figure.charts[0].lines;
        assert_eq!(
            lines.iter().map(|line| line.name.as_str()).collect::<Vec<_>>(),
            Site::ALL.map(Site::name)
        );
        assert_eq!(lines[0].points, [[0.0, 0.0], [0.5, 0.1], [1.0, 0.2]]);
        assert_eq!(
            collapse_figure(&[network("a", false, 1, None)]).charts[0]
                .lines
                .len(),
            3
        );
    }

    #[test]
    fn networks_of_any_depth_are_compared_site_by_site() {
        let both = [network("v1", false, 2, None), network("v2", true, 5, None)];
        let figure = collapse_figure(&both);
        let lines: Vec<usize> = figure.charts.iter().map(|chart| chart.lines.len()).collect();
        assert_eq!(lines, [2, 2, 1, 2]); // V1 has no GRN
        let ends = figure.charts[0]
            .lines
            .iter()
            .map(|line| line.points.last().unwrap()[0]);
        assert_eq!(ends.collect::<Vec<_>>(), [1.0, 1.0]);
        assert_eq!(channels_figure(&both).charts.len(), 8);
        assert_eq!(rank_figure(&both).charts[0].lines[1].points[4], [1.0, 0.5]);
    }

    #[test]
    fn selectivity_is_drawn_where_there_are_labels() {
        assert_eq!(selectivity_figure(&[network("a", true, 2, None)]), None);
        let index = vec![0.0, 0.51, 0.52, 1.0];
        let figure = selectivity_figure(&[network("a", true, 2, Some(index))]).unwrap();
        assert_eq!(figure.charts.len(), 2);
        let points = &figure.charts[1].lines[0].points;
        let of_part = |part: usize| points[part][1];
        assert_eq!([0, 10, 19, 5].map(of_part), [0.25, 0.5, 0.25, 0.0]);
        assert!((points[10][0] - 0.525).abs() < 1e-12);
    }
}
