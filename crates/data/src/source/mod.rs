//! Where samples come from: an image folder, a manifest, tar shards, or a named data set (which is a manifest).

mod folder;
mod manifest;
mod named;
mod shards;
mod table;

use std::path::Path;
use std::sync::Arc;

use crate::config::DataConfig;
use crate::error::DataError;
use crate::labels::LabelConfig;
use crate::storage::{Location, is_url};

pub use folder::IMAGE_EXTENSIONS;
pub(crate) use folder::is_image_name;
pub(crate) use manifest::number_labels;
pub use named::data_home;
pub(crate) use named::{cache_home, manifest_of, open_named};
pub use shards::tell_of_listing;
pub(crate) use shards::{BESIDE, NAME, SEAL, blank_seal, lay_beside};
pub(crate) use table::{Row, Table};

/// Names that mean a part of a data set, so a missing split is not taken for a class.
const SPLIT_NAMES: [&str; 6] = ["train", "training", "val", "valid", "validation", "test"];

/// What a source yields: samples in their final order, and the names of the classes.
#[derive(Debug, PartialEq)]
pub(crate) struct Listing {
    pub(crate) entries: Vec<Entry>,
    /// Empty when nothing is labelled.
    pub(crate) class_names: Vec<String>,
}

/// One image of a listing.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) location: Location,
    /// Path relative to the source, with `/`: the same on every machine.
    pub(crate) name: String,
    pub(crate) label: Option<u32>,
    /// Soft or multi-label targets, `[K]`.
    pub(crate) row: Option<Arc<[f32]>>,
}

/// Whether `path` names many images, if any: a folder, a manifest `.csv`, tar shards.
#[must_use]
pub fn is_collection(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
    let is_list = ["csv", "tar", "txt"].iter().any(|&list| extension == list);
    path.is_dir() || is_list || is_url(&text)
}

/// Whether `config.split` chooses among the parts of the source. A manifest, shards whose names do not tell, and a folder
/// without such a sub-folder have all of their images in every split.
pub(crate) fn has_part(config: &DataConfig, are_shards: bool) -> bool {
    match &config.path {
        Some(path) => {
            folder::part(path, &config.split).is_some()
                || (are_shards && shards::are_part(path, &config.split))
        }
        None => true, // a named data set
    }
}

/// Lists the images at `path`, which are read as `config` says: tar shards, a manifest or an image folder.
/// With `labels`, every image must be labelled as they say.
pub(crate) fn open_path(
    path: &Path,
    config: &DataConfig,
    labels: Option<&LabelConfig>,
) -> Result<Listing, DataError> {
    let bad = |problem: String| DataError::BadPath {
        path: path.to_owned(),
        problem,
    };
    if let Some(table) = shards::read(path, config)? {
        return manifest::list_table(&table, labels);
    }
    let kind = match std::fs::metadata(path) {
        Ok(kind) => kind,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(bad("does not exist".to_owned()));
        }
        Err(error) => return Err(bad(format!("cannot be opened: {error}"))),
    };
    if kind.is_dir() {
        folder::list(path, &config.split, labels)
    } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        manifest::list(path, labels)
    } else {
        Err(bad(
            "is neither a folder nor a `.csv`, `.tar` or `.txt` file".to_owned()
        ))
    }
}
