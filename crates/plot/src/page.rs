//! A chart as part of a page: lines as SVG stretched to the page, words as HTML, values as JSON for the pointer.

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use crate::chart::{Chart, Scale, Series};
use crate::frame::{Frame, Range};
use crate::marks::{MARKS_STYLE, color_class, marks, palette};
use crate::number::{Unit, shown};

/// Side of the square that the lines are drawn in before they are stretched.
const SIDE: f64 = 1000.0;

/// What moves in the charts of a page: values under the pointer, in all charts over the same axis, and, where the page has
/// a list `ul.legend.runs` of names in their colours, curves that a click on their name hides.
pub const PAGE_SCRIPT: &str = include_str!("style/page.js");

/// The style sheet of charts on a page, which itself gives four colours: `--paper`, `--ink`, `--soft` and `--line`.
#[must_use]
pub fn page_style() -> String {
    let colors = palette(|i, color| format!(".c{i} {{ --c: {color}; }}\n"));
    MARKS_STYLE.to_owned() + include_str!("style/page.css") + &colors
}

impl Chart {
    /// The chart as a `<figure>` for a page with [`page_style`] and [`PAGE_SCRIPT`]; all but the values under the pointer
    /// is there without the script.
    #[must_use]
    pub fn html(&self) -> Markup {
        let chart = self.thinned();
        let frame = Frame::of(&chart, [SIDE, SIDE]);
        let named: Vec<&Series> = chart.series.iter().filter(|series| series.is_named()).collect();
        html! {
            figure.chart data-x=(chart.x.label) {
                figcaption {
                    b { (chart.title) }
                    @if let [only] = named[..] {
                        // means with their spread are no course of which the last says where it has come to
                        @if let (Some(last), true) = (only.points.last(), only.spread.is_empty()) {
                            span.last { (shown(last[1], chart.y.unit)) }
                        }
                    }
                    @if !chart.note.is_empty() { span.note { (chart.note) } }
                }
                @if named.len() > 1 {
                    ul.legend {
                        @for series in &named { li class=(color_class(series.color)) { (series.label) } }
                    }
                }
                div.plot {
                    svg.fcmae-plot viewBox=(format!("0 0 {SIDE} {SIDE}")) preserveAspectRatio="none" role="img"
                        aria-label=(chart.title) { (marks(&chart, &frame)) }
                    @for (value, text) in &frame.y.ticks {
                        span.y style=(format!("bottom:{:.2}%", 100.0 * frame.y.share(*value))) { (text) }
                    }
                    @for (value, text) in &frame.x.ticks {
                        span.x style=(format!("left:{:.2}%", 100.0 * frame.x.share(*value))) { (text) }
                    }
                }
                @if !chart.x.label.is_empty() { span.axis { (chart.x.label) } }
                script type="application/json" { (PreEscaped(values(&chart, &frame, &named))) }
            }
        }
    }
}

/// What the pointer shows, as JSON that may stand inside `<script>`.
fn values(chart: &Chart, frame: &Frame, named: &[&Series]) -> String {
    let series = named.iter().map(|series| {
        let points: Vec<_> = series.points.iter().map(|point| point.map(short)).collect();
        json!({
            "label": series.label, "class": color_class(series.color), "points": points, "spread": series.spread,
        })
    });
    let range = |range: &Range| json!([range.low, range.high]);
    let value = json!({
        "x": range(&frame.x),
        "y": range(&frame.y),
        "log": [frame.x.scale == Scale::Log, frame.y.scale == Scale::Log],
        "percent": chart.y.unit == Unit::Percent,
        "names": chart.x.names,
        "series": series.collect::<Vec<_>>(),
    });
    value.to_string().replace('<', "\\u003c")
}

/// With the digits that a tooltip can use; what is not finite becomes null.
fn short(value: f64) -> Option<f64> {
    value
        .is_finite()
        .then(|| format!("{value:.5e}").parse().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Style};

    fn html(series: Vec<Series>) -> String {
        let chart = Chart::new("t", Axis::default(), Axis::default(), series);
        chart.html().into_string()
    }

    #[test]
    fn nothing_in_a_name_becomes_markup() {
        let evil = "</script><script>alert(1)</script>\"'&";
        let gap = Series::line("b", vec![[0.0, f64::NAN]]).colored(9);
        let series = vec![Series::line(evil, vec![[0.0, 1.0]]), gap];
        let x = Axis::named(evil, vec![evil.to_owned()]);
        let chart = Chart {
            note: evil.to_owned(),
            ..Chart::new(evil, x, Axis::new(evil), series)
        };
        let html = chart.html().into_string();
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("</script>").count(), 1);
        assert!(html.contains("\\u003c/script>") && html.contains("&lt;/script&gt;"));
        assert!(html.contains("class=\"c1 dashed\""));
        assert!(html.contains("[0.0,null]"), "a gap is null: {html}");
    }

    #[test]
    fn a_lone_series_shows_its_last_value_and_no_legend() {
        let raw = Series::line("each step", vec![[0.0, 9.0], [1.0, 8.0]]).styled(Style::Pale);
        let smooth = Series::line("smoothed", vec![[0.0, 7.0], [1.0, 0.5]]);
        let one = html(vec![raw, smooth.clone()]);
        assert!(one.contains("<span class=\"last\">0.5000</span>") && !one.contains("legend"));
        let means = Series {
            spread: vec![0.1, 0.2],
            ..smooth.clone()
        };
        assert!(!html(vec![means]).contains("class=\"last\""));
        let two = html(vec![smooth.clone(), smooth.colored(1)]);
        assert!(two.contains("legend") && !two.contains("class=\"last\""));
    }

    #[test]
    fn long_series_are_thinned() {
        let points = (0..50_000).map(|i| [f64::from(i), f64::from(i % 7)]).collect();
        let length = html(vec![Series::line("a", points)]).len();
        assert!(length < 40_000, "{length}");
    }

    #[test]
    fn each_colour_has_a_rule_on_both_grounds() {
        let style = page_style();
        for color in 0..Series::COLORS {
            assert_eq!(style.matches(&format!(".{} {{", color_class(color))).count(), 2);
        }
    }
}
