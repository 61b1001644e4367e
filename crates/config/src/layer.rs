//! One layer of a configuration: a table, and where each of its keys was given.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use crate::origin::Origin;

/// A table with the origin of every key in it, sections included, by dotted path.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layer {
    pub(crate) table: Table,
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// Why a text is not TOML.
#[derive(Debug)]
pub(crate) struct SyntaxProblem {
    pub(crate) line: usize,
    pub(crate) problem: String,
}

impl Layer {
    /// Reads a TOML document; `origin` makes the origin of a line (from 1).
    pub(crate) fn parse(text: &str, origin: impl Fn(usize) -> Origin) -> Result<Layer, SyntaxProblem> {
        // Twice: once for the spans, once for the values.
        let spans = DeTable::parse(text).map_err(|error| syntax_problem(text, &error))?;
        let table = toml::from_str(text).map_err(|error| syntax_problem(text, &error))?;
        let mut origins = BTreeMap::new();
        collect_lines(spans.get_ref(), "", &mut |key, offset| {
            origins.insert(key, origin(line_of(text, offset)));
        });
        Ok(Layer { table, origins })
    }

    /// A layer of one value at a dotted path, all of one origin.
    pub(crate) fn of_value(path: &[&str], value: Value, origin: &Origin) -> Layer {
        let (first, rest) = path.split_first().expect("a path has at least one part");
        let value = rest.iter().rev().fold(value, |inner, part| {
            Value::Table(Table::from_iter([((*part).to_owned(), inner)]))
        });
        let table = Table::from_iter([((*first).to_owned(), value)]);
        let mut origins = BTreeMap::new();
        collect_keys(&table, "", &mut |key| {
            origins.insert(key, origin.clone());
        });
        Layer { table, origins }
    }

    /// Puts `top` over this layer: tables are merged, everything else is replaced.
    pub(crate) fn merge(&mut self, top: Layer) {
        for (key, origin) in top.origins {
            if !matches!(get(&top.table, &key), Some(Value::Table(_))) {
                let below = format!("{key}.");
                self.origins.retain(|known, _| !known.starts_with(&below));
            }
            self.origins.insert(key, origin);
        }
        merge_tables(&mut self.table, top.table);
    }
}

/// The value at a dotted path.
pub(crate) fn get<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let (parents, name) = key
        .rsplit_once('.')
        .map_or((None, key), |(parents, name)| (Some(parents), name));
    let table = match parents {
        Some(parents) => get(table, parents)?.as_table()?,
        None => table,
    };
    table.get(name)
}

/// `parent.name`, or `name` at the top.
pub(crate) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

fn merge_tables(base: &mut Table, top: Table) {
    for (key, value) in top {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge_tables(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn collect_keys(table: &Table, parent: &str, found: &mut impl FnMut(String)) {
    for (name, value) in table {
        let key = join(parent, name);
        found(key.clone());
        if let Value::Table(inner) = value {
            collect_keys(inner, &key, found);
        }
    }
}

fn collect_lines(table: &DeTable<'_>, parent: &str, found: &mut impl FnMut(String, usize)) {
    for (name, value) in table {
        let key = join(parent, name.get_ref());
        found(key.clone(), name.span().start);
        if let DeValue::Table(inner) = Spanned::get_ref(value) {
            collect_lines(inner, &key, found);
        }
    }
}

fn syntax_problem(text: &str, error: &toml::de::Error) -> SyntaxProblem {
    let span = error.span().unwrap_or(0..0);
    let problem = error.message().replace('\n', ", ");
    // For a duplicate the parser marks the key, and does not say which it is.
    let marked = text
        .get(span.clone())
        .filter(|_| problem.starts_with("duplicate key"));
    let problem = match marked {
        _ if problem.ends_with("value was too large") => format!("an integer is above {}", i64::MAX),
        Some(key) if !key.is_empty() => format!("the key `{key}` is given twice"),
        _ => format!("not TOML: {problem}"),
    };
    SyntaxProblem {
        line: line_of(text, span.start),
        problem,
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
