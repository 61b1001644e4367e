//! Where samples come from: an image folder, a manifest, or a named data set (which is a manifest).

mod folder;
mod manifest;
mod named;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::DataError;
use crate::labels::LabelConfig;

pub use folder::IMAGE_EXTENSIONS;
pub use named::data_home;
pub(crate) use named::open_named;

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
    pub(crate) path: PathBuf,
    /// Path relative to the source, with `/`: the same on every machine.
    pub(crate) name: String,
    pub(crate) label: Option<u32>,
    /// Soft or multi-label targets, `[K]`.
    pub(crate) row: Option<Arc<[f32]>>,
}

/// Lists the images at `path`: a manifest when it is a file, an image folder when it is a folder.
/// With `labels`, every image must be labelled as they say.
pub(crate) fn open_path(
    path: &Path,
    split: &str,
    labels: Option<&LabelConfig>,
) -> Result<Listing, DataError> {
    let bad = |problem: String| DataError::BadPath {
        path: path.to_owned(),
        problem,
    };
    let kind = match std::fs::metadata(path) {
        Ok(kind) => kind,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(bad("does not exist".to_owned()));
        }
        Err(error) => return Err(bad(format!("cannot be opened: {error}"))),
    };
    if kind.is_dir() {
        folder::list(path, split, labels)
    } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        manifest::list(path, labels)
    } else {
        Err(bad("is neither a folder nor a `.csv` file".to_owned()))
    }
}
