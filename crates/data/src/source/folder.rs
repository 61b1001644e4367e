//! Image folders: `<root>/<split>/<class>/…`, `<root>/<class>/…`, or flat.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Entry, Listing, SPLIT_NAMES};
use crate::error::{DataError, list as in_words, meant};
use crate::labels::{LabelConfig, LabelKind};

/// File name extensions that count as images in a folder, in any case. Other files are passed over.
pub const IMAGE_EXTENSIONS: [&str; 14] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif", "pbm", "pgm", "ppm", "pnm",
];

/// Lists `<root>/<split>` where that is a folder, else `root` itself, whose parts would pass for classes.
/// With `labels`, every image must lie in a class folder, and every class folder must hold one.
pub(super) fn list(root: &Path, split: &str, labels: Option<&LabelConfig>) -> Result<Listing, DataError> {
    let base = match (split, labels) {
        ("", None) => root.to_owned(),
        _ => base(root, split)?,
    };
    let mut files = Vec::new();
    let mut above = vec![canonical(&base)?];
    collect(&base, &mut above, &mut files)?;
    files.sort(); // by path component, so class by class
    if files.is_empty() {
        let extensions = IMAGE_EXTENSIONS.iter().map(|&e| e.to_owned()).collect();
        return Err(DataError::NoImages {
            path: base,
            extensions,
        });
    }
    let listing = label_by_folder(&base, files);
    match labels {
        None => Ok(listing),
        Some(labels) => check_labels(&base, listing, labels),
    }
}

/// The listing with the classes of `labels`, if every image and every class folder fits them.
fn check_labels(base: &Path, mut listing: Listing, labels: &LabelConfig) -> Result<Listing, DataError> {
    let wrong = |path: PathBuf, problem: String| Err(DataError::Label { path, problem });
    if labels.kind != LabelKind::Class || !labels.columns.is_empty() {
        let problem = "an image folder gives classes by its sub-folders; `labels.columns` and targets that \
                       are not classes need a manifest `.csv`";
        return wrong(base.to_owned(), problem.to_owned());
    }
    if listing.class_names.is_empty() {
        let problem = "no labels: no image lies in a sub-folder; labels need a folder for each class, or a \
                       manifest `.csv` with a column `label`";
        return wrong(base.to_owned(), problem.to_owned());
    }
    if let Some(stray) = listing.entries.iter().find(|entry| entry.label.is_none()) {
        let problem = "an image without a label beside class folders; move it into one of them".to_owned();
        return wrong(stray.location.path().to_owned(), problem);
    }
    let mut folders = entries(base)?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    for folder in folders {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_none_or(|name| listing.class_names.binary_search(&name).is_err()) {
            return wrong(
                folder,
                "a class folder without images; fill or remove it".to_owned(),
            );
        }
    }
    if !labels.classes.is_empty() {
        let place = |name: &String| {
            let known = labels.classes.iter().position(|class| class == name);
            known.map(|at| at as u32).ok_or_else(|| DataError::Label {
                path: base.join(name),
                problem: format!(
                    "not a class{}; the classes are {}",
                    meant(name, &labels.classes),
                    in_words(&labels.classes)
                ),
            })
        };
        let places = listing
            .class_names
            .iter()
            .map(place)
            .collect::<Result<Vec<u32>, _>>()?;
        for entry in &mut listing.entries {
            entry.label = entry.label.map(|label| places[label as usize]);
        }
        listing.class_names = labels.classes.clone();
    }
    Ok(listing)
}

/// The folder to look in; an error when the root has other splits but not this one.
pub(super) fn base(root: &Path, split: &str) -> Result<PathBuf, DataError> {
    if let Some(part) = part(root, split) {
        return Ok(part);
    }
    let mut found: Vec<String> = entries(root)?
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .filter(|name| SPLIT_NAMES.contains(&name.to_ascii_lowercase().as_str()))
        .collect();
    if found.is_empty() {
        return Ok(root.to_owned());
    }
    found.sort();
    Err(DataError::MissingSplit {
        path: root.to_owned(),
        split: split.to_owned(),
        found,
    })
}

/// The sub-folder of that name, where there is one.
pub(super) fn part(root: &Path, split: &str) -> Option<PathBuf> {
    let part = root.join(split);
    (!split.is_empty() && is_plain_name(split) && part.is_dir()).then_some(part)
}

fn is_plain_name(name: &str) -> bool {
    Path::new(name).file_name() == Some(OsStr::new(name))
}

/// The visible entries of a folder, in no particular order.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::List {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Gathers the images below `folder`. Links are followed, but not into a folder that is being listed.
fn collect(folder: &Path, above: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    for path in entries(folder)? {
        if !path.is_dir() {
            if is_image_name(&path) {
                files.push(path);
            }
            continue;
        }
        let real = canonical(&path)?;
        if !above.contains(&real) {
            above.push(real);
            collect(&path, above, files)?;
            above.pop();
        }
    }
    Ok(())
}

fn canonical(path: &Path) -> Result<PathBuf, DataError> {
    path.canonicalize().map_err(|source| DataError::List {
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn is_image_name(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or("");
    IMAGE_EXTENSIONS
        .iter()
        .any(|known| known.eq_ignore_ascii_case(extension))
}

/// The first folder below `base` is the class; images that lie in `base` itself have none.
fn label_by_folder(base: &Path, files: Vec<PathBuf>) -> Listing {
    let mut class_names: Vec<String> = Vec::new();
    let entries = files
        .into_iter()
        .map(|path| {
            let parts: Vec<String> = path
                .strip_prefix(base)
                .unwrap_or(&path)
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect();
            let label = (parts.len() > 1).then(|| {
                // Sorted paths bring every class in one piece.
                if class_names.last() != Some(&parts[0]) {
                    class_names.push(parts[0].clone());
                }
                (class_names.len() - 1) as u32
            });
            Entry {
                location: path.into(),
                name: parts.join("/"),
                label,
                row: None,
            }
        })
        .collect();
    Listing { entries, class_names }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes empty files and folders (a name ending in `/`).
    fn tree(names: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in names {
            let path = root.path().join(name);
            if name.ends_with('/') {
                std::fs::create_dir_all(path).unwrap();
            } else {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, b"").unwrap();
            }
        }
        root
    }

    fn check(names: &[&str], split: &str, expected: &[(&str, Option<u32>)], classes: &[&str]) {
        let root = tree(names);
        let listing = list(root.path(), split, None).unwrap();
        let found: Vec<_> = listing
            .entries
            .iter()
            .map(|e| (e.name.as_str(), e.label))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(listing.class_names, classes);
        assert!(listing.entries.iter().all(|e| e.location.path().exists()));
    }

    #[test]
    fn the_three_layouts() {
        check(
            &[
                "train/dog/b.png",
                "train/dog/a.JPEG",
                "train/cat/x/deep.jpg",
                "val/cat/v.png",
                "readme.txt",
            ],
            "train",
            &[
                ("cat/x/deep.jpg", Some(0)),
                ("dog/a.JPEG", Some(1)),
                ("dog/b.png", Some(1)),
            ],
            &["cat", "dog"],
        );
        check(
            &["b/1.png", "a/2.png"],
            "train",
            &[("a/2.png", Some(0)), ("b/1.png", Some(1))],
            &["a", "b"],
        );
        check(
            &["2.tif", "1.webp", "notes.md"],
            "train",
            &[("1.webp", None), ("2.tif", None)],
            &[],
        );
        check(
            &["train/2.gif", "train/1.pgm"],
            "train",
            &[("1.pgm", None), ("2.gif", None)],
            &[],
        );
    }

    #[test]
    fn names_that_sort_between_a_folder_and_its_files_split_no_class() {
        // As strings, `a-b/…` sorts before `a/…`, but after `a`.
        check(
            &["a/1.png", "a-b/1.png", "a/2.png"],
            "train",
            &[("a/1.png", Some(0)), ("a/2.png", Some(0)), ("a-b/1.png", Some(1))],
            &["a", "a-b"],
        );
    }

    #[test]
    fn hidden_files_and_empty_folders_are_passed_over() {
        check(
            &[".cache/1.png", "a/._1.png", "a/1.png", "empty/"],
            "train",
            &[("a/1.png", Some(0))],
            &["a"],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tree(&["val/a/1.png", "test/a/1.png"]);
        let message = list(root.path(), "train", None).unwrap_err().to_string();
        assert!(
            message.ends_with("no split `train` (`data.split`); found `test` and `val`"),
            "{message}"
        );
        let root = tree(&["train/a/notes.txt"]);
        let message = list(root.path(), "train", None).unwrap_err().to_string();
        assert!(
            message.contains("no images found (files ending in `jpg`, "),
            "{message}"
        );
        assert!(message.contains("train"), "{message}");
        // A split cannot lead out of the root.
        let root = tree(&["inner/train/", "a/1.png"]);
        assert!(list(&root.path().join("inner"), "../a", None).is_err());
    }

    fn labelled(names: &[&str], labels: &str) -> Result<Listing, DataError> {
        let root = tree(names);
        list(root.path(), "train", Some(&toml::from_str(labels).unwrap()))
    }

    #[test]
    fn labels_want_every_image_in_a_class_and_every_class_with_an_image() {
        let listing = labelled(&["b/1.png", "a/2.png"], "").unwrap();
        assert_eq!(listing.class_names, ["a", "b"]);
        let listing = labelled(&["b/1.png", "a/2.png"], "classes = ['b', 'c', 'a']").unwrap();
        assert_eq!(listing.class_names, ["b", "c", "a"]);
        assert_eq!(
            listing.entries.iter().map(|e| e.label).collect::<Vec<_>>(),
            [Some(2), Some(0)]
        );

        let cases: [(&[&str], &str, &str); 6] = [
            (&["1.png"], "", "no labels: no image lies in a sub-folder"),
            (&["a/1.png", "2.png"], "", "2.png: an image without a label"),
            (&["a/1.png", "b/"], "", "b: a class folder without images"),
            (
                &["train/a/1.png", "train/b/notes.txt"],
                "",
                "b: a class folder without images",
            ),
            (
                &["cat/1.png"],
                "classes = ['cats', 'dogs']",
                "cat: not a class (did you mean `cats`?)",
            ),
            (&["a/1.png"], "columns = ['kind']", "`labels.columns`"),
        ];
        for (names, labels, expected) in cases {
            let message = labelled(names, labels).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_once() {
        let root = tree(&["a/1.png"]);
        std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
        let outside = tree(&["2.png"]);
        std::os::unix::fs::symlink(outside.path(), root.path().join("b")).unwrap();
        let listing = list(root.path(), "train", None).unwrap();
        let names: Vec<_> = listing.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["a/1.png", "b/2.png"]);
    }
}
