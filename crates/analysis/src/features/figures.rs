//! Curves over the depth of networks, several of them in one plot.

use fcmae_encoder::Site;
use fcmae_plot::{Axis, Chart, Figure, Point, Series};

use super::report::{FeatureReport, LayerMeasures};

/// A network by name.
type Named = (String, FeatureReport);

/// Cosine distance between channels against depth (paper, Fig. 4). One network: its sites in one chart; several: a
/// chart for each site.
#[must_use]
pub fn collapse_figure(networks: &[Named]) -> Figure {
    let axis = Axis::reaching("mean cosine distance", [0.0, 0.55]);
    Figure {
        title: "Do the channels of a layer differ?".to_owned(),
        note: "0: collapsed; 0.5: nothing in common".to_owned(),
        columns: 2,
        charts: by_site(networks, "", &axis, |layer| Some(layer.cosine_distance)),
    }
}

/// Root mean square of the cosines between channels against depth. One network: its sites in one chart; several: a chart
/// for each site.
#[must_use]
pub fn redundancy_figure(networks: &[Named]) -> Figure {
    let axis = Axis::reaching("root mean square cosine", [0.0, 1.0]);
    Figure {
        title: "Do the channels of a layer repeat each other?".to_owned(),
        note: "1: all say the same, in either sign".to_owned(),
        columns: 2,
        charts: by_site(networks, "", &axis, |layer| Some(layer.rms_cosine)),
    }
}

/// Shares of dead and of saturated channels against depth. One network: its sites in two charts; several: two charts for
/// each site.
#[must_use]
pub fn channels_figure(networks: &[Named]) -> Figure {
    let axis = Axis::reaching("share of the channels", [-0.02, 1.02]); // a line at 0 is seen
    let dead = by_site(networks, "dead", &axis, |layer| Some(layer.dead));
    let saturated = by_site(networks, "saturated", &axis, |layer| Some(layer.saturated));
    Figure {
        title: "Channels that say nothing".to_owned(),
        note: "dead: nothing anywhere; saturated: the same everywhere".to_owned(),
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
    let axis = Axis::reaching("effective rank / largest possible", [0.0, 1.0]);
    Figure {
        title: "In how many directions do images differ?".to_owned(),
        charts: vec![at_site(
            networks,
            "",
            Site::Output,
            axis,
            LayerMeasures::rank_share,
        )],
        ..Figure::default()
    }
}

/// Class selectivity of the block outputs (paper, Fig. 7): its mean against depth, and how it is distributed at the end
/// of each stage. `None` where nothing was labelled.
#[must_use]
pub fn selectivity_figure(networks: &[Named]) -> Option<Figure> {
    let mean = LayerMeasures::mean_selectivity;
    let axis = || Axis::reaching("class selectivity", [0.0, 1.0]);
    let means = at_site(networks, "mean", Site::Output, axis(), mean);
    if means.is_empty() {
        return None;
    }
    let layers = networks.iter().flat_map(|(_, report)| &report.layers);
    let stages = layers.map(|layer| layer.stage + 1).max().unwrap_or_default();
    let distributions = (0..stages).map(|stage| {
        let distribution = |(color, (name, report)): (usize, &Named)| {
            let layers = report.at(Site::Output).filter(|layer| layer.stage == stage);
            let values = layers.last()?.selectivity.as_ref()?;
            Some(Series::line(name, histogram(values)).colored(color))
        };
        let series = networks.iter().enumerate().filter_map(distribution).collect();
        let share = Axis::from_zero("share of the channels");
        Chart::new(&format!("end of stage {stage}"), axis(), share, series)
    });
    Some(Figure {
        title: "How much do channels prefer one class?".to_owned(),
        columns: 2,
        charts: std::iter::once(means).chain(distributions).collect(),
        ..Figure::default()
    })
}

/// One network: its sites in one chart; several: a chart for each site that any of them has.
fn by_site(
    networks: &[Named],
    title: &str,
    axis: &Axis,
    value: impl Fn(&LayerMeasures) -> Option<f64> + Copy,
) -> Vec<Chart> {
    if let [(_, only)] = networks {
        let curve = |(color, site): (usize, Site)| curve(site.name(), only, site, value).colored(color);
        let series = Site::ALL.into_iter().enumerate().map(curve);
        return vec![over_depth(title, axis.clone(), series)];
    }
    let chart = |site: Site| {
        let title = match title {
            "" => site.name().to_owned(),
            title => format!("{title}, {}", site.name()),
        };
        at_site(networks, &title, site, axis.clone(), value)
    };
    let charts = Site::ALL.into_iter().map(chart);
    charts.filter(|chart| !chart.is_empty()).collect()
}

/// The networks at one site against depth.
fn at_site(
    networks: &[Named],
    title: &str,
    site: Site,
    axis: Axis,
    value: impl Fn(&LayerMeasures) -> Option<f64> + Copy,
) -> Chart {
    let curve = |(color, (name, report)): (usize, &Named)| curve(name, report, site, value).colored(color);
    over_depth(title, axis, networks.iter().enumerate().map(curve))
}

/// A chart over depth of those series that have points.
fn over_depth(title: &str, y: Axis, series: impl Iterator<Item = Series>) -> Chart {
    let x = Axis::reaching("depth: first block 0, last block 1", [0.0, 1.0]);
    Chart::new(
        title,
        x,
        y,
        series.filter(|series| !series.points.is_empty()).collect(),
    )
}

/// A value at one site of every block against the block's place in the network.
fn curve(
    name: &str,
    report: &FeatureReport,
    site: Site,
    value: impl Fn(&LayerMeasures) -> Option<f64>,
) -> Series {
    let values: Vec<f64> = report.at(site).filter_map(value).collect();
    let last = values.len().saturating_sub(1).max(1) as f64;
    let place = |(block, value): (usize, f64)| [block as f64 / last, value];
    Series::line(name, values.into_iter().enumerate().map(place).collect())
}

/// Shares of the values in `[0, 1]` that lie in each of twenty equal parts, at their middles.
fn histogram(values: &[f64]) -> Vec<Point> {
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
            rms_cosine: 0.2,
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
        let curves = &figure.charts[0].series;
        let names: Vec<&str> = curves.iter().map(|curve| curve.label.as_str()).collect();
        assert_eq!(names, Site::ALL.map(Site::name));
        assert_eq!(curves[0].points, [[0.0, 0.0], [0.5, 0.1], [1.0, 0.2]]);
        let without_grn = &channels_figure(&[network("a", false, 1, None)]).charts;
        assert_eq!((without_grn.len(), without_grn[0].series.len()), (2, 3));
        // a site has its colour also where another one is missing
        assert_eq!(without_grn[0].series[2].color, 3);
    }

    #[test]
    fn networks_of_any_depth_are_compared_site_by_site() {
        let both = [network("v1", false, 2, None), network("v2", true, 5, None)];
        let figure = collapse_figure(&both);
        let curves: Vec<usize> = figure.charts.iter().map(|chart| chart.series.len()).collect();
        assert_eq!(curves, [2, 2, 1, 2]); // V1 has no GRN
        assert_eq!(figure.charts[2].series[0].color, 1); // V2 has its colour everywhere
        let ends = figure.charts[0]
            .series
            .iter()
            .map(|curve| curve.points.last().unwrap()[0]);
        assert_eq!(ends.collect::<Vec<_>>(), [1.0, 1.0]);
        assert_eq!(redundancy_figure(&both).charts.len(), 4);
        assert_eq!(channels_figure(&both).charts.len(), 8);
        assert_eq!(rank_figure(&both).charts[0].series[1].points[4], [1.0, 0.5]);
    }

    #[test]
    fn selectivity_is_drawn_where_there_are_labels() {
        assert_eq!(selectivity_figure(&[network("a", true, 2, None)]), None);
        let index = vec![0.0, 0.51, 0.52, 1.0];
        let figure = selectivity_figure(&[network("a", true, 2, Some(index))]).unwrap();
        assert_eq!(figure.charts.len(), 2);
        let points = &figure.charts[1].series[0].points;
        let of_part = |part: usize| points[part][1];
        assert_eq!([0, 10, 19, 5].map(of_part), [0.25, 0.5, 0.25, 0.0]);
        assert!((points[10][0] - 0.525).abs() < 1e-12);
    }
}
