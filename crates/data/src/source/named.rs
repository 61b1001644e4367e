//! Named data sets: `<data home>/<name>/<split>.csv`, put there by `cargo xtask data fetch <name>`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Listing, manifest, table};
use crate::error::DataError;
use crate::labels::LabelConfig;

/// The folder of the named data sets: `$FCMAE_DATA`, else `data` in the cache, which is `$FCMAE_CACHE`,
/// `$XDG_CACHE_HOME/fcmae` or `~/.cache/fcmae`: the places that `cargo xtask data` uses.
///
/// # Errors
/// [`DataError::NoDataHome`] when none of these variables, nor `HOME`, is set.
pub fn data_home() -> Result<PathBuf, DataError> {
    home_from(&|name| std::env::var_os(name))
}

/// The folder `below` in the cache, where anything tells where that is.
pub(crate) fn cache_home(below: &str) -> Option<PathBuf> {
    let places = [
        ("FCMAE_CACHE", ""),
        ("XDG_CACHE_HOME", "fcmae"),
        ("HOME", ".cache/fcmae"),
    ];
    Some(first_set(&places, &|name| std::env::var_os(name))?.join(below))
}

fn home_from(variable: &dyn Fn(&str) -> Option<OsString>) -> Result<PathBuf, DataError> {
    let places = [
        ("FCMAE_DATA", ""),
        ("FCMAE_CACHE", "data"),
        ("XDG_CACHE_HOME", "fcmae/data"),
        ("HOME", ".cache/fcmae/data"),
    ];
    first_set(&places, variable).ok_or(DataError::NoDataHome)
}

/// The first variable that is set and not empty, joined with what stands beside it.
fn first_set(places: &[(&str, &str)], variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |&(name, below): &(&str, &str)| {
        let value = variable(name).filter(|value| !value.is_empty())?;
        Some(PathBuf::from(value).join(below))
    };
    places.iter().find_map(set)
}

/// Lists one split of a named data set.
pub(crate) fn open_named(
    home: &Path,
    dataset: &str,
    split: &str,
    labels: Option<&LabelConfig>,
) -> Result<Listing, DataError> {
    manifest::list(&manifest_of(home, dataset, split)?, labels)
}

/// The manifest of one split of a named data set.
pub(crate) fn manifest_of(home: &Path, dataset: &str, split: &str) -> Result<PathBuf, DataError> {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if !is_name(dataset) {
        return Err(DataError::InvalidValue {
            key: "data.dataset",
            got: format!("\"{dataset}\""),
            expected: "a name is made of letters, digits, `-` and `_`; folders belong in `data.path`"
                .to_owned(),
        });
    }
    let folder = home.join(dataset);
    let file = folder.join(format!("{split}.csv"));
    if is_name(split) && file.is_file() {
        return Ok(file);
    }
    match splits(&folder) {
        found if found.is_empty() => Err(DataError::NotFetched {
            dataset: dataset.to_owned(),
            folder,
        }),
        found => Err(DataError::MissingSplit {
            path: folder,
            split: split.to_owned(),
            found,
        }),
    }
}

/// Names of the manifests in `folder`, sorted; none when the folder cannot be listed.
fn splits(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| table::is_manifest(file))
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first variable that is set and not empty wins; an xtask test has the same table.
    #[test]
    fn the_data_home_follows_the_cache() {
        let all = [
            ("FCMAE_DATA", "/d"),
            ("FCMAE_CACHE", "/c"),
            ("XDG_CACHE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        let home = |known: &[(&str, &str)]| {
            home_from(&|name| {
                known
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| value.into())
            })
        };
        for (skipped, expected) in ["/d", "/c/data", "/x/fcmae/data", "/h/.cache/fcmae/data"]
            .iter()
            .enumerate()
        {
            assert_eq!(home(&all[skipped..]).unwrap(), Path::new(expected));
        }
        assert_eq!(
            home(&[("FCMAE_DATA", ""), ("HOME", "/h")]).unwrap(),
            Path::new("/h/.cache/fcmae/data")
        );
        assert!(home(&[]).unwrap_err().to_string().contains("FCMAE_DATA"));
    }

    #[test]
    fn a_split_is_a_manifest() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("cells")).unwrap();
        std::fs::write(home.path().join("cells/train.csv"), "path\nimages/a.png\n").unwrap();
        std::fs::write(home.path().join("cells/labels.csv"), "images/a.png  1.0\n").unwrap();
        let listing = open_named(home.path(), "cells", "train", None).unwrap();
        assert_eq!(
            listing.entries[0].location.path(),
            home.path().join("cells/images/a.png")
        );

        let message = open_named(home.path(), "cells", "test", None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("no split `test`") && message.ends_with("found `train`"),
            "{message}"
        );
        let message = open_named(home.path(), "elpv", "train", None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("cargo xtask data fetch elpv"), "{message}");
        let message = open_named(home.path(), "../elpv", "train", None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("data.dataset"), "{message}");
    }
}
