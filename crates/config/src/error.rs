//! What can be wrong with a configuration.

use std::io;
use std::path::PathBuf;

/// Why a configuration cannot be used. Every message names the file and line, or the `--set`, at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    // ---- files ----
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}{}", file.display(), did_you_mean(suggestion.as_deref()))]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
        /// A file of a similar name in the same folder, when there is no such file.
        suggestion: Option<String>,
    },

    /// The text is not TOML (a key given twice included).
    #[error("{place}: {problem}")]
    Syntax {
        /// File and line.
        place: String,
        /// What is wrong.
        problem: String,
    },

    // ---- extends ----
    /// A file named in `extends` cannot be read.
    #[error("{place}: `extends` names {}, which cannot be read: {source}{}", file.display(), did_you_mean(suggestion.as_deref()))]
    Extended {
        /// File and line of the `extends`.
        place: String,
        /// The file named there.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
        /// A file of a similar name in the same folder, when there is no such file.
        suggestion: Option<String>,
    },

    /// `extends` is neither a file name nor a list of them.
    #[error("{place}: `extends` must be a file name or a list of file names, got {got}")]
    ExtendsValue {
        /// File and line.
        place: String,
        /// The value given, as TOML.
        got: String,
    },

    /// Files extend one another in a circle.
    #[error("{place}: `extends` goes in a circle: {chain}")]
    ExtendsCircle {
        /// File and line of the `extends` that closes it.
        place: String,
        /// The files, joined by arrows.
        chain: String,
    },

    /// `extends` where there is no file that it could be relative to.
    #[error("{place}: `extends` works in a file only")]
    ExtendsPlace {
        /// The text or `--set`.
        place: String,
    },

    // ---- overrides ----
    /// An override that is not of the form `key.path=value`.
    #[error("--set {argument}: {problem}; write --set key.path=value")]
    Override {
        /// What followed `--set`.
        argument: String,
        /// What is wrong with it.
        problem: String,
    },

    /// An override of a key below something that is not a section.
    #[error("--set {argument}: `{parent}` is no section but {got} ({place}), so `{key}` cannot be set in it")]
    OverrideThrough {
        /// What followed `--set`.
        argument: String,
        /// The full key to be set.
        key: String,
        /// The key that is in the way.
        parent: String,
        /// Its value, as TOML.
        got: String,
        /// Where that came from.
        place: String,
    },

    // ---- keys and values ----
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`; {}", suggestion_or(suggestion.as_deref(), permitted))]
    UnknownKey {
        /// Where it was given.
        place: String,
        /// The full key.
        key: String,
        /// The nearest key that exists, in full.
        suggestion: Option<String>,
        /// The keys that exist there.
        permitted: Vec<String>,
    },

    /// A key without a default that was not given.
    #[error("{place}: the key `{key}` is missing")]
    MissingKey {
        /// The configuration.
        place: String,
        /// The full key.
        key: String,
    },

    /// A value of the wrong type or out of its range.
    #[error("{place}: `{key}` = {got}: {problem}")]
    Value {
        /// Where it was given.
        place: String,
        /// The full key.
        key: String,
        /// The value given, as TOML, shortened.
        got: String,
        /// What is expected instead.
        problem: String,
    },

    // ---- writing ----
    /// A value that TOML cannot hold.
    #[error("the configuration cannot be written as TOML: {problem}")]
    Unrepresentable {
        /// What is wrong.
        problem: String,
    },
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!("; did you mean {name}?"))
        .unwrap_or_default()
}

fn suggestion_or(suggestion: Option<&str>, permitted: &[String]) -> String {
    match (suggestion, permitted) {
        (Some(key), _) => format!("did you mean `{key}`?"),
        (None, []) => "there are no keys here".to_owned(),
        (None, keys) => format!("the keys here are {}", quoted(keys)),
    }
}

/// `` `a`, `b`, `c` ``.
pub(crate) fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
