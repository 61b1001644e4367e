//! Pages: one file each, with style, script and pictures inside.

mod compare;
mod curves;
mod matrix;
mod profiles;
mod run;
mod settings;

use fcmae_plot::{Chart, PAGE_SCRIPT, page_style};
use maud::{DOCTYPE, Markup, PreEscaped, html};

pub use compare::compare_page;
pub use matrix::matrix_page;
pub use run::{quoted, run_page};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The document around the parts of a page. A page that `is_growing` reloads itself now and then.
fn document(title: &str, is_growing: bool, style: &str, parts: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(concat!("fcmae ", env!("CARGO_PKG_VERSION")));
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(page_style())) (PreEscaped(STYLE)) (PreEscaped(style)) }
            }
            body data-growing[is_growing] {
                main { (parts) }
                script { (PreEscaped(PAGE_SCRIPT)) (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// A part with a heading; nothing where there is nothing in it.
fn section(id: &str, heading: &str, inside: &Markup) -> Markup {
    html! {
        @if !inside.0.is_empty() {
            section id=(id) { h2 { (heading) } (inside) }
        }
    }
}

/// Charts beside each other as the width allows; those without a point are left out.
fn charts(charts: &[Chart]) -> Markup {
    let drawn: Vec<_> = charts.iter().filter(|chart| !chart.is_empty()).collect();
    html! {
        @if !drawn.is_empty() {
            div.charts { @for chart in drawn { (chart.html()) } }
        }
    }
}

/// A cell that sorts by `order`, whatever it says.
fn number_cell(order: f64, text: &str, is_best: bool) -> Markup {
    html! { td.number.best[is_best] data-order=[order.is_finite().then_some(order)] { (text) } }
}
