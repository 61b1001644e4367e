//! `provenance.json`: where a run came from. Written when it starts; nothing is read from it to train.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a run came from; what is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The kind of run, as in the program's verb: `"pretrain"`, `"finetune"`.
    pub task: String,
    /// The command that started it, as it can be typed again.
    pub command: String,
    /// The network, in words.
    pub network: String,
    /// The images, in words.
    pub images: String,
    /// Machine and versions: what it is called, and what was found.
    pub machine: Vec<(String, String)>,
    /// Where each value of the config was given that is no default, by its full key.
    pub origins: BTreeMap<String, String>,
}
