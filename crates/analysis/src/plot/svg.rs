//! The drawing itself: elements and their places.

use std::fmt::Write;

use super::axis::Scale;
use super::{Chart, Figure};

/// Size of one chart with its axes, and where its lines are.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 46.0;
/// Height of the title and of a row of the legend.
const TITLE: f64 = 34.0;
const LEGEND: f64 = 22.0;
/// About the width of a letter, and of the mark before a name.
const LETTER: f64 = 6.6;
const MARK: f64 = 28.0;
/// With more points a line has no dots.
const MOST_DOTS: usize = 60;
/// Colours that can be told apart, without and with red and green; further lines repeat them dashed.
const LIGHT: [&str; COLORS] = [
    "#0068b5", "#c84b00", "#00795a", "#a3458b", "#8a6d00", "#3f3f9e", "#b0223c", "#52606d",
];
const DARK: [&str; COLORS] = [
    "#5db4f5", "#ff9a5c", "#3fcf9f", "#e68ccf", "#e3c34a", "#a5a5ff", "#ff7f92", "#a9b6c2",
];
const COLORS: usize = 8;

pub(super) fn figure(figure: &Figure) -> String {
    let names = figure.names();
    let columns = figure.columns.max(1).min(figure.charts.len().max(1));
    let rows = figure.charts.len().div_ceil(columns);
    let width = columns as f64 * WIDTH;
    let legend_rows = legend_rows(&names, width);
    let charts_end = TITLE + rows as f64 * HEIGHT;
    let height = charts_end + LEGEND * legend_rows.len() as f64 + 12.0;
    let title = escape(&figure.title);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fcmae-plot\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n<style>{}</style>\n\
         <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"22\">{title}</text>\n",
        style()
    );
    for (at, one) in figure.charts.iter().enumerate() {
        let (x, y) = (
            (at % columns) as f64 * WIDTH,
            TITLE + (at / columns) as f64 * HEIGHT,
        );
        put(&mut out, format_args!("<g transform=\"translate({x} {y})\">\n"));
        chart(&mut out, one, &names);
        out += "</g>\n";
    }
    for (row, items) in legend_rows.iter().enumerate() {
        legend(&mut out, items, charts_end + LEGEND * (row as f64 + 0.5));
    }
    out + "</svg>\n"
}

/// Rules for both grounds, written out: many viewers of SVG know no variables.
fn style() -> String {
    let colors = |within: &str, palette: &[&str; COLORS]| {
        let rule = |(at, color): (usize, &&str)| {
            format!("{within} .l{at}{{stroke:{color}}}{within} .d{at}{{fill:{color}}}")
        };
        palette.iter().enumerate().map(rule).collect::<String>()
    };
    let own = ".fcmae-plot";
    let dark = format!(
        "{own} .ground{{fill:#14171a}}{own} text{{fill:#e6e6e6}}{own} .quiet{{fill:#a3abb3}}{own} .grid{{stroke:#30363c}}\
         {own} .axis{{stroke:#7c858e}}{}",
        colors(own, &DARK)
    );
    format!(
        "{own} text{{font:12px system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1c1e21}}\
         {own} .title{{font-size:15px;font-weight:600}}{own} .head{{font-size:13px;font-weight:600}}\
         {own} .quiet{{fill:#5c656e}}{own} .ground{{fill:#fff}}{own} .grid{{stroke:#e3e6e9}}{own} .axis{{stroke:#8a939c}}\
         {own} .line{{fill:none;stroke-width:2;stroke-linejoin:round}}{own} .dashed{{stroke-dasharray:6 4}}{}\
         @media (prefers-color-scheme:dark){{{dark}}}",
        colors(own, &LIGHT)
    )
}

fn chart(out: &mut String, chart: &Chart, names: &[&str]) {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let x = Scale::new(&chart.x, points().map(|point| point[0]));
    let y = Scale::new(&chart.y, points().map(|point| point[1]));
    let y = if chart.y.range.is_some() { y } else { y.padded() };
    let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let along = |value: f64| LEFT + x.place(value) * (right - LEFT);
    let down = |value: f64| floor - y.place(value) * (floor - TOP);
    put(
        out,
        format_args!(
            "<text class=\"head\" x=\"{LEFT}\" y=\"18\">{}</text>\n",
            escape(&chart.title)
        ),
    );
    for (value, text) in y.ticks(6) {
        let at = down(value);
        put(
            out,
            format_args!(
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"quiet\" text-anchor=\"end\" \
                 x=\"{:.1}\" y=\"{:.1}\">{text}</text>\n",
                LEFT - 7.0,
                at + 4.0
            ),
        );
    }
    for (value, text) in x.ticks(6) {
        let at = along(value);
        put(
            out,
            format_args!(
                "<path class=\"axis\" d=\"M{at:.1} {floor}v5\"/><text class=\"quiet\" text-anchor=\"middle\" x=\"{at:.1}\" \
                 y=\"{:.1}\">{text}</text>\n",
                floor + 18.0
            ),
        );
    }
    let (middle, half) = ((LEFT + right) / 2.0, (TOP + floor) / 2.0);
    put(
        out,
        format_args!(
            "<path class=\"axis\" d=\"M{LEFT} {floor}H{right}\"/>\
             <text text-anchor=\"middle\" x=\"{middle}\" y=\"{:.1}\">{}</text>\
             <text text-anchor=\"middle\" transform=\"translate(14 {half}) rotate(-90)\">{}</text>\n",
            floor + 36.0,
            escape(&chart.x.label),
            escape(&chart.y.label)
        ),
    );
    for line in &chart.lines {
        let Some(at) = names.iter().position(|name| *name == line.name) else {
            continue;
        };
        let places = line.points.iter().map(|&[x, y]| {
            let place = [along(x), down(y)];
            (place.iter().all(|side| side.is_finite())).then_some(place)
        });
        let path = path(places.clone());
        put(
            out,
            format_args!("<path class=\"line {}\" d=\"{path}\"/>\n", stroke(at)),
        );
        if line.points.len() <= MOST_DOTS {
            for ([x, y], place) in line.points.iter().zip(places) {
                let Some([across, high]) = place else { continue };
                put(
                    out,
                    format_args!(
                        "<circle class=\"d{}\" cx=\"{across:.1}\" cy=\"{high:.1}\" r=\"3\"><title>{}: {x:.4}, {y:.4}</title>\
                         </circle>\n",
                        at % COLORS,
                        escape(&line.name)
                    ),
                );
            }
        }
    }
}

/// Moves and lines through places; a place that is missing breaks the line.
fn path(places: impl Iterator<Item = Option<[f64; 2]>>) -> String {
    let (mut path, mut is_broken) = (String::new(), true);
    for place in places {
        if let Some([x, y]) = place {
            put(
                &mut path,
                format_args!("{}{x:.1} {y:.1}", if is_broken { 'M' } else { 'L' }),
            );
        }
        is_broken = place.is_none();
    }
    path
}

/// The names, each with its number, in rows that fit `width`.
fn legend_rows<'a>(names: &[&'a str], width: f64) -> Vec<Vec<(usize, &'a str)>> {
    let mut rows: Vec<Vec<(usize, &str)>> = Vec::new();
    let mut used = f64::INFINITY;
    for (at, name) in names.iter().enumerate() {
        let wanted = item_width(name);
        if used + wanted > width - LEFT {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += wanted;
        rows.last_mut()
            .expect("the first name opens a row")
            .push((at, name));
    }
    rows
}

fn item_width(name: &str) -> f64 {
    MARK + LETTER * name.chars().count() as f64 + 18.0
}

fn legend(out: &mut String, items: &[(usize, &str)], middle: f64) {
    let mut x = LEFT;
    for (at, name) in items {
        put(
            out,
            format_args!(
                "<path class=\"line {}\" d=\"M{x:.1} {middle}h20\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
                stroke(*at),
                x + MARK,
                middle + 4.0,
                escape(name)
            ),
        );
        x += item_width(name);
    }
}

fn stroke(at: usize) -> String {
    let dashed = if at < COLORS { "" } else { " dashed" };
    format!("l{}{dashed}", at % COLORS)
}

fn put(out: &mut String, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("a string takes all that is written");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Line};
    use super::*;

    fn line(name: &str, points: &[[f64; 2]]) -> Line {
        Line {
            name: name.to_owned(),
            points: points.to_vec(),
        }
    }

    fn chart_of(lines: Vec<Line>) -> Chart {
        Chart {
            title: String::new(),
            x: Axis::fixed("x", [0.0, 1.0]),
            y: Axis::fixed("y", [0.0, 1.0]),
            lines,
        }
    }

    fn count(svg: &str, what: &str) -> usize {
        svg.matches(what).count()
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let svg = Figure::single("a", chart_of(vec![line("a", &[[0.0, 0.0], [1.0, 1.0]])])).to_svg();
        let (right, floor) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        assert!(
            svg.contains(&format!("d=\"M{LEFT:.1} {floor:.1}L{right:.1} {TOP:.1}\"")),
            "{svg}"
        );
        assert_eq!(count(&svg, "<circle"), 2);
    }

    #[test]
    fn what_is_not_finite_breaks_the_line() {
        let points = [[0.0, 0.0], [0.2, 0.5], [0.4, f64::NAN], [0.6, 0.5], [0.8, 0.5]];
        let svg = Figure::single("a", chart_of(vec![line("a", &points)])).to_svg();
        let start = svg.find("<path class=\"line l0\"").unwrap();
        let path = &svg[start..start + svg[start..].find("/>").unwrap()];
        assert_eq!((count(path, "M"), count(path, "L")), (2, 2), "{path}");
        assert!(!svg.contains("NaN") && count(&svg, "<circle") == 4);
    }

    #[test]
    fn a_name_has_one_colour_and_one_place_in_the_legend() {
        let all = [[0.0, 0.1], [1.0, 0.2]];
        let charts = vec![
            chart_of(vec![line("b", &all), line("a", &all)]),
            chart_of(vec![line("a", &all)]),
        ];
        let figure = Figure {
            title: "t".to_owned(),
            columns: 2,
            charts,
        };
        let svg = figure.to_svg();
        assert_eq!(count(&svg, "line l0"), 2); // once drawn, once in the legend
        assert_eq!(count(&svg, "line l1"), 3);
        assert!(svg.contains("width=\"920\""));
    }

    #[test]
    fn names_are_text_and_never_markup() {
        let name = "<script>\"&";
        let svg = Figure::single(name, chart_of(vec![line(name, &[[0.5, 0.5]])])).to_svg();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;&amp;"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn more_lines_than_colours_are_dashed_and_the_legend_wraps() {
        let lines: Vec<Line> = (0..20)
            .map(|i| {
                line(
                    &format!("a rather long name of line {i}"),
                    &[[0.0, 0.0], [1.0, 0.5]],
                )
            })
            .collect();
        let svg = Figure::single("many", chart_of(lines)).to_svg();
        assert_eq!(count(&svg, "l0 dashed"), 2 * 2); // lines 8 and 16
        let heights = legend_rows(&["one", "two"], WIDTH).len();
        assert_eq!(heights, 1);
        assert_eq!(
            legend_rows(&["a name of more than forty letters, really"; 3], WIDTH).len(),
            3
        );
    }

    #[test]
    fn an_empty_figure_is_a_picture_too() {
        let svg = Figure {
            title: String::new(),
            columns: 0,
            charts: Vec::new(),
        }
        .to_svg();
        assert!(svg.contains("viewBox=\"0 0 460 46\""), "{svg}");
    }
}
