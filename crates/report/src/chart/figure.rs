//! A chart as part of a page: lines as SVG stretched to the page, words as HTML, values as JSON for the pointer.

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use super::thin::thin;
use super::{Chart, Frame, Series, Style};
use crate::number::shown;

/// Side of the square that the lines are drawn in before they are stretched.
const SIDE: f64 = 1000.0;
/// Points of a curve beyond which a screen shows no difference.
const MOST_POINTS: usize = 700;

impl Chart {
    /// The chart as a `<figure>`.
    #[must_use]
    pub fn figure(&self) -> Markup {
        let chart = self.thinned();
        let frame = Frame::of(&chart);
        let named: Vec<&Series> = chart
            .series
            .iter()
            .filter(|series| series.style != Style::Pale)
            .collect();
        html! {
            figure.chart data-x=(chart.x.label) {
                figcaption {
                    b { (chart.title) }
                    @if let [only] = named[..] {
                        @if let Some(last) = only.points.last() {
                            span.last { (shown(last[1], chart.y.unit)) }
                        }
                    }
                    @if !chart.note.is_empty() { span.note { (chart.note) } }
                }
                @if named.len() > 1 {
                    ul.legend {
                        @for series in &named { li class=(color(series)) { (series.label) } }
                    }
                }
                div.plot {
                    (lines(&chart, &frame))
                    @for (value, text) in &frame.y.ticks {
                        span.y style=(format!("bottom:{:.2}%", 100.0 * frame.y.share(*value))) { (text) }
                    }
                    @for (value, text) in &frame.x.ticks {
                        span.x style=(format!("left:{:.2}%", 100.0 * frame.x.share(*value))) { (text) }
                    }
                }
                @if !chart.x.label.is_empty() { span.axis { (chart.x.label) } }
                script type="application/json" { (PreEscaped(values(&chart, &frame))) }
            }
        }
    }

    /// The same picture from fewer points.
    fn thinned(&self) -> Chart {
        let thinned = |series: &Series| Series {
            points: if series.spread.is_empty() {
                thin(&series.points, MOST_POINTS)
            } else {
                series.points.clone()
            },
            ..series.clone()
        };
        Chart {
            series: self.series.iter().map(thinned).collect(),
            ..self.clone()
        }
    }
}

fn lines(chart: &Chart, frame: &Frame) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {SIDE} {SIDE}")) preserveAspectRatio="none" role="img" aria-label=(chart.title) {
            @for (value, _) in &frame.y.ticks {
                @let y = format!("{:.1}", (1.0 - frame.y.share(*value)) * SIDE);
                line.grid x1="0" x2=(SIDE) y1=(y) y2=(y) {}
            }
            @for series in &chart.series {
                g class=(color(series)) {
                    @if series.style != Style::Dots {
                        path class=(if series.style == Style::Pale { "pale" } else { "line" })
                            d=(frame.path(&series.points, SIDE, SIDE)) {}
                    }
                    @if !series.spread.is_empty() { path.bar d=(frame.bars(series, SIDE, SIDE)) {} }
                    @if series.is_dotted() { path.dots d=(frame.dots(&series.points, SIDE, SIDE)) {} }
                }
            }
        }
    }
}

/// The class that colours a series.
pub(crate) fn color(series: &Series) -> String {
    let dashed = if series.is_dashed() { " dashed" } else { "" };
    format!("c{}{dashed}", series.color % Series::COLORS)
}

/// What the pointer shows, as JSON that may stand inside `<script>`.
fn values(chart: &Chart, frame: &Frame) -> String {
    let series = chart
        .series
        .iter()
        .filter(|series| series.style != Style::Pale)
        .map(|series| {
            let points: Vec<_> = series.points.iter().map(|point| point.map(short)).collect();
            json!({"label": series.label, "class": color(series), "points": points, "spread": series.spread})
        });
    let range = |range: &super::frame::Range| json!([range.low, range.high]);
    let value = json!({
        "x": range(&frame.x),
        "y": range(&frame.y),
        "log": [frame.x.scale == super::Scale::Log, frame.y.scale == super::Scale::Log],
        "percent": chart.y.unit == super::Unit::Percent,
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
    use crate::chart::Axis;

    #[test]
    fn nothing_in_a_name_becomes_markup() {
        let evil = "</script><script>alert(1)</script>\"'&";
        let series = vec![
            Series::line(evil, vec![[0.0, 1.0]]),
            Series::line("b", vec![[0.0, f64::NAN]]).colored(9),
        ];
        let chart = Chart {
            note: evil.to_owned(),
            ..Chart::new(
                evil,
                Axis::named(evil, vec![evil.to_owned()]),
                Axis::new(evil),
                series,
            )
        };
        let html = chart.figure().into_string();
        assert_eq!(html.matches("<script").count(), 1);
        assert_eq!(html.matches("</script>").count(), 1);
        assert!(html.contains("\\u003c/script>") && html.contains("&lt;/script&gt;"));
        assert!(html.contains("class=\"c1 dashed\""));
        assert!(html.contains("[0.0,null]"), "a gap is null: {html}");
    }

    #[test]
    fn a_lone_series_shows_its_last_value_and_no_legend() {
        let chart = |series| {
            Chart::new("t", Axis::default(), Axis::default(), series)
                .figure()
                .into_string()
        };
        let raw = Series::line("each step", vec![[0.0, 9.0], [1.0, 8.0]]).styled(Style::Pale);
        let smooth = Series::line("smoothed", vec![[0.0, 7.0], [1.0, 0.5]]);
        let one = chart(vec![raw, smooth.clone()]);
        assert!(one.contains("<span class=\"last\">0.5000</span>") && !one.contains("legend"));
        let two = chart(vec![smooth.clone(), smooth.colored(1)]);
        assert!(two.contains("legend") && !two.contains("class=\"last\""));
    }

    #[test]
    fn long_series_are_thinned() {
        let points = (0..50_000).map(|i| [f64::from(i), f64::from(i % 7)]).collect();
        let chart = Chart::new(
            "t",
            Axis::default(),
            Axis::default(),
            vec![Series::line("a", points)],
        );
        let length = chart.figure().into_string().len();
        assert!(length < 40_000, "{length}");
    }
}
