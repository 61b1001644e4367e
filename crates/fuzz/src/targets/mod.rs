//! The readers of this workspace, one file for each kind.

pub(crate) mod checkpoints;
pub(crate) mod configs;
pub(crate) mod images;
pub(crate) mod indexes;
pub(crate) mod manifests;
pub(crate) mod shards;

use std::path::{Path, PathBuf};

/// A file of the checkout, from its root.
fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The bytes of a file of the checkout.
fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(checkout(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
