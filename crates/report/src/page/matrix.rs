//! The page of a matrix: its table, which sorts, and for each axis and measure a plot.

use std::collections::{BTreeMap, BTreeSet};

use fcmae_plot::{Axis, Chart, Point, Series, Style, Unit, shown};
use maud::{Markup, html};

use super::{charts, document, number_cell, section};
use crate::matrix::{Better, Cell, Estimate, Matrix, Measure};

/// The page of a matrix.
#[must_use]
pub fn matrix_page(matrix: &Matrix) -> String {
    let wanted = matrix
        .cells
        .iter()
        .map(|cell| cell.seeds.len())
        .max()
        .unwrap_or_default();
    let parts = html! {
        header {
            h1 { (matrix.title) }
            p.lead {
                (matrix.cells.len()) " cells, " (wanted) @if wanted == 1 { " seed" } @else { " seeds" }
                "; mean ± standard deviation over the seeds"
            }
        }
        (section("table", "Table", &table(matrix)))
        @for axis in &matrix.axes {
            (section(axis, axis, &charts(&plots(matrix, axis))))
        }
    };
    document(&matrix.title, false, "", &parts)
}

fn table(matrix: &Matrix) -> Markup {
    let published: BTreeSet<&String> = matrix
        .cells
        .iter()
        .flat_map(|cell| cell.published.keys())
        .collect();
    let best: Vec<Option<f64>> = matrix
        .measures
        .iter()
        .map(|measure| best(matrix, measure))
        .collect();
    html! {
        div.scroll {
            table.sortable {
                thead {
                    tr {
                        th { "cell" }
                        @for axis in &matrix.axes { th { (axis) } }
                        @for measure in &matrix.measures { th.number { (heading(measure)) } }
                        th.number { "seeds" }
                        @for what in &published { th.number.published { (what) br; "published" } }
                    }
                }
                tbody {
                    @for cell in &matrix.cells {
                        tr {
                            td { (cell.name) }
                            @for axis in &matrix.axes {
                                @let order = cell.values.get(axis).and_then(serde_json::Value::as_f64);
                                td data-order=[order] { (cell.place(axis)) }
                            }
                            @for (measure, best) in matrix.measures.iter().zip(&best) {
                                @let estimate = cell.estimate(&measure.key);
                                @let mean = estimate.map_or(f64::NAN, |estimate| estimate.mean);
                                (number_cell(mean, &words(estimate), *best == Some(mean)))
                            }
                            (number_cell(cell.seeds.len() as f64, &cell.seeds.len().to_string(), false))
                            @for what in &published {
                                @let value = cell.published.get(*what).copied().unwrap_or(f64::NAN);
                                (number_cell(value, &shown(value, Unit::Plain), false))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn heading(measure: &Measure) -> String {
    let arrow = match measure.better {
        Better::Lower => "↓",
        Better::Higher => "↑",
    };
    match measure.unit.as_str() {
        "" => format!("{} {arrow}", measure.label),
        unit => format!("{} ({unit}) {arrow}", measure.label),
    }
}

/// `0.3241 ± 0.0012`.
fn words(estimate: Option<Estimate>) -> String {
    match estimate {
        None => "–".to_owned(),
        Some(Estimate { mean, seeds: 1, .. }) => shown(mean, Unit::Plain),
        Some(Estimate { mean, spread, .. }) => format!("{} ± {}", shown(mean, Unit::Plain), rounded(spread)),
    }
}

/// Two digits are all that a spread of few seeds has.
fn rounded(spread: f64) -> String {
    if spread == 0.0 {
        return "0".to_owned();
    }
    let decimals = (1 - spread.abs().log10().floor() as i32).clamp(0, 8) as usize;
    format!("{spread:.decimals$}")
}

fn best(matrix: &Matrix, measure: &Measure) -> Option<f64> {
    let means = matrix
        .cells
        .iter()
        .filter_map(|cell| Some(cell.estimate(&measure.key)?.mean));
    match measure.better {
        Better::Lower => means.min_by(f64::total_cmp),
        Better::Higher => means.max_by(f64::total_cmp),
    }
}

/// A plot of each measure along an axis, where that has at least two places.
fn plots(matrix: &Matrix, axis: &str) -> Vec<Chart> {
    let mut places: Vec<String> = Vec::new();
    for cell in &matrix.cells {
        let place = cell.place(axis);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.len() < 2 {
        return Vec::new();
    }
    let is_number = |cell: &Cell| cell.values.get(axis).is_some_and(serde_json::Value::is_number);
    let numbers = matrix.cells.iter().all(is_number);
    let at = |cell: &Cell| match cell.values.get(axis).and_then(serde_json::Value::as_f64) {
        Some(number) if numbers => number,
        _ => places
            .iter()
            .position(|place| *place == cell.place(axis))
            .unwrap_or_default() as f64,
    };
    let x = if numbers {
        Axis::new(axis)
    } else {
        Axis::named(axis, places.clone())
    };
    let plot = |measure: &Measure| {
        let series = series(matrix, axis, measure, numbers, &at);
        Chart::new(&heading(measure), x.clone(), Axis::default(), series)
    };
    matrix.measures.iter().map(plot).collect()
}

/// A series for each combination of the other axes' places: the means with their spread, and the seeds behind them.
fn series(
    matrix: &Matrix,
    axis: &str,
    measure: &Measure,
    is_line: bool,
    at: &dyn Fn(&Cell) -> f64,
) -> Vec<Series> {
    let mut groups: Vec<(String, Vec<&Cell>)> = Vec::new();
    for cell in &matrix.cells {
        let label = beside(matrix, axis, cell);
        match groups.iter_mut().find(|(known, _)| *known == label) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((label, vec![cell])),
        }
    }
    let count = groups.len() as f64;
    let groups = groups.into_iter().enumerate();
    let drawn = groups.map(|(color, (label, mut cells))| {
        // side by side, where places have names
        let aside = if is_line {
            0.0
        } else {
            0.5 * ((color as f64 + 0.5) / count - 0.5)
        };
        cells.sort_by(|a, b| at(a).total_cmp(&at(b)));
        let estimates = cells
            .iter()
            .filter_map(|cell| Some((at(cell) + aside, cell.estimate(&measure.key)?)));
        let (points, spread): (Vec<Point>, Vec<f64>) = estimates
            .map(|(x, estimate)| ([x, estimate.mean], estimate.spread))
            .unzip();
        Series {
            label,
            color,
            style: if is_line { Style::Line } else { Style::Dots },
            points,
            spread,
        }
    });
    drawn.collect()
}

/// The places of a cell on the other axes.
fn beside(matrix: &Matrix, axis: &str, cell: &Cell) -> String {
    let others = matrix.axes.iter().filter(|other| *other != axis);
    let places: BTreeMap<&String, String> = others.map(|other| (other, cell.place(other))).collect();
    let words: Vec<String> = places
        .iter()
        .map(|(name, place)| format!("{} {place}", name.rsplit('.').next().unwrap_or(name)))
        .collect();
    if words.is_empty() {
        "mean".to_owned()
    } else {
        words.join(", ")
    }
}
