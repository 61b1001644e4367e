//! What differs between two configurations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use toml::{Table, Value};

use crate::layer::join;

/// A key whose values differ.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The full key.
    pub key: String,
    /// Its value in the first table, if set there.
    pub before: Option<Value>,
    /// Its value in the second table, if set there.
    pub after: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or("not set".to_owned(), Value::to_string);
        write!(
            f,
            "`{}` was {}, is {}",
            self.key,
            shown(&self.before),
            shown(&self.after)
        )
    }
}

/// The keys whose values differ, sorted. Sections are compared key by key, lists as a whole; 1 and 1.0 are
/// the same.
#[must_use]
pub fn differences(before: &Table, after: &Table) -> Vec<Difference> {
    let (before, after) = (leaves(before), leaves(after));
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| !same(before.get(*key).copied(), after.get(*key).copied()))
        .map(|key| Difference {
            key: key.clone(),
            before: before.get(key).copied().cloned(),
            after: after.get(key).copied().cloned(),
        })
        .collect()
}

fn leaves(table: &Table) -> BTreeMap<String, &Value> {
    let mut found = BTreeMap::new();
    collect(table, "", &mut found);
    found
}

fn collect<'a>(table: &'a Table, parent: &str, found: &mut BTreeMap<String, &'a Value>) {
    for (name, value) in table {
        let key = join(parent, name);
        match value {
            Value::Table(inner) => collect(inner, &key, found),
            value => drop(found.insert(key, value)),
        }
    }
}

fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::Integer(i)), Some(Value::Float(x)))
        | (Some(Value::Float(x)), Some(Value::Integer(i))) => *i as f64 == *x,
        (Some(Value::Float(x)), Some(Value::Float(y))) => x == y || (x.is_nan() && y.is_nan()),
        (Some(Value::Array(xs)), Some(Value::Array(ys))) => {
            xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| same(Some(x), Some(y)))
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str, expected: &[&str]) {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let found: Vec<String> = differences(&table(before), &table(after))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn changed_added_and_removed_keys_are_listed() {
        check(
            "seed = 1\n[a.b]\nx = 1\ny = 2",
            "seed = 1\n[a]\nz = \"s\"\nb.x = 3",
            &[
                "`a.b.x` was 1, is 3",
                "`a.b.y` was 2, is not set",
                "`a.z` was not set, is \"s\"",
            ],
        );
    }

    #[test]
    fn equal_numbers_are_equal() {
        check(
            "lr = 1\nbetas = [0.9, 1]\nx = nan",
            "lr = 1.0\nbetas = [0.9, 1.0]\nx = nan",
            &[],
        );
        check(
            "lr = 1\nl = [1]",
            "lr = 1.5\nl = [1, 2]",
            &["`l` was [1], is [1, 2]", "`lr` was 1, is 1.5"],
        );
    }
}
