//! A chart as an SVG file of its own: light, with words in it, nothing to click.

use maud::{Markup, html};

use super::{Chart, Frame, Series, Style};

/// Size of the picture, and where the lines lie in it.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 48.0;

/// As on a light page.
const COLORS: [&str; Series::COLORS] = [
    "#2660c8", "#c9570b", "#1f7f55", "#8a4fc0", "#b8325a", "#0d7d8c", "#8a6a00", "#5b6472",
];

impl Chart {
    /// The chart as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let frame = Frame::of(self);
        let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        let page = html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {HEIGHT}"))
                font-family="system-ui, sans-serif" font-size="13" fill="#333" {
                rect width="100%" height="100%" fill="#fff" {}
                text x=(LEFT) y="24" font-size="15" font-weight="600" { (self.title) }
                (legend(self))
                g transform=(format!("translate({LEFT} {TOP})")) {
                    (axes(self, &frame, width, height))
                    @for series in &self.series { (curve(series, &frame, width, height)) }
                }
            }
        };
        page.into_string()
    }
}

fn legend(chart: &Chart) -> Markup {
    let named: Vec<&Series> = chart
        .series
        .iter()
        .filter(|series| series.style != Style::Pale)
        .collect();
    let starts = named.iter().scan(LEFT, |x, series| {
        let start = *x;
        *x += 34.0 + 7.5 * series.label.chars().count() as f64;
        Some(start)
    });
    html! {
        @for (at, series) in starts.zip(&named) {
            path d=(format!("M{at} 42h16")) stroke=(stroke(series)) stroke-width="2.5" stroke-dasharray=[dash(series)] {}
            text x=(at + 22.0) y="46" { (series.label) }
        }
    }
}

fn axes(chart: &Chart, frame: &Frame, width: f64, height: f64) -> Markup {
    html! {
        @for (value, text) in &frame.y.ticks {
            @let y = format!("{:.1}", (1.0 - frame.y.share(*value)) * height);
            line x2=(width) y1=(y) y2=(y) stroke="#ddd" {}
            text x="-8" y=(y) dy="4" text-anchor="end" { (text) }
        }
        @for (value, text) in &frame.x.ticks {
            text x=(format!("{:.1}", frame.x.share(*value) * width)) y=(height + 20.0) text-anchor="middle" { (text) }
        }
        text x=(width) y=(height + 38.0) text-anchor="end" fill="#777" { (chart.x.label) }
    }
}

fn curve(series: &Series, frame: &Frame, width: f64, height: f64) -> Markup {
    let opacity = if series.style == Style::Pale { "0.3" } else { "1" };
    html! {
        g fill="none" stroke=(stroke(series)) stroke-opacity=(opacity) stroke-linecap="round" stroke-linejoin="round" {
            @if series.style != Style::Dots {
                path d=(frame.path(&series.points, width, height)) stroke-width="2" stroke-dasharray=[dash(series)] {}
            }
            @if !series.spread.is_empty() { path d=(frame.bars(series, width, height)) {} }
            @if series.is_dotted() { path d=(frame.dots(&series.points, width, height)) stroke-width="6" {} }
        }
    }
}

fn stroke(series: &Series) -> &'static str {
    COLORS[series.color % Series::COLORS]
}

fn dash(series: &Series) -> Option<&'static str> {
    series.is_dashed().then_some("6 5")
}
