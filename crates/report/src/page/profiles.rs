//! Lists that a run measures, such as a number for each block: over their places, not over epochs.

use std::collections::{BTreeMap, BTreeSet};

use fcmae_plot::{Axis, Chart, Point, Series};

use super::curves::{title, words};
use crate::metrics::{Metrics, Profile};

/// The profiles of a run. Those that stand together in one object inside another measure the same in several ways:
/// they are one chart, of the newest epoch. Any other is a chart of its own, with a line for each of some epochs.
pub(super) fn of_run(metrics: &Metrics) -> Vec<Chart> {
    let mut groups: BTreeMap<&str, Vec<(&str, &Profile)>> = BTreeMap::new();
    for (name, profile) in &metrics.profiles {
        let (group, member) = match name.rsplit_once('.') {
            Some((group, member)) if group.contains('.') => (group, member),
            _ => (name.as_str(), ""),
        };
        groups.entry(group).or_default().push((member, profile));
    }
    let chart = |(group, members): (&str, Vec<(&str, &Profile)>)| match members[..] {
        [("", profile)] => over_epochs(group, profile),
        _ => newest(group, &members),
    };
    groups.into_iter().map(chart).collect()
}

/// The newest rows of each profile of several runs: a line for each run.
pub(super) fn compared(runs: &[(&str, &Metrics)]) -> Vec<Chart> {
    let names: BTreeSet<&String> = runs
        .iter()
        .flat_map(|(_, metrics)| metrics.profiles.keys())
        .collect();
    let chart = |name: &String| {
        let profiles = runs
            .iter()
            .enumerate()
            .filter_map(|(color, (run, metrics))| Some((color, *run, metrics.profiles.get(name)?)));
        let profiles: Vec<_> = profiles.collect();
        let series = profiles.iter().filter_map(|(color, run, profile)| {
            Some(Series::line(run, points(&profile.rows.last()?.1)).colored(*color))
        });
        let x = profiles
            .first()
            .map_or_else(Axis::default, |(_, _, profile)| axis(profile));
        Chart::new(&title(name), x, Axis::default(), series.collect())
    };
    names.into_iter().map(chart).collect()
}

/// Some epochs of a profile, the newest one on top and in the first colour.
fn over_epochs(name: &str, profile: &Profile) -> Chart {
    /// Lines that can be told apart.
    const MOST: usize = Series::COLORS;
    let last = profile.rows.len() - 1; // a profile has a row
    let shown: BTreeSet<usize> = (0..MOST).map(|i| i * last / (MOST - 1)).collect();
    let count = shown.len();
    let series = shown.into_iter().enumerate().map(|(i, row)| {
        let (epoch, values) = &profile.rows[row];
        Series::line(&format!("epoch {epoch}"), points(values)).colored(count - 1 - i)
    });
    Chart::new(&title(name), axis(profile), Axis::default(), series.collect())
}

/// The newest rows of profiles that belong together.
fn newest(group: &str, members: &[(&str, &Profile)]) -> Chart {
    let rows = members
        .iter()
        .enumerate()
        .filter_map(|(color, (member, profile))| {
            let (epoch, values) = profile.rows.last()?;
            Some((
                *epoch,
                Series::line(&words(member), points(values)).colored(color),
            ))
        });
    let (epochs, series): (Vec<f64>, Vec<Series>) = rows.unzip();
    Chart {
        note: format!("after epoch {}", epochs.into_iter().fold(0.0, f64::max)),
        ..Chart::new(&title(group), axis(members[0].1), Axis::default(), series)
    }
}

/// The places, by their names without the part that is the same in all of them.
fn axis(profile: &Profile) -> Axis {
    let names = &profile.names;
    if names.is_empty() {
        return Axis::whole("place");
    }
    let first = names[0].split_once('.').map_or("", |(part, _)| part);
    let common = format!("{first}.");
    let short = |name: &String| name.strip_prefix(&common).map(str::to_owned);
    let short: Option<Vec<String>> = names.iter().map(short).collect();
    match short {
        Some(short) => Axis::named(first, short),
        None => Axis::named("", names.clone()),
    }
}

fn points(values: &[f64]) -> Vec<Point> {
    values
        .iter()
        .enumerate()
        .map(|(i, &value)| [i as f64, value])
        .collect()
}
