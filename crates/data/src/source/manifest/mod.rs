//! Tables to listings: a manifest `.csv` with a column `path`, or the samples of shards, and perhaps labels in columns.

mod labelled;

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::table::{Row, Table};
use super::{Entry, Listing};
use crate::error::DataError;
use crate::labels::LabelConfig;

/// Above this, a number in the column `label` is a mistake rather than the index of a class.
pub(super) const MOST_CLASSES: u32 = 1_000_000;

/// Reads a manifest, in the order of its rows; the first line names the columns.
pub(super) fn list(file: &Path, labels: Option<&LabelConfig>) -> Result<Listing, DataError> {
    list_table(&Table::read(file)?, labels)
}

/// The images of a table, in the order of its rows; all columns but `label` are passed over.
///
/// The classes are numbered as the table says. Where it does not, and every label is a whole number, that is the
/// index of the class; else the classes are the distinct labels, sorted. An empty label means none.
/// With `labels`, every row must be labelled as they say.
pub(super) fn list_table(table: &Table, labels: Option<&LabelConfig>) -> Result<Listing, DataError> {
    if let Some(labels) = labels {
        return labelled::list(table, labels);
    }
    let Some(column) = table.find("label") else {
        return Ok(listing(table, |_| Label::default(), Vec::new()));
    };
    let (labels, class_names) = number_labels(table, column)?;
    let mut labels = labels.into_iter();
    let next = |_: &Row| Label {
        class: labels.next().flatten(),
        row: None,
    };
    Ok(listing(table, next, class_names))
}

/// What a row's cells say of its label.
#[derive(Default)]
struct Label {
    class: Option<u32>,
    row: Option<std::sync::Arc<[f32]>>,
}

fn listing(table: &Table, mut label: impl FnMut(&Row) -> Label, class_names: Vec<String>) -> Listing {
    let entry = |row: &Row| {
        let Label { class, row: numbers } = label(row);
        Entry {
            location: row.location.clone(),
            name: row.name.clone(),
            label: class,
            row: numbers,
        }
    };
    Listing {
        entries: table.rows.iter().map(entry).collect(),
        class_names,
    }
}

/// Class indices row by row, and the names of the classes.
pub(crate) fn number_labels(
    table: &Table,
    column: usize,
) -> Result<(Vec<Option<u32>>, Vec<String>), DataError> {
    let cells = || table.rows.iter().map(|row| row.cell(column));
    if let (Some(names), "label") = (&table.classes, table.header[column].as_str()) {
        let places: HashMap<&str, u32> = names.iter().map(String::as_str).zip(0..).collect();
        return Ok((
            cells().map(|cell| places.get(cell).copied()).collect(),
            names.clone(),
        ));
    }
    let labelled = || cells().filter(|cell| !cell.is_empty());
    if labelled().all(is_whole) {
        let index = |row: &Row| match row.cell(column) {
            "" => Ok(None),
            cell => class_index(table, row, cell).map(Some),
        };
        let labels = table.rows.iter().map(index).collect::<Result<Vec<_>, _>>()?;
        let classes = labels.iter().flatten().max().map_or(0, |&last| last + 1);
        return Ok((labels, (0..classes).map(|c| c.to_string()).collect()));
    }
    let names: BTreeSet<&str> = labelled().collect();
    let names: Vec<&str> = names.into_iter().collect();
    let labels = cells().map(|cell| names.binary_search(&cell).ok().map(|i| i as u32));
    Ok((
        labels.collect(),
        names.iter().map(|&name| name.to_owned()).collect(),
    ))
}

fn is_whole(cell: &str) -> bool {
    cell.bytes().all(|b| b.is_ascii_digit())
}

fn class_index(table: &Table, row: &Row, cell: &str) -> Result<u32, DataError> {
    match cell.parse::<u32>() {
        Ok(index) if index < MOST_CLASSES => Ok(index),
        _ => {
            let last = MOST_CLASSES - 1;
            Err(table.error(row, format!("label {cell} is no class index (0 to {last})")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: impl AsRef<[u8]>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.csv");
        std::fs::write(&file, text).unwrap();
        (folder, file)
    }

    fn check(text: &str, expected: &[(&str, Option<u32>)], classes: &[&str]) {
        let (folder, file) = write(text);
        let listing = list(&file, None).unwrap();
        let found: Vec<_> = listing
            .entries
            .iter()
            .map(|e| (e.name.as_str(), e.label))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(listing.class_names, classes);
        for entry in &listing.entries {
            assert_eq!(entry.location.path(), folder.path().join(&entry.name));
        }
    }

    fn check_error(text: impl AsRef<[u8]>, expected: &str) {
        let (_folder, file) = write(text);
        let message = list(&file, None).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("train.csv"), "{message}");
    }

    #[test]
    fn rows_keep_their_order() {
        check(
            "path\nb.png\nsub/a.png\n",
            &[("b.png", None), ("sub/a.png", None)],
            &[],
        );
        check(
            "type,label,path\nmono,2,x.png\npoly,0,y.png\n,,z.png\n",
            &[("x.png", Some(2)), ("y.png", Some(0)), ("z.png", None)],
            &["0", "1", "2"],
        );
    }

    #[test]
    fn words_are_classes_by_name() {
        check(
            "\u{feff}path,label\r\na.png,good\r\n\"b, c.png\",bad\r\nd.png,7\r\n",
            &[("a.png", Some(2)), ("b, c.png", Some(1)), ("d.png", Some(0))],
            &["7", "bad", "good"],
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        check_error(
            "file,label\na.png,1\n",
            "no column `path`; the header has `file` and `label`",
        );
        check_error(
            "path;label\na.png;1\n",
            "line 1: the columns are separated by ';'; separate them by commas",
        );
        check_error("path,label\n", "no images");
        check_error("", "no column `path`");
        check_error(
            "path,label\na.png,1\nb.png\n",
            "line 3: 1 columns, but the header has 2",
        );
        check_error("path,label\n,1\n", "line 2: the column `path` is empty");
        check_error(
            "path,label\na.png,4000000000\n",
            "line 2: label 4000000000 is no class index",
        );
        check_error("path,label\na.png,99999999999999\n", "is no class index");
        check_error(b"path\n\xff\xfe.png\n", "line 2: not valid UTF-8");
    }

    #[test]
    fn absolute_paths_stand() {
        let (_folder, file) = write("path\n/data/a.png\n");
        assert_eq!(
            list(&file, None).unwrap().entries[0].location.path(),
            Path::new("/data/a.png")
        );
    }
}
