//! A CSV file as rows of cells.

use std::path::{Path, PathBuf};

use crate::error::DataError;

/// A manifest as written. Cells are trimmed.
pub(super) struct Table {
    pub(super) file: PathBuf,
    header: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// One line.
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) path: String,
    cells: csv::StringRecord,
}

impl Row {
    pub(super) fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or("")
    }
}

impl Table {
    /// Reads the file; every row has a path.
    pub(super) fn read(file: &Path) -> Result<Table, DataError> {
        let failed = |error: csv::Error| manifest_error(file, error);
        let mut reader = reader(file).map_err(failed)?;
        let mut table = Table {
            file: file.to_owned(),
            header: names(reader.headers().map_err(failed)?),
            rows: Vec::new(),
        };
        if let [one] = &table.header[..]
            && let Some(separator) = one.chars().find(|c| matches!(c, ';' | '\t'))
        {
            let problem = format!("the columns are separated by {separator:?}; separate them by commas");
            return Err(table.error(1, problem));
        }
        let path_at = table.column("path")?;
        for record in reader.records() {
            let cells = record.map_err(failed)?;
            let line = cells.position().map_or(0, csv::Position::line);
            let path = cells.get(path_at).unwrap_or("").to_owned();
            if path.is_empty() {
                return Err(table.error(line, "the column `path` is empty".to_owned()));
            }
            table.rows.push(Row { line, path, cells });
        }
        if table.rows.is_empty() {
            return Err(table.error(2, "no images: the table has no rows".to_owned()));
        }
        Ok(table)
    }

    /// Where the column is; an error that names the nearest one when there is none.
    pub(super) fn column(&self, name: &str) -> Result<usize, DataError> {
        self.find(name).ok_or_else(|| DataError::MissingColumn {
            file: self.file.clone(),
            column: name.to_owned(),
            found: self.header.clone(),
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|found| found == name)
    }

    pub(super) fn error(&self, line: u64, problem: String) -> DataError {
        DataError::Manifest {
            file: self.file.clone(),
            line,
            problem,
        }
    }
}

/// Whether `file` is a `.csv` whose header has the column `path`.
pub(crate) fn is_manifest(file: &Path) -> bool {
    let has_path = || {
        Some(
            names(reader(file).ok()?.headers().ok()?)
                .iter()
                .any(|name| name == "path"),
        )
    };
    file.extension().is_some_and(|e| e == "csv") && has_path() == Some(true)
}

fn reader(file: &Path) -> csv::Result<csv::Reader<std::fs::File>> {
    csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(file)
}

/// The names of the columns; a byte order mark in front does not count.
fn names(header: &csv::StringRecord) -> Vec<String> {
    header
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect()
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
        csv::ErrorKind::Utf8 { .. } => "not valid UTF-8; save the table in that encoding".to_owned(),
        other => format!("{other:?}"),
    };
    DataError::Manifest {
        file: file.to_owned(),
        line,
        problem,
    }
}
