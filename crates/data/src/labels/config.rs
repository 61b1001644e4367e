//! The `[labels]` section: what images are labelled with.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::config::ensure;
use crate::error::DataError;

/// What images are labelled with, and how many of the labels are used (`[labels]`).
///
/// An image folder gives classes by its sub-folders; a manifest by its columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelConfig {
    /// `class`, `soft` or `multi_label`.
    pub kind: LabelKind,
    /// Columns of the manifest. For `class` one, `label` when nothing is written; for `soft` one probability
    /// per class, or a single column: that of the second of two classes; for `multi_label` one per class.
    pub columns: Vec<String>,
    /// Names of the classes in the order of the network's outputs. Default: sub-folders or distinct labels,
    /// sorted (of shards that have both, `label` in the order of `cls`), or the names of the columns.
    pub classes: Vec<String>,
    /// Share of the training labels that are used, in `(0, 1]`; see
    /// [`Dataset::label_subset`](crate::Dataset::label_subset).
    pub fraction: f64,
}

/// What one image's label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelKind {
    /// One class.
    #[default]
    Class,
    /// A probability of each class; they sum to 1.
    Soft,
    /// For each class a number from 0 (absent) to 1 (present), each by itself.
    MultiLabel,
}

impl Default for LabelConfig {
    fn default() -> LabelConfig {
        LabelConfig {
            kind: LabelKind::Class,
            columns: Vec::new(),
            classes: Vec::new(),
            fraction: 1.0,
        }
    }
}

impl LabelConfig {
    /// Checks ranges and how fields fit each other; the error names the key.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`].
    pub fn validate(&self) -> Result<(), DataError> {
        let columns = || format!("{:?}", self.columns);
        match self.kind {
            LabelKind::Class => ensure(self.columns.len() <= 1, "labels.columns", columns(), || {
                "`labels.kind` = \"class\" reads one column".to_owned()
            }),
            LabelKind::Soft | LabelKind::MultiLabel => {
                ensure(!self.columns.is_empty(), "labels.columns", columns(), || {
                    "soft and multi-label targets need the names of their columns in the manifest".to_owned()
                })
            }
        }?;
        for (key, names) in [
            ("labels.columns", &self.columns),
            ("labels.classes", &self.classes),
        ] {
            let distinct = names.iter().collect::<HashSet<_>>().len() == names.len();
            let named = names.iter().all(|name| !name.trim().is_empty());
            ensure(distinct && named, key, format!("{names:?}"), || {
                "names must be distinct and not empty".to_owned()
            })?;
        }
        let wanted = self.width().filter(|_| !self.classes.is_empty());
        ensure(
            wanted.is_none_or(|wanted| wanted == self.classes.len()),
            "labels.classes",
            format!("{:?}", self.classes),
            || {
                format!(
                    "the {} column(s) of `labels.columns` need {} names",
                    self.columns.len(),
                    wanted.unwrap_or(0)
                )
            },
        )?;
        ensure(
            0.0 < self.fraction && self.fraction <= 1.0,
            "labels.fraction",
            self.fraction.to_string(),
            || "must be above 0 and at most 1".to_owned(),
        )
    }

    /// Number of classes, where the columns tell.
    fn width(&self) -> Option<usize> {
        match (self.kind, self.columns.len()) {
            (LabelKind::Class, _) => None,
            (LabelKind::Soft, 1) => Some(2),
            (_, columns) => Some(columns),
        }
    }

    /// The column that holds classes.
    pub(crate) fn class_column(&self) -> &str {
        self.columns.first().map_or("label", String::as_str)
    }

    /// Names of the classes of soft and multi-label columns.
    pub(crate) fn row_classes(&self) -> Vec<String> {
        match (&self.classes[..], self.kind, &self.columns[..]) {
            ([], LabelKind::Soft, [one]) => vec![format!("not {one}"), one.clone()],
            ([], _, columns) => columns.to_vec(),
            (classes, _, _) => classes.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> LabelConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn bad_values_are_named() {
        let cases = [
            ("columns = ['a', 'b']", "labels.columns"),
            ("kind = 'soft'", "labels.columns"),
            ("kind = 'multi_label'", "labels.columns"),
            ("kind = 'soft'\ncolumns = ['a', 'a']", "labels.columns"),
            ("classes = ['a', ' ']", "labels.classes"),
            ("classes = ['a', 'a']", "labels.classes"),
            ("kind = 'soft'\ncolumns = ['p']\nclasses = ['a']", "need 2 names"),
            (
                "kind = 'multi_label'\ncolumns = ['p', 'q']\nclasses = ['a']",
                "need 2 names",
            ),
            ("fraction = 0.0", "labels.fraction"),
            ("fraction = nan", "labels.fraction"),
            ("fraction = 1.5", "labels.fraction"),
        ];
        for (text, key) in cases {
            let message = parse(text).validate().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        }
        LabelConfig::default().validate().unwrap();
        assert!(toml::from_str::<LabelConfig>("column = 'a'").is_err());
    }

    #[test]
    fn one_soft_column_has_two_classes() {
        let config = parse("kind = 'soft'\ncolumns = ['crack']");
        config.validate().unwrap();
        assert_eq!(config.row_classes(), ["not crack", "crack"]);
        let config = parse("kind = 'soft'\ncolumns = ['crack']\nclasses = ['good', 'bad']");
        config.validate().unwrap();
        assert_eq!(config.row_classes(), ["good", "bad"]);
        let config = parse("kind = 'multi_label'\ncolumns = ['crack']");
        config.validate().unwrap();
        assert_eq!(config.row_classes(), ["crack"]);
    }
}
