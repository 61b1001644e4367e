//! Turns what serde says about a value into what a user can act on.

use serde_path_to_error::{Path, Segment};
use toml::Value;

use crate::error::{ConfigError, quoted};
use crate::layer::{get, join};
use crate::nearest::nearest;
use crate::origin::Origin;
use crate::resolved::Resolved;

/// Longer values are cut in messages.
const SHOWN: usize = 60;

/// The error for serde's `message` about the value at `path`.
pub(crate) fn explain(config: &Resolved, path: &Path, message: &str) -> ConfigError {
    let (key, element) = dotted(path);
    if let Some((name, permitted)) = names_in(message, "unknown field `") {
        return unknown_key(config, &key, name, permitted);
    }
    if let Some((name, _)) = names_in(message, "missing field `") {
        let key = join(&key, name);
        return ConfigError::MissingKey {
            place: config.source().to_owned(),
            key,
        };
    }
    let place = config.place(&key);
    let Some(value) = get(config.table(), &key) else {
        // The path ends at the top: a rule of the whole configuration.
        return ConfigError::Syntax {
            place,
            problem: message.to_owned(),
        };
    };
    let from_command_line = matches!(config.origin(&key), Some(Origin::Override { .. }));
    let mut problem = problem(message, value);
    if from_command_line && problem.starts_with("expected a string") {
        problem += &format!("; to make it one: --set '{key}=\"{value}\"'");
    }
    ConfigError::Value {
        place,
        key: key + &element,
        got: shown(value),
        problem,
    }
}

/// The key of a path up to the first list, and the rest of it (`data.mean`, `[1]`).
fn dotted(path: &Path) -> (String, String) {
    let (mut key, mut element) = (String::new(), String::new());
    for segment in path {
        match segment {
            Segment::Map { key: name } if element.is_empty() => key = join(&key, name),
            Segment::Enum { .. } | Segment::Unknown => {}
            segment @ Segment::Map { .. } => element += &format!(".{segment}"),
            segment => element += &segment.to_string(),
        }
    }
    (key, element)
}

/// `unknown field `a`, expected `b` or `c`` gives `a` and `[b, c]`, when the message starts with `start`.
fn names_in<'a>(message: &'a str, start: &str) -> Option<(&'a str, Vec<String>)> {
    let (name, rest) = message.strip_prefix(start)?.split_once('`')?;
    // The names stand between every other pair of backticks.
    let permitted = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((name, permitted))
}

fn unknown_key(config: &Resolved, key: &str, name: &str, permitted: Vec<String>) -> ConfigError {
    let parent = key
        .strip_suffix(name)
        .map_or(key, |parent| parent.trim_end_matches('.'));
    let key = join(parent, name);
    let place = config.place(&key);
    // A misspelt section with one key in it is shown with that key: it is what the user typed.
    let below = only_key_below(get(config.table(), &key));
    let suggestion =
        nearest(name, permitted.iter().map(String::as_str)).map(|name| join(parent, name) + &below);
    let place = if below.is_empty() {
        place
    } else {
        config.place(&format!("{key}{below}"))
    };
    ConfigError::UnknownKey {
        place,
        key: key + &below,
        suggestion,
        permitted,
    }
}

/// `.lr` for a section that holds just `lr`; nothing otherwise.
fn only_key_below(value: Option<&Value>) -> String {
    match value {
        Some(Value::Table(table)) if table.len() == 1 => table
            .iter()
            .map(|(name, value)| format!(".{name}{}", only_key_below(Some(value))))
            .collect(),
        _ => String::new(),
    }
}

/// What is wrong with `value`, in the terms of a TOML file.
fn problem(message: &str, value: &Value) -> String {
    if let Some((name, permitted)) = names_in(message, "unknown variant `") {
        let meant = nearest(name, permitted.iter().map(String::as_str));
        let meant = meant
            .map(|name| format!("; did you mean \"{name}\"?"))
            .unwrap_or_default();
        return format!("expected one of {}{meant}", quoted(&permitted));
    }
    let Some((found, expected)) = message.split_once(", expected ") else {
        return message.to_owned();
    };
    let expected = readable(expected);
    if let Some(length) = found.strip_prefix("invalid length ") {
        return format!("expected {expected}, got {length}");
    }
    let typed = found.starts_with("invalid type: ");
    let got = found
        .strip_prefix("invalid type: ")
        .and_then(|found| kind(found, value));
    match got {
        Some(kind) => format!("expected {expected}, got {kind}"),
        None if typed || found.starts_with("invalid value: ") => format!("expected {expected}"),
        None => message.to_owned(),
    }
}

/// The kind of a value, when serde speaks of the value itself and not of an element of it.
fn kind(found: &str, value: &Value) -> Option<&'static str> {
    let (word, kind) = match value {
        Value::String(_) => ("string", "a string"),
        Value::Integer(_) => ("integer", "an integer"),
        Value::Float(_) => ("floating point", "a number with a fraction"),
        Value::Boolean(_) => ("boolean", "a boolean"),
        Value::Datetime(_) => ("map", "a date"),
        Value::Array(_) => ("sequence", "a list"),
        Value::Table(_) => ("map", "a section"),
    };
    found.starts_with(word).then_some(kind)
}

/// serde's names of types, in plain words.
fn readable(expected: &str) -> String {
    let plain = match expected {
        "f64" | "f32" => "a number",
        "u64" | "usize" => "an integer of 0 or more",
        "u32" => "an integer from 0 to 4294967295",
        "u16" => "an integer from 0 to 65535",
        "u8" => "an integer from 0 to 255",
        "i64" | "isize" | "i32" | "i16" | "i8" => "an integer",
        "a boolean" => "true or false",
        "path string" => "a string",
        "fewer elements in array" | "fewer elements in sequence" => "fewer values",
        "a sequence" => "a list",
        "a map" => "a section",
        other => return structured(other),
    };
    plain.to_owned()
}

fn structured(expected: &str) -> String {
    let count = expected
        .strip_prefix("an array of length ")
        .or(expected.strip_prefix("a tuple of size "));
    match count {
        Some(count) => format!("a list of {count} values"),
        None if expected.starts_with("struct ") => "a section".to_owned(),
        None => expected.to_owned(),
    }
}

/// A value as TOML, cut to a length for messages.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Table(table) => {
            let keys: Vec<&str> = table.keys().map(String::as_str).collect();
            format!("{{{}}}", keys.join(", "))
        }
        value => value.to_string(),
    };
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain("…".chars()).collect()
}
