//! The page of several runs: their curves over each other, their final numbers, what differs in their configs.

use fcmae_plot::{Chart, Unit, color_class, shown};
use maud::{Markup, html};

use super::curves::{self, Curve};
use super::{charts, document, number_cell, profiles, section, settings};
use crate::metrics::Metrics;
use crate::number::{median, time};
use crate::run::Run;

/// A page that compares runs, in their order.
#[must_use]
pub fn compare_page(runs: &[Run]) -> String {
    let names = names(runs);
    let all: Vec<(&str, &Metrics)> = names
        .iter()
        .map(String::as_str)
        .zip(runs.iter().map(|run| &run.metrics))
        .collect();
    let compared =
        |curves: &[Curve]| -> Vec<Chart> { curves.iter().flat_map(|curve| curve.compared(&all)).collect() };
    let metrics = || runs.iter().map(|run| &run.metrics);
    let mut monitored = compared(&curves::others(metrics()));
    monitored.extend(profiles::compared(&all));
    let parts = html! {
        header { h1 { (runs.len()) " runs" } }
        div.compared {
            ul.legend.runs { @for (i, name) in names.iter().enumerate() { li class=(color_class(i)) { (name) } } }
            (section("numbers", "Final numbers", &numbers(runs, &names)))
            (section("losses", "Loss", &charts(&compared(&[curves::loss()]))))
            (section("measures", "Held-out images", &charts(&compared(&curves::measures(metrics())))))
            (section("monitor", "Monitor", &charts(&monitored)))
            (section("running", "Optimiser and speed", &charts(&compared(&curves::running()))))
            (section("config", "Differences of the configs", &html! {
                @if !runs.is_empty() { (settings::differences(runs, &names)) }
            }))
        }
    };
    document("Runs compared", !runs.iter().all(Run::is_finished), "", &parts)
}

/// The names of the folders, with their paths where two are the same.
fn names(runs: &[Run]) -> Vec<String> {
    let is_twice = |name: &str| runs.iter().filter(|run| run.name == name).count() > 1;
    let name = |run: &Run| match is_twice(&run.name) {
        true => run.folder.display().to_string(),
        false => run.name.clone(),
    };
    runs.iter().map(name).collect()
}

/// A number of each run.
struct Column {
    title: String,
    unit: Unit,
    values: Vec<f64>,
    /// Whether the best one is the highest; `None` where none is better.
    higher_is_better: Option<bool>,
}

fn numbers(runs: &[Run], names: &[String]) -> Markup {
    let columns: Vec<Column> = columns(runs)
        .into_iter()
        .filter(|column| column.values.iter().any(|value| value.is_finite()))
        .collect();
    let seconds = |run: &Run| {
        run.metrics
            .of_epochs("seconds")
            .iter()
            .map(|point| point[1])
            .sum::<f64>()
    };
    html! {
        div.scroll {
            table.sortable {
                thead {
                    tr {
                        th { "Run" }
                        th.number { "Epochs" }
                        @for column in &columns { th.number { (column.title) } }
                        th.number { "Time" }
                    }
                }
                tbody {
                    @for (i, (run, name)) in runs.iter().zip(names).enumerate() {
                        tr {
                            td.name { span class=(format!("key {}", color_class(i))) {} (name) }
                            (number_cell(run.metrics.epochs_done as f64, &run.metrics.epochs_done.to_string(), false))
                            @for column in &columns {
                                @let value = column.values[i];
                                (number_cell(value, &shown(value, column.unit), column.best() == Some(value)))
                            }
                            (number_cell(seconds(run), &time(seconds(run)), false))
                        }
                    }
                }
            }
        }
    }
}

fn columns(runs: &[Run]) -> Vec<Column> {
    let each = |value: &dyn Fn(&Metrics) -> f64| runs.iter().map(|run| value(&run.metrics)).collect();
    let last = |name: String| each(&|metrics: &Metrics| metrics.last(&name).unwrap_or(f64::NAN));
    let column = |title: &str, unit, values, higher_is_better| Column {
        title: title.to_owned(),
        unit,
        values,
        higher_is_better,
    };
    let mut columns = vec![
        column("Training loss", Unit::Plain, last("train_loss".into()), None),
        column("Held-out loss", Unit::Plain, last("val_loss".into()), Some(false)),
    ];
    for (part, beside) in [("val", ""), ("val_ema", ", averaged")] {
        for measure in ["top1", "map", "macro_f1", "auroc"] {
            let (title, unit) = curves::measure_words(measure);
            let values = last(format!("{part}.{measure}"));
            columns.push(column(&format!("{title}{beside}"), unit, values, Some(true)));
        }
    }
    let rate = |metrics: &Metrics| median(metrics.of_steps("images_per_second").iter().map(|point| point[1]));
    columns.push(column("Images/s", Unit::Plain, each(&rate), None));
    columns
}

impl Column {
    fn best(&self) -> Option<f64> {
        let numbers = self.values.iter().copied().filter(|value| value.is_finite());
        match self.higher_is_better? {
            true => numbers.max_by(f64::total_cmp),
            false => numbers.min_by(f64::total_cmp),
        }
    }
}
