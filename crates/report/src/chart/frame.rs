//! The ranges of a chart's axes, and how values become places.

use std::fmt::Write;

use super::ticks::{Tick, ticks};
use super::{Axis, Chart, Point, Scale, Series};

/// The part of the plane that a chart shows; places in it are shares, `[0, 1]`, from the lower left.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) x: Range,
    pub(crate) y: Range,
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
    pub(crate) fn of(chart: &Chart) -> Frame {
        let bars = chart.series.iter().flat_map(|series| {
            let bars = series.points.iter().zip(&series.spread);
            bars.flat_map(|(point, spread)| [point[1] - spread, point[1] + spread])
        });
        let heights = chart.places().map(|point| point[1]).chain(bars);
        Frame {
            x: Range::new(&chart.x, chart.places().map(|point| point[0]), 0.0),
            y: Range::new(&chart.y, heights, 0.06),
        }
    }

    /// The lines of a series as an SVG path, in a box of this size whose origin is the upper left.
    pub(crate) fn path(&self, points: &[Point], width: f64, height: f64) -> String {
        let (mut path, mut is_down) = (String::new(), false);
        for &[x, y] in points {
            if !(x.is_finite() && y.is_finite()) {
                is_down = false;
                continue;
            }
            let [x, y] = self.place(x, y, width, height);
            let pen = if is_down { 'L' } else { 'M' };
            write!(path, "{pen}{x:.1} {y:.1}").expect("writing to a string");
            is_down = true;
        }
        path
    }

    /// The points of a series as strokes without length: round dots, whatever the box is stretched to.
    pub(crate) fn dots(&self, points: &[Point], width: f64, height: f64) -> String {
        let mut path = String::new();
        for &[x, y] in points.iter().filter(|[x, y]| x.is_finite() && y.is_finite()) {
            let [x, y] = self.place(x, y, width, height);
            write!(path, "M{x:.1} {y:.1}h.01").expect("writing to a string");
        }
        path
    }

    /// The bars through the points of a series.
    pub(crate) fn bars(&self, series: &Series, width: f64, height: f64) -> String {
        let mut path = String::new();
        for (&[x, y], spread) in series.points.iter().zip(&series.spread) {
            if x.is_finite() && y.is_finite() && *spread > 0.0 {
                let [x, low] = self.place(x, y - spread, width, height);
                let high = self.place(x, y + spread, width, height)[1];
                write!(path, "M{x:.1} {low:.1}V{high:.1}").expect("writing to a string");
            }
        }
        path
    }

    fn place(&self, x: f64, y: f64, width: f64, height: f64) -> Point {
        [self.x.share(x) * width, (1.0 - self.y.share(y)) * height]
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
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0); // nothing to show
        }
        if axis.from_zero {
            low = low.min(0.0);
        }
        let scale = if low > 0.0 && high > Range::WIDE * low {
            axis.scale
        } else {
            Scale::Linear
        };
        let (low, high) = match scale {
            Scale::Linear => widen(low, high, margin),
            Scale::Log => {
                let (low, high) = widen(low.log10(), high.log10(), margin);
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

/// A margin on both sides, save at 0; room around a single value.
fn widen(low: f64, high: f64, margin: f64) -> (f64, f64) {
    if low == high {
        let room = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
        return (low - room, high + room);
    }
    let room = margin * (high - low);
    let outward = |end: f64, room: f64| if end == 0.0 { end } else { end + room };
    (outward(low, -room), outward(high, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(y: Axis, points: &[Point]) -> Frame {
        Frame::of(&Chart::new(
            "",
            Axis::default(),
            y,
            vec![Series::line("", points.to_vec())],
        ))
    }

    #[test]
    fn places_are_shares_of_the_ranges() {
        let points = [[0.0, 10.0], [5.0, 20.0], [10.0, 0.0]];
        let frame = chart(Axis::default(), &points);
        assert_eq!((frame.x.low, frame.x.high, frame.y.low), (0.0, 10.0, 0.0));
        assert!(frame.y.high > 20.0 && frame.y.high < 22.0);
        assert_eq!(frame.path(&points[2..], 100.0, 50.0), "M100.0 50.0");
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
        let frame = chart(Axis::default(), &points);
        assert!(frame.y.high < 4.0);
        let path = frame.path(&points, 400.0, 100.0);
        assert_eq!(path.matches('M').count(), 2);
        assert_eq!(path.matches('L').count(), 1);
    }

    #[test]
    fn one_point_and_none_have_a_frame_too() {
        for points in [&[[3.0, 0.5]][..], &[[0.0, 0.0]], &[[0.0, f64::NAN]], &[]] {
            let frame = chart(Axis::default(), points);
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
        let frame = chart(axis(), &[[0.0, 1e-3], [1.0, 1e3]]);
        assert_eq!(frame.y.scale, Scale::Log);
        assert!((frame.y.share(1.0) - 0.5).abs() < 1e-9);
        assert_eq!(chart(axis(), &[[0.0, 0.0], [1.0, 1e3]]).y.scale, Scale::Linear);
        assert_eq!(chart(axis(), &[[0.0, 1.0], [1.0, 9.0]]).y.scale, Scale::Linear);
    }

    #[test]
    fn bars_are_inside_the_frame() {
        let series = Series {
            spread: vec![2.0, 0.0],
            ..Series::line("", vec![[0.0, 5.0], [1.0, 6.0]])
        };
        let chart = Chart::new(
            "",
            Axis::named("", vec!["a".into(), "b".into()]),
            Axis::default(),
            vec![series],
        );
        let frame = Frame::of(&chart);
        assert!(frame.y.low < 3.0 && frame.y.high > 7.0);
        assert_eq!((frame.x.low, frame.x.high, frame.x.ticks.len()), (-0.5, 1.5, 2));
        assert_eq!(frame.bars(&chart.series[0], 100.0, 100.0).matches('M').count(), 1);
    }
}
