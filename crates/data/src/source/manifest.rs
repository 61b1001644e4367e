//! Manifests: a CSV file with a column `path` and perhaps `label`.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Entry, Listing};
use crate::error::DataError;

/// Above this, a number in the column `label` is a mistake rather than the index of a class.
const MOST_CLASSES: u32 = 1_000_000;

/// Reads a manifest, in the order of its rows.
///
/// The first line names the columns; all but `path` and `label` are passed over. Paths are relative to the
/// manifest's folder. When every label is a whole number, it is the index of the class; else the classes
/// are the distinct labels, sorted. An empty label means none.
pub(super) fn list(file: &Path) -> Result<Listing, DataError> {
    let rows = read_rows(file)?;
    if rows.is_empty() {
        let problem = "no images: the table has no rows".to_owned();
        return Err(DataError::Manifest {
            file: file.to_owned(),
            line: 2,
            problem,
        });
    }
    let (labels, class_names) = number_labels(file, &rows)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let entries = rows
        .into_iter()
        .zip(labels)
        .map(|(row, label)| Entry {
            path: folder.join(&row.path),
            name: row.path,
            label,
        })
        .collect();
    Ok(Listing { entries, class_names })
}

/// Whether `file` is a `.csv` whose header has the column `path`.
pub(super) fn is_manifest(file: &Path) -> bool {
    let has_path = || {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(file)
            .ok()?;
        column(reader.headers().ok()?, "path")
    };
    file.extension().is_some_and(|e| e == "csv") && has_path().is_some()
}

/// Where the header has `name`; a byte order mark in front does not count.
fn column(header: &csv::StringRecord, name: &str) -> Option<usize> {
    header
        .iter()
        .position(|found| found.trim_start_matches('\u{feff}') == name)
}

/// One line of the table as written.
struct Row {
    line: u64,
    path: String,
    label: String,
}

fn read_rows(file: &Path) -> Result<Vec<Row>, DataError> {
    let failed = |error: csv::Error| manifest_error(file, error);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(file)
        .map_err(failed)?;
    let header = reader.headers().map_err(failed)?.clone();
    let path_at = column(&header, "path").ok_or_else(|| DataError::MissingColumn {
        file: file.to_owned(),
        column: "path",
        found: header.iter().map(str::to_owned).collect(),
    })?;
    let label_at = column(&header, "label");
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: usize| record.get(at).unwrap_or("").to_owned();
        let row = Row {
            line,
            path: cell(path_at),
            label: label_at.map_or(String::new(), cell),
        };
        if row.path.is_empty() {
            let problem = "the column `path` is empty".to_owned();
            return Err(DataError::Manifest {
                file: file.to_owned(),
                line,
                problem,
            });
        }
        rows.push(row);
    }
    Ok(rows)
}

fn manifest_error(file: &Path, error: csv::Error) -> DataError {
    let line = error.position().map_or(0, csv::Position::line);
    let problem = match error.into_kind() {
        csv::ErrorKind::Io(source) => {
            return DataError::Read {
                file: file.to_owned(),
                source,
            };
        }
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!("{len} columns, but the header has {expected_len}; quote cells that contain a comma")
        }
        csv::ErrorKind::Utf8 { .. } => "not valid UTF-8".to_owned(),
        other => format!("{other:?}"),
    };
    DataError::Manifest {
        file: file.to_owned(),
        line,
        problem,
    }
}

/// Class indices row by row, and the names of the classes.
fn number_labels(file: &Path, rows: &[Row]) -> Result<(Vec<Option<u32>>, Vec<String>), DataError> {
    let labelled = || rows.iter().filter(|row| !row.label.is_empty());
    let is_number = |row: &Row| row.label.bytes().all(|b| b.is_ascii_digit());
    if labelled().all(is_number) {
        let labels = rows
            .iter()
            .map(|row| class_index(file, row))
            .collect::<Result<Vec<_>, _>>()?;
        let classes = labels.iter().flatten().max().map_or(0, |&last| last + 1);
        return Ok((labels, (0..classes).map(|c| c.to_string()).collect()));
    }
    let names: BTreeSet<&str> = labelled().map(|row| row.label.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let labels = rows
        .iter()
        .map(|row| names.binary_search(&row.label.as_str()).ok().map(|i| i as u32));
    Ok((
        labels.collect(),
        names.iter().map(|&name| name.to_owned()).collect(),
    ))
}

fn class_index(file: &Path, row: &Row) -> Result<Option<u32>, DataError> {
    if row.label.is_empty() {
        return Ok(None);
    }
    match row.label.parse::<u32>() {
        Ok(index) if index < MOST_CLASSES => Ok(Some(index)),
        _ => Err(DataError::Manifest {
            file: file.to_owned(),
            line: row.line,
            problem: format!(
                "label {} is no class index (0 to {})",
                row.label,
                MOST_CLASSES - 1
            ),
        }),
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
        let listing = list(&file).unwrap();
        let found: Vec<_> = listing
            .entries
            .iter()
            .map(|e| (e.name.as_str(), e.label))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(listing.class_names, classes);
        for entry in &listing.entries {
            assert_eq!(entry.path, folder.path().join(&entry.name));
        }
    }

    fn check_error(text: impl AsRef<[u8]>, expected: &str) {
        let (_folder, file) = write(text);
        let message = list(&file).unwrap_err().to_string();
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
        assert_eq!(list(&file).unwrap().entries[0].path, Path::new("/data/a.png"));
    }
}
