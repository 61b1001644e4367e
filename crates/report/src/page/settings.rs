//! The config of a run, value by value, with where each came from; and what differs between runs.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use toml::{Table, Value};

use crate::run::Run;

/// The values that were given, then all of them.
pub(super) fn settings(run: &Run) -> Markup {
    let (values, origins) = (leaves(&run.config), &run.provenance.origins);
    let row = |key: &str, value: &Value| {
        html! {
            tr {
                td { code { (key) } }
                td { code { (value) } }
                td.origin { @match origins.get(key) { Some(origin) => (origin), None => "default" } }
            }
        }
    };
    let table = |only_given: bool| {
        html! {
            div.scroll {
                table.settings {
                    thead { tr { th { "key" } th { "value" } th { "given in" } } }
                    tbody {
                        @for (key, value) in &values {
                            @if !only_given || origins.contains_key(key) { (row(key, value)) }
                        }
                    }
                }
            }
        }
    };
    html! {
        @if origins.is_empty() {
            p.hint { "Where the values were given was not recorded." }
        } @else {
            (table(true))
        }
        details {
            summary { "All " (values.len()) " values" }
            (table(false))
        }
    }
}

/// The values that are not the same in all runs, a column for each run.
pub(super) fn differences(runs: &[Run], names: &[String]) -> Markup {
    let tables: Vec<BTreeMap<String, &Value>> = runs.iter().map(|run| leaves(&run.config)).collect();
    let differs = |key: &&String| {
        runs[1..].iter().any(|run| {
            let differences = fcmae_config::differences(&runs[0].config, &run.config);
            differences.iter().any(|difference| difference.key == **key)
        })
    };
    let keys: BTreeSet<&String> = tables.iter().flat_map(BTreeMap::keys).collect();
    let differing: Vec<&String> = keys
        .into_iter()
        .filter(|key| *key != "name")
        .filter(differs)
        .collect();
    html! {
        @if differing.is_empty() {
            p.hint { "The runs have the same config." }
        } @else {
            div.scroll {
                table.settings {
                    thead { tr { th { "key" } @for name in names { th { (name) } } } }
                    tbody {
                        @for key in differing {
                            tr {
                                td { code { (key) } }
                                @for table in &tables {
                                    td { @if let Some(value) = table.get(key) { code { (value) } } @else { "–" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The values of a config by their full keys.
fn leaves(table: &Table) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    collect(table, "", &mut found);
    found
}

fn collect<'a>(table: &'a Table, above: &str, found: &mut BTreeMap<String, &'a Value>) {
    for (name, value) in table {
        let key = format!("{above}{name}");
        match value {
            Value::Table(inner) => collect(inner, &format!("{key}."), found),
            value => drop(found.insert(key, value)),
        }
    }
}
