//! `--set key.path=value`.

use toml::Value;

use crate::error::ConfigError;
use crate::layer::{Layer, get, join};
use crate::origin::Origin;
use crate::source::EXTENDS;

/// Puts one override over `layer`.
pub(crate) fn apply(layer: &mut Layer, argument: &str) -> Result<(), ConfigError> {
    let wrong = |problem: String| ConfigError::Override {
        argument: argument.to_owned(),
        problem,
    };
    let (key, text) = argument
        .split_once('=')
        .ok_or_else(|| wrong("there is no `=`".to_owned()))?;
    let key = key.trim();
    let path: Vec<&str> = key.split('.').map(str::trim).collect();
    if !path.iter().all(|part| is_bare_key(part)) {
        return Err(wrong(format!("`{key}` is not a key")));
    }
    if path == [EXTENDS] {
        return Err(ConfigError::ExtendsPlace {
            place: format!("--set {argument}"),
        });
    }
    let value = value(text).map_err(wrong)?;
    check_parents(layer, &path, argument)?;
    let origin = Origin::Override {
        argument: argument.to_owned(),
    };
    layer.merge(Layer::of_value(&path, value, &origin));
    Ok(())
}

fn is_bare_key(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A TOML value, or the text itself as a string.
///
/// What begins like a list, table or quoted string is meant as TOML, so a slip in it is an error. A date stays
/// as it was typed: no key is one, and run names like `2026-11-24 10:00` are.
fn value(text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match trimmed.parse::<Value>() {
        Ok(Value::Datetime(_)) => Ok(Value::String(trimmed.to_owned())),
        Ok(value) => Ok(value),
        Err(error) if trimmed.starts_with(['[', '{', '"', '\'']) => Err(format!(
            "the value is not TOML: {}",
            error.message().replace('\n', ", ")
        )),
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

/// Every parent of the key must be a section or not there yet.
fn check_parents(layer: &Layer, path: &[&str], argument: &str) -> Result<(), ConfigError> {
    let mut parent = String::new();
    for part in &path[..path.len() - 1] {
        parent = join(&parent, part);
        match get(&layer.table, &parent) {
            None | Some(Value::Table(_)) => {}
            Some(value) => {
                return Err(ConfigError::OverrideThrough {
                    argument: argument.to_owned(),
                    key: path.join("."),
                    got: value.to_string(),
                    place: layer
                        .origins
                        .get(&parent)
                        .map(Origin::to_string)
                        .unwrap_or_default(),
                    parent,
                });
            }
        }
    }
    Ok(())
}
