//! Line and dot charts as SVG: inside an HTML page, or as a file of their own.
//!
//! A [`Chart`] is plain data. [`Chart::figure`] draws it for a page of this crate, whose style sheet colours it and
//! whose script shows the values under the pointer; [`Chart::svg`] draws it as a file for any other purpose.
//!
//! ```
//! use fcmae_report::chart::{Axis, Chart, Series};
//!
//! let loss = Series::line("held out", vec![[1.0, 0.64], [2.0, 0.51], [3.0, f64::NAN], [4.0, 0.33]]);
//! let chart = Chart::new("Loss", Axis::whole("epoch"), Axis::default(), vec![loss]);
//! let svg = chart.svg();
//! assert!(svg.starts_with("<svg") && svg.contains("held out")); // the gap at 3 is a gap in the line
//! ```

mod figure;
mod frame;
mod svg;
mod thin;
mod ticks;

use frame::Frame;

pub(crate) use figure::color;

pub use crate::number::Unit;

/// A place in a chart, `[x, y]`. A `y` that is not finite is a gap.
pub type Point = [f64; 2];

/// Curves over a common axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// What is shown.
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
    /// What it measures; on the horizontal axis also what is said beside a value under the pointer.
    pub label: String,
    /// How values lie along it.
    pub scale: Scale,
    /// How values are written.
    pub unit: Unit,
    /// Whether it reaches down to 0.
    pub from_zero: bool,
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

    /// An axis from 0 that is marked at whole numbers, such as epochs.
    #[must_use]
    pub fn whole(label: &str) -> Axis {
        Axis {
            is_whole: true,
            from_zero: true,
            ..Axis::new(label)
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

    fn is_dashed(&self) -> bool {
        (self.color / Series::COLORS) % 2 == 1
    }

    fn is_dotted(&self) -> bool {
        /// With more points than this, dots would hide the line.
        const FEW: usize = 16;
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

    fn places(&self) -> impl Iterator<Item = &Point> {
        self.series.iter().flat_map(|series| &series.points)
    }
}
