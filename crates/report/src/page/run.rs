//! The page of one run.

use fcmae_plot::{Unit, shown};
use maud::{Markup, html};

use super::{charts, curves, document, profiles, section, settings};
use crate::number::{median, time};
use crate::pictures::Pictures;
use crate::run::Run;

/// The page of a run: how it stands, its curves, its pictures, and everything that is needed to repeat it.
#[must_use]
pub fn run_page(run: &Run, pictures: &Pictures) -> String {
    let metrics = &run.metrics;
    let chart = |curve: &curves::Curve| curve.chart(metrics);
    let (measures, others) = (
        curves::measures([metrics].into_iter()),
        curves::others([metrics].into_iter()),
    );
    let monitored: Vec<_> = others
        .iter()
        .map(chart)
        .chain(profiles::of_run(metrics))
        .collect();
    let parts = html! {
        (header(run))
        (section("loss", "Loss", &charts(&[curves::loss().chart(metrics)])))
        (section("measures", "Held-out images", &charts(&measures.iter().map(chart).collect::<Vec<_>>())))
        (section("reconstructions", "Reconstructions", &reconstructions(pictures)))
        (section("monitor", "Monitor", &charts(&monitored)))
        (section("running", "Optimiser and speed", &charts(&curves::running().iter().map(chart).collect::<Vec<_>>())))
        (section("config", "Config", &settings::settings(run)))
        (section("machine", "Machine and versions", &machine(run)))
        (section("repeat", "Repeat", &repeat(run)))
    };
    document(&run.name, !run.is_finished(), &picture_style(pictures), &parts)
}

fn header(run: &Run) -> Markup {
    let done = run.metrics.epochs_done;
    let total = run.epochs().unwrap_or(done);
    let state = match (run.is_finished(), run.ended_early) {
        (_, true) => "ended early: it no longer got better",
        (true, _) => "finished",
        (false, _) => "",
    };
    let task = match run.verb() {
        "pretrain" => "Pre-training",
        "finetune" => "Fine-tuning",
        other => other,
    };
    html! {
        header {
            h1 { (run.name) }
            p.lead {
                (task) ", " (done) " of " (total) " epochs"
                @if !state.is_empty() { ", " (state) }
            }
            @if !run.is_finished() && total > 0 { progress max=(total) value=(done) { } }
            @for line in [&run.provenance.network, &run.provenance.images] {
                @if !line.is_empty() { p.hint { (line) } }
            }
            (figures(run))
        }
    }
}

/// The numbers to look at first.
fn figures(run: &Run) -> Markup {
    let metrics = &run.metrics;
    let mut figures: Vec<(String, String, String)> = Vec::new();
    let mut add = |name: &str, value: String, beside: String| figures.push((name.to_owned(), value, beside));
    for curve in ["val.top1", "val.map", "val.macro_f1", "val.auroc"] {
        let (title, unit) = curves::measure_words(&curve["val.".len()..]);
        if let Some(last) = metrics.last(curve) {
            let averaged = metrics.last(&curve.replacen("val", "val_ema", 1));
            let beside = averaged.map(|value| format!("{} averaged", shown(value, unit)));
            add(&title, shown(last, unit), beside.unwrap_or_default());
        }
    }
    for (title, name) in [("Held-out loss", "val_loss"), ("Training loss", "train_loss")] {
        let (first, last) = (metrics.of_epochs(name).first(), metrics.last(name));
        if let (Some(first), Some(last)) = (first, last) {
            let beside = format!("{} after epoch {}", shown(first[1], Unit::Plain), first[0]);
            add(title, shown(last, Unit::Plain), beside);
        }
    }
    let rate = median(metrics.of_steps("images_per_second").iter().map(|point| point[1]));
    if rate.is_finite() {
        let wait = median(metrics.of_steps("data_wait").iter().map(|point| point[1]));
        let beside = format!("{:.0} % waiting for data", 100.0 * wait);
        add("Images per second", shown(rate, Unit::Plain), beside);
    }
    let seconds: Vec<f64> = metrics
        .of_epochs("seconds")
        .iter()
        .map(|point| point[1])
        .collect();
    let per_epoch = median(seconds.iter().rev().take(10).copied());
    if per_epoch.is_finite() {
        let left = run
            .epochs()
            .unwrap_or_default()
            .saturating_sub(metrics.epochs_done);
        let beside = if run.is_finished() {
            format!("{} an epoch", time(per_epoch))
        } else {
            format!("about {} left", time(per_epoch * left as f64))
        };
        add("Time", time(seconds.iter().sum()), beside);
    }
    html! {
        @if !figures.is_empty() {
            dl.figures {
                @for (name, value, beside) in &figures {
                    div { dt { (name) } dd { (value) } dd.beside { (beside) } }
                }
            }
        }
    }
}

/// The images one beside the other: what went in, what was seen, what came out after the epoch of the slider.
fn reconstructions(pictures: &Pictures) -> Markup {
    let epochs: Vec<u64> = pictures.sheets().map(|(epoch, _)| epoch).collect();
    let Some((last, sheet)) = pictures.sheets().last() else {
        return html! {};
    };
    let tile = |column: &str, image: u32| {
        let place = if sheet.images > 1 {
            100.0 * f64::from(image) / f64::from(sheet.images - 1)
        } else {
            0.0
        };
        html! { div.tile.(column) style=(format!("background-position:0 {place:.4}%")) {} }
    };
    html! {
        div #pictures data-picture=(epochs.len() - 1) {
            @if epochs.len() > 1 {
                label.slider {
                    "after epoch " output { (last) }
                    input type="range" min="0" max=(epochs.len() - 1) value=(epochs.len() - 1)
                        aria-label="epoch" data-epochs=(format!("{epochs:?}"));
                }
            } @else {
                p.hint { "after epoch " (last) }
            }
            div.tiles style=(format!("max-width:{}rem", 11 * sheet.images)) {
                @for image in 0..sheet.images {
                    div.triple { (tile("input", image)) (tile("masked", image)) (tile("prediction", image)) }
                }
            }
            p.hint { "Each column: the image, what the encoder sees of it, the prediction of what is hidden." }
        }
    }
}

/// The pictures themselves: each stands once in the page, in its style.
fn picture_style(pictures: &Pictures) -> String {
    let Some((_, newest)) = pictures.sheets().last() else {
        return String::new();
    };
    let [width, height] = newest.size;
    let mut style = format!(
        ".tile{{aspect-ratio:{width}/{height};background-size:100% {}%}}.input{{background-image:url({})}}\
         .masked{{background-image:url({})}}",
        100 * newest.images,
        newest.input(),
        newest.masked()
    );
    for (i, (_, sheet)) in pictures.sheets().enumerate() {
        style += &format!(
            "[data-picture=\"{i}\"] .prediction{{background-image:url({})}}",
            sheet.prediction()
        );
    }
    style
}

fn machine(run: &Run) -> Markup {
    html! {
        @if !run.provenance.machine.is_empty() {
            div.scroll {
                table.settings {
                    tbody {
                        @for (name, value) in &run.provenance.machine { tr { td { (name) } td { (value) } } }
                    }
                }
            }
        }
    }
}

fn repeat(run: &Run) -> Markup {
    let command = |text: &str| {
        html! { div.command { pre { code { (text) } } button type="button" { "copy" } } }
    };
    let folder = run.folder.display().to_string();
    let again = format!(
        "fcmae {} {} --fresh",
        run.verb(),
        quoted(&format!("{folder}/config.toml"))
    );
    html! {
        @if !run.provenance.command.is_empty() {
            p { "It was started with" }
            (command(&run.provenance.command))
        }
        p { "Its resolved config repeats it under a new name" }
        (command(&again))
    }
}

/// A word of a command line, in quotes where a shell would take it apart.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let check = |word: &str, expected: &str| assert_eq!(quoted(word), expected);
        check("--set", "--set");
        check("data.path=a/b.png", "data.path=a/b.png");
        check("it's", r"'it'\''s'");
        check("a b", "'a b'");
        check("[1,2]", "'[1,2]'");
        check("", "''");
    }
}
