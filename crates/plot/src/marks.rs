//! Grid and curves, as they are in files and on pages.

use maud::{Markup, html};

use crate::chart::{Chart, Series, Style};
use crate::frame::Frame;

/// Rules for what is drawn here.
pub(crate) const MARKS_STYLE: &str = include_str!("style/marks.css");

/// The colours on light ground and on dark.
const LIGHT: [&str; Series::COLORS] = [
    "#2660c8", "#c9570b", "#1f7f55", "#8a4fc0", "#b8325a", "#0d7d8c", "#8a6a00", "#5b6472",
];
const DARK: [&str; Series::COLORS] = [
    "#7aa7f7", "#f09a5b", "#5cc393", "#c39aee", "#f07f9f", "#57bccb", "#d3b04a", "#a5aebb",
];

/// The class of what has this colour.
#[must_use]
pub fn color_class(color: usize) -> String {
    let dashed = if (color / Series::COLORS) % 2 == 1 {
        " dashed"
    } else {
        ""
    };
    format!("c{}{dashed}", color % Series::COLORS)
}

/// A rule for each colour, on light ground and on dark.
pub(crate) fn palette(rule: impl Fn(usize, &str) -> String) -> String {
    let rules = |colors: [&str; Series::COLORS]| -> String {
        colors
            .iter()
            .enumerate()
            .map(|(i, color)| rule(i, color))
            .collect()
    };
    format!(
        "{}@media (prefers-color-scheme: dark) {{{}}}",
        rules(LIGHT),
        rules(DARK)
    )
}

pub(crate) fn marks(chart: &Chart, frame: &Frame) -> Markup {
    html! {
        @for (value, _) in &frame.y.ticks {
            @let y = format!("{:.1}", frame.down(*value));
            line.grid x2=(frame.size[0]) y1=(y) y2=(y) {}
        }
        @for series in &chart.series {
            g class=(color_class(series.color)) {
                @if series.style != Style::Dots {
                    path class=(if series.style == Style::Pale { "pale" } else { "line" }) d=(frame.path(&series.points)) {}
                }
                @if !series.spread.is_empty() { path.bar d=(frame.bars(series)) {} }
                @if series.is_dotted() { path.dots d=(frame.dots(&series.points)) {} }
            }
        }
    }
}
