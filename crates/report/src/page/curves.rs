//! Which curves there are in the numbers of a run, in the order of a page.

use std::collections::BTreeMap;

use fcmae_plot::{Axis, Chart, Point, Scale, Series, Style, Unit};

use crate::metrics::Metrics;

/// Measures of a classifier, in this order; others follow by name.
const MEASURES: [(&str, &str, Unit); 6] = [
    ("top1", "Top-1 accuracy", Unit::Percent),
    ("top5", "Top-5 accuracy", Unit::Percent),
    ("map", "Mean average precision", Unit::Percent),
    ("label_accuracy", "Labels that are right", Unit::Percent),
    ("macro_f1", "Macro F1", Unit::Plain),
    ("auroc", "AUROC", Unit::Plain),
];

/// Numbers of an epoch that have their place on the page; all others are shown under their own names.
const KNOWN: [&str; 6] = ["train_loss", "val_loss", "lr", "skipped", "seconds", "memory_mib"];

/// A curve of each of several runs, or the curves of one.
pub(super) struct Curve {
    pub(super) title: String,
    pub(super) y: Axis,
    /// Pale behind the others.
    behind: Option<fn(&Metrics) -> &[Point]>,
    lines: Vec<Line>,
}

/// Picks the points of a curve out of a run's numbers.
type Pick = dyn Fn(&Metrics) -> &[Point];

struct Line {
    label: String,
    points: Box<Pick>,
}

impl Curve {
    fn new(title: &str, y: Axis) -> Curve {
        Curve {
            title: title.to_owned(),
            y,
            behind: None,
            lines: Vec::new(),
        }
    }

    fn over(self, behind: fn(&Metrics) -> &[Point]) -> Curve {
        Curve {
            behind: Some(behind),
            ..self
        }
    }

    fn line(mut self, label: &str, points: impl Fn(&Metrics) -> &[Point] + 'static) -> Curve {
        self.lines.push(Line {
            label: label.to_owned(),
            points: Box::new(points),
        });
        self
    }

    fn of_epochs(self, label: &str, name: String) -> Curve {
        self.line(label, move |metrics| metrics.of_epochs(&name))
    }

    /// The curves of one run in a chart.
    pub(super) fn chart(&self, metrics: &Metrics) -> Chart {
        let behind = self
            .behind
            .map(|points| Series::line("", points(metrics).to_vec()).styled(Style::Pale));
        let lines = self.lines.iter().map(|line| (line, (line.points)(metrics)));
        let lines = lines.filter(|(_, points)| !points.is_empty()).enumerate();
        let lines = lines.map(|(i, (line, points))| Series::line(&line.label, points.to_vec()).colored(i));
        self.with(behind.into_iter().chain(lines).collect())
    }

    /// The same curve of several runs in a chart; one chart for each of the curves.
    pub(super) fn compared(&self, runs: &[(&str, &Metrics)]) -> Vec<Chart> {
        let chart = |line: &Line| {
            let series = runs
                .iter()
                .enumerate()
                .map(|(i, (name, metrics))| Series::line(name, (line.points)(metrics).to_vec()).colored(i));
            let title = match line.label.as_str() {
                "" | "weights" => self.title.clone(),
                label => format!("{}, {label}", self.title),
            };
            Chart {
                title,
                ..self.with(series.filter(|series| !series.points.is_empty()).collect())
            }
        };
        self.lines.iter().map(chart).collect()
    }

    fn with(&self, series: Vec<Series>) -> Chart {
        Chart::new(&self.title, Axis::whole("epoch"), self.y.clone(), series)
    }
}

/// The losses.
pub(super) fn loss() -> Curve {
    Curve::new("Loss", Axis::default())
        .over(|metrics| metrics.of_steps("loss"))
        .line("training", |metrics| match metrics.of_steps("loss_smoothed") {
            [] => metrics.of_epochs("train_loss"),
            steps => steps,
        })
        .of_epochs("held out", "val_loss".to_owned())
        .of_epochs("held out, averaged weights", "val_ema.loss".to_owned())
}

/// What a classifier gets right on the held-out images.
pub(super) fn measures<'a>(metrics: impl Iterator<Item = &'a Metrics>) -> Vec<Curve> {
    let names = metrics.flat_map(|metrics| metrics.epochs.keys());
    let mut found: BTreeMap<(usize, String), ()> = BTreeMap::new();
    for name in names {
        let Some(measure) = name
            .strip_prefix("val.")
            .or_else(|| name.strip_prefix("val_ema."))
        else {
            continue;
        };
        let place = MEASURES.iter().position(|(known, ..)| *known == measure);
        if measure != "loss" {
            found.insert((place.unwrap_or(MEASURES.len()), measure.to_owned()), ());
        }
    }
    found.into_keys().map(|(_, name)| measure(&name)).collect()
}

fn measure(name: &str) -> Curve {
    let (title, unit) = measure_words(name);
    let y = Axis {
        unit,
        ..Axis::default()
    };
    Curve::new(&title, y)
        .of_epochs("weights", format!("val.{name}"))
        .of_epochs("averaged weights", format!("val_ema.{name}"))
}

/// Title and unit of a measure.
pub(super) fn measure_words(name: &str) -> (String, Unit) {
    let known = MEASURES.iter().find(|(known, ..)| *known == name);
    known.map_or_else(
        || (words(name), Unit::Plain),
        |(_, title, unit)| ((*title).to_owned(), *unit),
    )
}

/// Learning rate, gradients, speed.
pub(super) fn running() -> Vec<Curve> {
    let from_zero = |unit| Axis {
        unit,
        ..Axis::from_zero("")
    };
    let norm = Axis {
        scale: Scale::Log,
        ..Axis::default()
    };
    vec![
        Curve::new("Learning rate", from_zero(Unit::Plain)).line("", |metrics| metrics.of_steps("lr")),
        Curve::new("Gradient norm", norm).line("", |metrics| metrics.of_steps("grad_norm")),
        Curve::new("Images per second", from_zero(Unit::Plain))
            .line("", |metrics| metrics.of_steps("images_per_second")),
        Curve::new("Time spent waiting for data", from_zero(Unit::Percent))
            .line("", |metrics| metrics.of_steps("data_wait")),
        Curve::new("Memory in MiB", from_zero(Unit::Plain))
            .line("", |metrics| metrics.of_epochs("memory_mib")),
    ]
}

/// Whatever else the epochs hold. Numbers that stand together in one object inside another are one chart, since they
/// measure the same; every other number is a chart of its own.
pub(super) fn others<'a>(metrics: impl Iterator<Item = &'a Metrics>) -> Vec<Curve> {
    let mut groups: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for name in metrics.flat_map(|metrics| metrics.epochs.keys()) {
        // how many images were measured is no curve
        let is_known = KNOWN.contains(&name.as_str())
            || ["val.", "val_ema."].iter().any(|part| name.starts_with(part))
            || name.ends_with(".images");
        if is_known {
            continue;
        }
        let (group, label) = match name.rsplit_once('.') {
            Some((group, label)) if group.contains('.') => (group, label),
            _ => (name.as_str(), ""),
        };
        groups
            .entry(group.to_owned())
            .or_default()
            .insert(label.to_owned(), name.clone());
    }
    let curve = |(group, lines): (String, BTreeMap<String, String>)| {
        let start = Curve::new(&title(&group), Axis::default());
        lines.into_iter().fold(start, |curve, (label, name)| {
            curve.of_epochs(&words(&label), name)
        })
    };
    groups.into_iter().map(curve).collect()
}

/// `monitor.collapse.after_gelu` as `Collapse, after gelu`: the first part is the heading above.
pub(super) fn title(name: &str) -> String {
    let inside = name.split_once('.').map_or(name, |(_, inside)| inside);
    let text = words(&inside.replace('.', ", "));
    match text.get(..1) {
        Some(first) => first.to_uppercase() + &text[1..],
        None => text,
    }
}

pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}
