//! Guesses why a file's tensors do not fit.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::NameReport;

/// Names less alike than this are not suggested (1 is equal).
const ALIKE: f64 = 0.75;

/// The probable cause of a report, in words that follow a semicolon.
pub(crate) fn hint<T>(
    report: &NameReport,
    expected: &[(String, Vec<usize>)],
    found: &BTreeMap<String, T>,
) -> Option<String> {
    prefix(report)
        .or_else(|| other_width(report))
        .or_else(|| other_depth(report, expected, found))
        .or_else(|| stranger(report, expected))
        .or_else(|| nearest(report))
}

/// All missing names are there under, or without, one prefix.
fn prefix(report: &NameReport) -> Option<String> {
    let first = report.missing.first()?;
    let all_there = |rename: &dyn Fn(&str) -> Option<String>| {
        report
            .missing
            .iter()
            .all(|name| rename(name).is_some_and(|n| report.unexpected.binary_search(&n).is_ok()))
    };
    for name in &report.unexpected {
        if let Some(extra) = name.strip_suffix(first.as_str())
            && all_there(&|n| Some(format!("{extra}{n}")))
        {
            return Some(format!("the file's names have the prefix `{extra}` in addition"));
        }
        if let Some(lacking) = first.strip_suffix(name.as_str())
            && all_there(&|n| n.strip_prefix(lacking).map(str::to_owned))
        {
            return Some(format!("the file's names lack the prefix `{lacking}`"));
        }
    }
    None
}

fn other_width(report: &NameReport) -> Option<String> {
    let names_fit = report.missing.is_empty() && report.unexpected.is_empty();
    (names_fit && report.misshapen.len() > 1)
        .then(|| "all names fit: the file probably holds another model size".to_owned())
}

/// The names differ in their numbers only: `stages.2.7.…` is missing and `stages.2.0.…` is there.
fn other_depth<T>(
    report: &NameReport,
    expected: &[(String, Vec<usize>)],
    found: &BTreeMap<String, T>,
) -> Option<String> {
    let in_file: BTreeSet<String> = found.keys().map(|name| without_numbers(name)).collect();
    let in_network: BTreeSet<String> = expected.iter().map(|(name, _)| without_numbers(name)).collect();
    let families_fit = report
        .missing
        .iter()
        .all(|name| in_file.contains(&without_numbers(name)))
        && report
            .unexpected
            .iter()
            .all(|name| in_network.contains(&without_numbers(name)));
    let depth = match (report.missing.is_empty(), report.unexpected.is_empty()) {
        (false, true) => "a shallower network (another model size)",
        (true, false) => "a deeper network (another model size)",
        (false, false) => "another model size",
        (true, true) => return None,
    };
    families_fit.then(|| format!("the file probably holds {depth}"))
}

fn without_numbers(name: &str) -> String {
    let part = |part: &str| {
        if part.parse::<u64>().is_ok() {
            "#".to_owned()
        } else {
            part.to_owned()
        }
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// Not one expected name is in the file, and none is alike.
fn stranger(report: &NameReport, expected: &[(String, Vec<usize>)]) -> Option<String> {
    let none = report.missing.len() == expected.len() && !report.unexpected.is_empty();
    (none && nearest(report).is_none())
        .then(|| "no name fits: the file probably belongs to another program or network".to_owned())
}

fn nearest(report: &NameReport) -> Option<String> {
    let missing = report.missing.first()?;
    let likeness = |name: &&String| strsim::normalized_levenshtein(missing, name);
    let best = report
        .unexpected
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= ALIKE).then(|| format!("`{missing}` may be `{best}` in the file"))
}
