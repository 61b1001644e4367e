//! Charts in a grid as an SVG file: words in it, no script, readable on light and dark ground.

use maud::{Markup, PreEscaped, html};

use crate::chart::{Chart, Point, Series, Style};
use crate::frame::Frame;
use crate::marks::{MARKS_STYLE, color_class, marks, palette};
use crate::number::shown;

/// Width of a chart, and what of it lies around its box; above the box stand the title and half of the uppermost mark.
const WIDTH: f64 = 460.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 48.0;
/// Height of the box in a single row of charts, and where there are several.
const HIGH: f64 = 220.0;
const LOW: f64 = 140.0;
/// Between the figure's title and its charts.
const REST: f64 = 6.0;
/// From one line of words to the next.
const LINE: f64 = 20.0;
/// Width of a letter as a share of its size: a little more than the fonts of the style sheet need on average.
const LETTER: f64 = 0.58;
/// Width of a name in the legend beside its letters: the mark before it and the room behind it.
const MARK: f64 = 28.0;
const GAP: f64 = 18.0;

/// How words are written: a class of the style sheet, and the size that it gives to letters.
type Hand = (&'static str, f64);
const TITLE: Hand = ("title", 15.0);
const HEAD: Hand = ("head", 13.0);
const NOTE: Hand = ("quiet", 12.0);

/// Charts in a grid under one title and over one legend. What has the same name and colour in several of them stands in the
/// legend once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figure {
    /// Above everything; empty = none.
    pub title: String,
    /// A sentence below the title; empty = none.
    pub note: String,
    /// Charts side by side; as many as there are, and at least 1.
    pub columns: usize,
    /// Row by row.
    pub charts: Vec<Chart>,
}

impl Chart {
    /// The chart as an SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let charts = vec![self.clone()];
        Figure {
            charts,
            ..Figure::default()
        }
        .svg()
    }
}

impl Figure {
    /// The figure as an SVG document, which can also stand inside a page.
    #[must_use]
    pub fn svg(&self) -> String {
        let columns = self.columns.clamp(1, self.charts.len().max(1));
        let rows = self.charts.len().div_ceil(columns);
        let named = self.named();
        let longest = named.iter().map(|series| LEFT + item_width(series));
        let width = longest.fold(columns as f64 * WIDTH, f64::max);

        let title = heading(&self.title, TITLE, &self.note, width);
        let heads: Vec<_> = self.charts.iter().map(head).collect();
        let head_height = LINE * heads.iter().map(Vec::len).max().unwrap_or_default() as f64;
        let size = [WIDTH - LEFT - RIGHT, if rows > 1 { LOW } else { HIGH }];
        let row_height = head_height + TOP + size[1] + BOTTOM;
        let top = TOP + LINE * title.len() as f64 + REST;
        let legend_top = top + rows as f64 * row_height;
        let legend = places(&named, width);
        let height = legend_top + legend.last().map_or(0.0, |(_, [_, y])| y + LINE) + TOP;

        let file = html! {
            svg.fcmae-plot xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) width=(width)
                height=(height) role="img" aria-label=(self.name()) {
                style { (PreEscaped(style())) }
                rect.ground width=(width) height=(height) {}
                (words(&title, [LEFT, TOP]))
                @for (i, (chart, head)) in self.charts.iter().zip(&heads).enumerate() {
                    @let place = [(i % columns) as f64 * WIDTH + LEFT, top + (i / columns) as f64 * row_height];
                    (words(head, place))
                    g transform=(format!("translate({} {})", place[0], place[1] + head_height + TOP)) {
                        (drawn(&chart.thinned(), size))
                    }
                }
                @for (series, [x, y]) in &legend { (item(series, [*x, legend_top + y])) }
            }
        };
        file.into_string() + "\n"
    }

    /// What the legend says.
    fn named(&self) -> Vec<&Series> {
        let all = self.charts.iter().flat_map(|chart| &chart.series);
        let mut named: Vec<&Series> = Vec::new();
        for series in all.filter(|series| series.is_named() && !series.label.is_empty()) {
            let is_known = |known: &&Series| (known.color, &known.label) == (series.color, &series.label);
            if !named.iter().any(is_known) {
                named.push(series);
            }
        }
        named
    }

    /// The first title there is.
    fn name(&self) -> &str {
        let titles = self.charts.iter().map(|chart| chart.title.as_str());
        let mut titles = std::iter::once(self.title.as_str()).chain(titles);
        titles.find(|title| !title.is_empty()).unwrap_or_default()
    }
}

fn style() -> String {
    let colors = palette(|i, color| format!(".fcmae-plot .c{i} {{ stroke: {color}; }}\n"));
    MARKS_STYLE.to_owned() + include_str!("style/file.css") + &colors
}

/// A chart without its title, in a box of this size whose upper left is the origin.
fn drawn(chart: &Chart, size: [f64; 2]) -> Markup {
    let frame = Frame::of(chart, size);
    let [width, height] = size;
    html! {
        (marks(chart, &frame))
        path.axis d=(format!("M0 {height}h{width}")) {}
        @for (value, text) in &frame.y.ticks {
            text.quiet x="-7" y=(format!("{:.1}", frame.down(*value) + 4.0)) text-anchor="end" { (text) }
        }
        @for (value, text) in &frame.x.ticks {
            @let x = format!("{:.1}", frame.along(*value));
            path.axis d=(format!("M{x} {height}v5")) {}
            text.quiet x=(x) y=(height + 18.0) text-anchor="middle" { (text) }
        }
        text x=(width / 2.0) y=(height + 36.0) text-anchor="middle" { (chart.x.label) }
        text transform=(format!("translate(-44 {}) rotate(-90)", height / 2.0)) text-anchor="middle" { (chart.y.label) }
        @for series in chart.series.iter().filter(|series| series.is_dotted()) { (spots(chart, series, &frame)) }
    }
}

/// What is said where the pointer rests on a dot.
fn spots(chart: &Chart, series: &Series, frame: &Frame) -> Markup {
    let said = |[x, y]: Point| {
        let [x, y] = [shown(x, chart.x.unit), shown(y, chart.y.unit)];
        format!("{}: {x}, {y}", series.label)
    };
    let spots = series
        .points
        .iter()
        .filter_map(|&point| Some((frame.place(point)?, said(point))));
    html! {
        @for ([x, y], said) in spots {
            circle.spot cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="6" { title { (said) } }
        }
    }
}

/// Lines of words below each other, from the upper left.
fn words(lines: &[(&'static str, String)], [x, y]: Point) -> Markup {
    html! {
        @for (i, (class, line)) in lines.iter().enumerate() {
            text class=(class) x=(x) y=(y + LINE * i as f64 + 15.0) { (line) }
        }
    }
}

fn head(chart: &Chart) -> Vec<(&'static str, String)> {
    heading(&chart.title, HEAD, &chart.note, WIDTH)
}

/// A title and a note, in lines that fit into a picture of this width.
fn heading(title: &str, hand: Hand, note: &str, width: f64) -> Vec<(&'static str, String)> {
    let lines = |text, (class, size): Hand| {
        let letters = (width - LEFT - RIGHT) / (LETTER * size);
        wrap(text, letters as usize)
            .into_iter()
            .map(move |line| (class, line))
    };
    lines(title, hand).chain(lines(note, NOTE)).collect()
}

/// Words in lines of at most so many letters; a word that is longer has a line of its own.
fn wrap(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                *line += " ";
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Where names stand in the legend, in rows that fit `width`.
fn places<'a>(named: &[&'a Series], width: f64) -> Vec<(&'a Series, Point)> {
    let [mut x, mut y] = [LEFT, 0.0];
    let place = |series: &&'a Series| {
        let wide = item_width(series);
        if x > LEFT && x + wide > width {
            [x, y] = [LEFT, y + LINE];
        }
        x += wide;
        (*series, [x - wide, y])
    };
    named.iter().map(place).collect()
}

fn item_width(series: &Series) -> f64 {
    MARK + LETTER * NOTE.1 * series.label.chars().count() as f64 + GAP
}

fn item(series: &Series, [x, y]: Point) -> Markup {
    let middle = y + LINE / 2.0;
    html! {
        g class=(color_class(series.color)) {
            @if series.style == Style::Dots {
                path.dots d=(format!("M{} {middle}h.01", x + 10.0)) {}
            } @else {
                path.line d=(format!("M{x} {middle}h20")) {}
            }
        }
        text x=(x + MARK) y=(middle + 4.0) { (series.label) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::Axis;

    const ENDS: [Point; 2] = [[0.0, 0.0], [1.0, 1.0]];

    fn chart(series: Vec<Series>) -> Chart {
        let axis = || Axis::reaching("", [0.0, 1.0]);
        Chart::new("", axis(), axis(), series)
    }

    fn count(svg: &str, what: &str) -> usize {
        svg.matches(what).count()
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let svg = chart(vec![Series::line("a", ENDS.to_vec())]).svg();
        assert!(svg.contains("class=\"line\" d=\"M0.0 220.0L384.0 0.0\""), "{svg}");
        assert_eq!(count(&svg, "<circle"), 2);
        assert!(svg.contains("<title>a: 1.000, 1.000</title>"));
    }

    #[test]
    fn what_is_not_finite_breaks_the_line() {
        let points = vec![[0.0, 0.0], [0.2, 0.5], [0.4, f64::NAN], [0.6, 0.5], [0.8, 0.5]];
        let svg = chart(vec![Series::line("a", points)]).svg();
        let path = svg.split("class=\"line\" d=\"").nth(1).unwrap();
        let path = path.split('"').next().unwrap();
        assert_eq!((count(path, "M"), count(path, "L")), (2, 2), "{path}");
        assert!(!svg.contains("NaN") && count(&svg, "<circle") == 4);
    }

    #[test]
    fn the_legend_names_each_curve_once() {
        let line = |name: &str, color| Series::line(name, ENDS.to_vec()).colored(color);
        let behind = line("behind", 1).styled(Style::Pale);
        let figure = Figure {
            columns: 2,
            charts: vec![
                chart(vec![behind, line("a", 1), line("b", 0)]),
                chart(vec![line("a", 1)]),
            ],
            ..Figure::default()
        };
        let svg = figure.svg();
        assert_eq!(
            ["a", "b", "behind"].map(|name| count(&svg, &format!(">{name}</text>"))),
            [1, 1, 0]
        );
        assert_eq!(count(&svg, "<g class=\"c0\">"), 2); // drawn, and in the legend
        assert_eq!(count(&svg, "<g class=\"c1\">"), 4);
        assert!(svg.contains("width=\"920\""));
    }

    #[test]
    fn names_are_text_and_never_markup() {
        let name = "<script>\"&";
        let mut chart = chart(vec![Series::line(name, ENDS.to_vec())]);
        chart.title = name.to_owned();
        let svg = chart.svg();
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;&quot;&amp;"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    /// Width and height of the picture.
    fn size(svg: &str) -> Vec<f64> {
        let sides = svg.split("viewBox=\"0 0 ").nth(1).unwrap();
        let sides = sides.split('"').next().unwrap();
        sides.split(' ').map(|side| side.parse().unwrap()).collect()
    }

    #[test]
    fn long_titles_and_legends_take_more_lines_and_long_names_more_room() {
        let named = |title: &str, label: String, count| {
            let series = vec![Series::line(&label, ENDS.to_vec()); count];
            let series = series.into_iter().enumerate();
            Chart {
                title: title.to_owned(),
                ..chart(series.map(|(color, series)| series.colored(color)).collect())
            }
        };
        let short = size(&named("one two", "a".into(), 1).svg());
        let svg = named(&"letters ".repeat(14), "a".into(), 1).svg();
        assert_eq!(size(&svg), [short[0], short[1] + 2.0 * LINE]);
        let many = named("one two", "a name of twenty let".into(), 9).svg();
        assert_eq!(size(&many), [short[0], short[1] + 4.0 * LINE]); // two fit in a row
        assert_eq!(count(&many, "c0 dashed"), 2);
        assert!(size(&named("one two", "long".repeat(30), 1).svg())[0] > 800.0);
    }

    #[test]
    fn words_fit_their_lines() {
        assert_eq!(wrap("one two  three", 7), ["one two", "three"]);
        assert_eq!(
            wrap("a word-that-is-too-long b", 7),
            ["a", "word-that-is-too-long", "b"]
        );
        assert_eq!(wrap("", 7), [""; 0]);
    }

    #[test]
    fn an_empty_figure_is_a_picture_too() {
        assert_eq!(size(&Figure::default().svg()), [460.0, 26.0]);
    }
}
