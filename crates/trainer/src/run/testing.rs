//! What the tests of every kind of run need.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{RunOptions, Start};
use crate::progress::Verbosity;
use crate::stop::StopFlag;

/// A run that says nothing.
pub(crate) fn quiet(start: Start, stop: StopFlag) -> RunOptions {
    RunOptions {
        start,
        verbosity: Verbosity::Quiet,
        stop,
        ..RunOptions::default()
    }
}

/// The lines of `metrics.jsonl` without what they took of time and memory.
pub(crate) fn metrics(run: &Path) -> Vec<Value> {
    let without_time = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for key in ["seconds", "images_per_second", "data_wait", "memory_mib"] {
            line.as_object_mut().unwrap().remove(key);
        }
        line
    };
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(without_time).collect()
}
