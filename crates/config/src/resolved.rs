//! A configuration after `extends` and overrides.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::error::ConfigError;
use crate::explain::explain;
use crate::layer::Layer;
use crate::origin::Origin;
use crate::overrides;
use crate::source::{self, EXTENDS};

/// The merged table of a configuration, with the origin of each key.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    layer: Layer,
    /// The configuration as a whole, for messages.
    source: String,
}

/// Reads `file`, the files it extends, and `overrides` (what followed each `--set`, in order).
///
/// # Errors
/// A file that cannot be read or is not TOML, a bad `extends`, or a bad override; unknown keys and wrong
/// types are found by [`Resolved::parse`].
pub fn load(file: impl AsRef<Path>, overrides: &[String]) -> Result<Resolved, ConfigError> {
    let file = file.as_ref();
    Resolved::new(source::read(file)?, file.display().to_string(), overrides)
}

/// As [`load`], from a text; it may not extend a file, since there is no folder to look in.
///
/// # Errors
/// As [`load`].
pub fn from_str(text: &str, overrides: &[String]) -> Result<Resolved, ConfigError> {
    let at = |line| Origin::Text { line };
    let layer = Layer::parse(text, at).map_err(|p| ConfigError::Syntax {
        place: at(p.line).to_string(),
        problem: p.problem,
    })?;
    if let Some(origin) = layer.origins.get(EXTENDS) {
        return Err(ConfigError::ExtendsPlace {
            place: origin.to_string(),
        });
    }
    Resolved::new(layer, "the configuration".to_owned(), overrides)
}

/// Writes a configuration as a TOML document. Parsing it gives an equal value (integers must fit 64 signed
/// bits, as TOML's do).
///
/// # Errors
/// [`ConfigError::Unrepresentable`] for what TOML cannot hold.
pub fn to_toml<T: Serialize>(value: &T) -> Result<String, ConfigError> {
    let unrepresentable = |error: toml::ser::Error| ConfigError::Unrepresentable {
        problem: error.to_string(),
    };
    // `to_string` would write an integer above 2⁶³, which nothing reads back; a table refuses it.
    Table::try_from(value).map_err(unrepresentable)?;
    toml::to_string(value).map_err(unrepresentable)
}

impl Resolved {
    fn new(mut layer: Layer, source: String, overrides: &[String]) -> Result<Resolved, ConfigError> {
        overrides
            .iter()
            .try_for_each(|argument| overrides::apply(&mut layer, argument))?;
        Ok(Resolved { layer, source })
    }

    /// The merged table; `extends` is no longer in it.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.layer.table
    }

    /// Where the value of a dotted key (or a section) was given last; `None` when it was not.
    #[must_use]
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.layer.origins.get(key)
    }

    /// The keys (and sections) that were given, and where last, sorted.
    pub fn origins(&self) -> impl Iterator<Item = (&str, &Origin)> {
        self.layer
            .origins
            .iter()
            .map(|(key, origin)| (key.as_str(), origin))
    }

    /// The configuration as a caller's struct.
    ///
    /// # Errors
    /// An unknown key with the nearest one that exists, or a value of the wrong type, with its place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        serde_path_to_error::deserialize(Value::Table(self.layer.table.clone()))
            .map_err(|error| explain(self, error.path(), error.inner().message()))
    }

    /// The merged table as a TOML document, keys sorted.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.layer.table.to_string()
    }

    /// The place of a key, or of the nearest section around it, or the whole.
    pub(crate) fn place(&self, key: &str) -> String {
        let mut key = key;
        loop {
            if let Some(origin) = self.origin(key) {
                return origin.to_string();
            }
            match key.rsplit_once('.') {
                Some((parent, _)) => key = parent,
                None => return self.source.clone(),
            }
        }
    }

    /// The configuration as a whole, for messages.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}
