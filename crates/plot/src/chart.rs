//! What a chart shows, as plain data.

use crate::number::Unit;
use crate::thin::thin;

/// A place in a chart, `[x, y]`. One that is not finite is a gap.
pub type Point = [f64; 2];

/// Curves over a common axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// What is shown; empty = none.
    pub title: String,
    /// A sentence below the title; empty = none.
    pub note: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The curves; later ones lie above earlier ones.
    pub series: Vec<Series>,
}

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scale {
    /// Equal distances are equal differences.
    #[default]
    Linear,
    /// Equal distances are equal ratios; linear after all where a value is not positive or all are of one size.
    Log,
}

/// An axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What it measures. On a page it is said of the horizontal axis alone, there beside a value under the pointer too.
    pub label: String,
    /// How values lie along it.
    pub scale: Scale,
    /// How values are written.
    pub unit: Unit,
    /// From where to where it reaches at least; it always reaches as far as the points do.
    pub reach: Option<[f64; 2]>,
    /// Whether only whole numbers are marked.
    pub is_whole: bool,
    /// Names of the places 0, 1, 2, …, where they are not numbers.
    pub names: Vec<String>,
}

impl Axis {
    /// A linear axis with a label.
    #[must_use]
    pub fn new(label: &str) -> Axis {
        Axis {
            label: label.to_owned(),
            ..Axis::default()
        }
    }

    /// An axis that reaches at least from one value to another.
    #[must_use]
    pub fn reaching(label: &str, reach: [f64; 2]) -> Axis {
        Axis {
            reach: Some(reach),
            ..Axis::new(label)
        }
    }

    /// An axis that begins at 0.
    #[must_use]
    pub fn from_zero(label: &str) -> Axis {
        Axis::reaching(label, [0.0, 0.0])
    }

    /// An axis from 0 that is marked at whole numbers, such as epochs.
    #[must_use]
    pub fn whole(label: &str) -> Axis {
        Axis {
            is_whole: true,
            ..Axis::from_zero(label)
        }
    }

    /// An axis of named places.
    #[must_use]
    pub fn named(label: &str, names: Vec<String>) -> Axis {
        Axis {
            names,
            ..Axis::new(label)
        }
    }
}

/// How a curve is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// A line; dots too where there are few points.
    #[default]
    Line,
    /// A pale line, for what lies behind another one of the same colour; not in the legend.
    Pale,
    /// Dots without a line.
    Dots,
}

/// A curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub label: String,
    /// Number of its colour, from 0; there are [`Series::COLORS`], then they begin again with dashes.
    pub color: usize,
    /// How it is drawn.
    pub style: Style,
    /// Its points, from left to right.
    pub points: Vec<Point>,
    /// Half the length of a bar through each point; empty = no bars.
    pub spread: Vec<f64>,
}

impl Series {
    /// Colours that can be told apart, also by most who see few colours.
    pub const COLORS: usize = 8;

    /// A line in the first colour.
    #[must_use]
    pub fn line(label: &str, points: Vec<Point>) -> Series {
        Series {
            label: label.to_owned(),
            points,
            ..Series::default()
        }
    }

    /// The same in another colour.
    #[must_use]
    pub fn colored(self, color: usize) -> Series {
        Series { color, ..self }
    }

    /// The same in another style.
    #[must_use]
    pub fn styled(self, style: Style) -> Series {
        Series { style, ..self }
    }

    pub(crate) fn is_named(&self) -> bool {
        self.style != Style::Pale
    }

    pub(crate) fn is_dotted(&self) -> bool {
        /// With more points than this, dots would hide the line; the largest network has fewer blocks.
        const FEW: usize = 40;
        self.style == Style::Dots || (self.style == Style::Line && self.points.len() <= FEW)
    }
}

impl Chart {
    /// A chart.
    #[must_use]
    pub fn new(title: &str, x: Axis, y: Axis, series: Vec<Series>) -> Chart {
        Chart {
            title: title.to_owned(),
            note: String::new(),
            x,
            y,
            series,
        }
    }

    /// Whether there is no point to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.places().any(|[x, y]| x.is_finite() && y.is_finite())
    }

    pub(crate) fn places(&self) -> impl Iterator<Item = &Point> {
        self.series.iter().flat_map(|series| &series.points)
    }

    /// The same picture from fewer points.
    pub(crate) fn thinned(&self) -> Chart {
        /// Points of a curve beyond which a screen shows no difference.
        const MOST: usize = 700;
        let mut thinned = self.clone();
        let long = thinned
            .series
            .iter_mut()
            .filter(|series| series.spread.is_empty());
        long.for_each(|series| series.points = thin(&series.points, MOST));
        thinned
    }
}
