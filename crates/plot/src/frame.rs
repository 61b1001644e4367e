//! The ranges of a chart's axes, and how values become places.

use crate::chart::{Axis, Chart, Point, Scale, Series};
use crate::ticks::{Tick, ticks};

/// The part of the plane that a chart shows, in a box of some size whose origin is the upper left.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) x: Range,
    pub(crate) y: Range,
    pub(crate) size: [f64; 2],
}

/// The values along an axis.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) scale: Scale,
    pub(crate) ticks: Vec<Tick>,
}

impl Frame {
    pub(crate) fn of(chart: &Chart, size: [f64; 2]) -> Frame {
        let bars = chart.series.iter().flat_map(|series| {
            let bars = series.points.iter().zip(&series.spread);
            bars.flat_map(|(point, spread)| [point[1] - spread, point[1] + spread])
        });
        let heights = chart.places().map(|point| point[1]).chain(bars);
        Frame {
            x: Range::new(&chart.x, chart.places().map(|point| point[0]), 0.0),
            y: Range::new(&chart.y, heights, 0.06),
            size,
        }
    }

    /// From the left side of the box.
    pub(crate) fn along(&self, x: f64) -> f64 {
        self.x.share(x) * self.size[0]
    }

    /// From the upper side of the box.
    pub(crate) fn down(&self, y: f64) -> f64 {
        (1.0 - self.y.share(y)) * self.size[1]
    }

    /// Where a point lies; `None` where it is a gap.
    pub(crate) fn place(&self, [x, y]: Point) -> Option<Point> {
        (x.is_finite() && y.is_finite()).then(|| [self.along(x), self.down(y)])
    }

    /// The lines of a series as an SVG path.
    pub(crate) fn path(&self, points: &[Point]) -> String {
        let mut pen = 'M';
        let step = |&point: &Point| {
            let step = self.place(point).map(|[x, y]| format!("{pen}{x:.1} {y:.1}"));
            pen = if step.is_some() { 'L' } else { 'M' };
            step
        };
        points.iter().filter_map(step).collect()
    }

    /// The points of a series as strokes without length: round dots, whatever the box is stretched to.
    pub(crate) fn dots(&self, points: &[Point]) -> String {
        let places = points.iter().filter_map(|&point| self.place(point));
        places.map(|[x, y]| format!("M{x:.1} {y:.1}h.01")).collect()
    }

    /// The bars through the points of a series.
    pub(crate) fn bars(&self, series: &Series) -> String {
        let bars = series
            .points
            .iter()
            .zip(&series.spread)
            .filter(|(_, spread)| **spread > 0.0);
        let bar = |(&[x, y], spread): (&Point, &f64)| {
            let ([x, low], [_, high]) = (self.place([x, y - spread])?, self.place([x, y + spread])?);
            Some(format!("M{x:.1} {low:.1}V{high:.1}"))
        };
        bars.filter_map(bar).collect()
    }
}

impl Range {
    /// Values within this factor are as well seen on a linear axis, and better read.
    const WIDE: f64 = 20.0;

    /// The range of `values`, with a margin on both sides that is this share of it.
    fn new(axis: &Axis, values: impl Iterator<Item = f64>, margin: f64) -> Range {
        if !axis.names.is_empty() {
            return Range::named(&axis.names);
        }
        let reach = axis.reach.into_iter().flatten();
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in reach.chain(values).filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0); // nothing to show
        }
        // an end that was asked for, and 0, are ends; others get a margin
        let is_end = |end: f64| end == 0.0 || axis.reach.is_some_and(|reach| reach.contains(&end));
        let margins = [low, high].map(|end| if is_end(end) { 0.0 } else { margin });
        let scale = if low > 0.0 && high > Range::WIDE * low {
            axis.scale
        } else {
            Scale::Linear
        };
        let (low, high) = match scale {
            Scale::Linear => widen(low, high, margins),
            Scale::Log => {
                let (low, high) = widen(low.log10(), high.log10(), margins);
                (10f64.powf(low), 10f64.powf(high))
            }
        };
        Range {
            ticks: ticks(low, high, scale, axis.unit, axis.is_whole),
            low,
            high,
            scale,
        }
    }

    fn named(names: &[String]) -> Range {
        /// More names than this are too many for a line of them.
        const MOST: usize = 12;
        let places = names.iter().enumerate().step_by(names.len().div_ceil(MOST));
        Range {
            low: -0.5,
            high: names.len() as f64 - 0.5,
            scale: Scale::Linear,
            ticks: places.map(|(i, name)| (i as f64, name.clone())).collect(),
        }
    }

    /// Where a value lies between the ends of the axis.
    pub(crate) fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => {
                let value = value.max(self.low); // the foot of a bar may lie below 0
                (value / self.low).ln() / (self.high / self.low).ln()
            }
        }
    }
}

/// Shares of the range added on both sides; room around a single value, and above a lone 0.
fn widen(low: f64, high: f64, margins: [f64; 2]) -> (f64, f64) {
    if low == high {
        let room = low.abs() / 2.0;
        return (low - room, if low == 0.0 { 1.0 } else { high + room });
    }
    let [below, above] = margins.map(|margin| margin * (high - low));
    (low - below, high + above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(y: Axis, points: &[Point]) -> Frame {
        let chart = Chart::new("", Axis::default(), y, vec![Series::line("", points.to_vec())]);
        Frame::of(&chart, [100.0, 50.0])
    }

    #[test]
    fn places_are_shares_of_the_ranges() {
        let points = [[0.0, 10.0], [5.0, 20.0], [10.0, 0.0]];
        let frame = framed(Axis::default(), &points);
        assert_eq!((frame.x.low, frame.x.high, frame.y.low), (0.0, 10.0, 0.0));
        assert!(frame.y.high > 20.0 && frame.y.high < 22.0);
        assert_eq!(frame.path(&points[2..]), "M100.0 50.0");
    }

    #[test]
    fn what_is_no_number_is_a_gap_and_counts_for_nothing() {
        let points = [
            [0.0, 1.0],
            [1.0, f64::NAN],
            [2.0, 3.0],
            [3.0, 2.0],
            [4.0, f64::INFINITY],
        ];
        let frame = framed(Axis::default(), &points);
        assert!(frame.y.high < 4.0);
        let path = frame.path(&points);
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 1);
    }

    #[test]
    fn one_point_and_none_have_a_frame_too() {
        for points in [&[[3.0, 0.5]][..], &[[0.0, 0.0]], &[[0.0, f64::NAN]], &[]] {
            let frame = framed(Axis::default(), points);
            for range in [&frame.x, &frame.y] {
                assert!(range.low < range.high, "{points:?}: {range:?}");
                assert!(
                    !range.ticks.is_empty() && range.ticks.len() < 12,
                    "{points:?}: {range:?}"
                );
            }
        }
    }

    #[test]
    fn a_logarithmic_axis_needs_positive_values_far_apart() {
        let axis = || Axis {
            scale: Scale::Log,
            ..Axis::default()
        };
        let frame = framed(axis(), &[[0.0, 1e-3], [1.0, 1e3]]);
        assert_eq!(frame.y.scale, Scale::Log);
        assert!((frame.y.share(1.0) - 0.5).abs() < 1e-9);
        assert_eq!(framed(axis(), &[[0.0, 0.0], [1.0, 1e3]]).y.scale, Scale::Linear);
        assert_eq!(framed(axis(), &[[0.0, 1.0], [1.0, 9.0]]).y.scale, Scale::Linear);
    }

    #[test]
    fn bars_are_inside_the_frame() {
        let series = Series {
            spread: vec![2.0, 0.0],
            ..Series::line("", vec![[0.0, 5.0], [1.0, 6.0]])
        };
        let x = Axis::named("", vec!["a".into(), "b".into()]);
        let frame = Frame::of(
            &Chart::new("", x, Axis::default(), vec![series.clone()]),
            [100.0, 100.0],
        );
        assert!(frame.y.low < 3.0 && frame.y.high > 7.0);
        assert_eq!((frame.x.low, frame.x.high, frame.x.ticks.len()), (-0.5, 1.5, 2));
        assert_eq!(frame.bars(&series).matches('M').count(), 1);
    }

    #[test]
    fn an_axis_reaches_as_far_as_asked_and_never_less_than_its_points() {
        let ends = |reach, points: &[Point]| {
            let range = framed(Axis::reaching("", reach), points).y;
            (range.low, range.high)
        };
        assert_eq!(ends([0.0, 1.0], &[[0.0, 0.3], [1.0, 0.4]]), (0.0, 1.0));
        assert_eq!(ends([0.0, 1.0], &[]), (0.0, 1.0));
        let (low, high) = ends([0.0, 1.0], &[[0.0, -2.0], [1.0, 0.4]]);
        assert!(low < -2.0 && high == 1.0);
        assert_eq!(ends([0.0, 0.0], &[[0.0, 0.0]]), (0.0, 1.0));
    }
}
