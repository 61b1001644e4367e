//! Line charts as SVG: small, self-contained, readable on light and dark ground; no script, nothing fetched.

mod axis;
mod svg;

/// Charts in a grid under one title and over one legend: lines of the same name have the same colour in all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Above everything.
    pub title: String,
    /// Charts side by side, at least 1.
    pub columns: usize,
    /// Row by row.
    pub charts: Vec<Chart>,
}

/// Lines over one pair of axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above the chart; empty for none.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upward.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// What an axis is called and how far it reaches.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// Quantity and unit.
    pub label: String,
    /// From and to; `None`: as far as the points do.
    pub range: Option<[f64; 2]>,
}

/// A named sequence of points. One that is not finite is left out and breaks the line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// As the legend calls it.
    pub name: String,
    /// `[x, y]`, in the order in which they are joined.
    pub points: Vec<[f64; 2]>,
}

impl Figure {
    /// One chart.
    #[must_use]
    pub fn single(title: &str, chart: Chart) -> Figure {
        Figure {
            title: title.to_owned(),
            columns: 1,
            charts: vec![chart],
        }
    }

    /// The picture: an `<svg>` element that can stand in a file of its own or inside a page.
    #[must_use]
    pub fn to_svg(&self) -> String {
        svg::figure(self)
    }

    /// Names of all lines, each once, in the order in which they first occur.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for line in self.charts.iter().flat_map(|chart| &chart.lines) {
            if !names.contains(&line.name.as_str()) {
                names.push(&line.name);
            }
        }
        names
    }
}

impl Axis {
    /// An axis that reaches as far as the points do.
    #[must_use]
    pub fn free(label: &str) -> Axis {
        Axis {
            label: label.to_owned(),
            range: None,
        }
    }

    /// An axis with fixed ends.
    #[must_use]
    pub fn fixed(label: &str, range: [f64; 2]) -> Axis {
        Axis {
            label: label.to_owned(),
            range: Some(range),
        }
    }
}
