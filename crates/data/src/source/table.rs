//! Images with columns of text beside them: the rows of a manifest, or the samples of shards.

use std::path::{Path, PathBuf};

use crate::config::DataConfig;
use crate::error::{DataError, list as in_words};
use crate::storage::{Location, open_plain};

use super::{Entry, data_home, manifest_of, open_path, shards};

/// Rows as written. Cells are trimmed.
pub(crate) struct Table {
    /// The manifest, or what names the shards.
    pub(crate) source: PathBuf,
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// The classes in the column `label`, where the source gives their order; else their names do.
    pub(crate) classes: Option<Vec<String>>,
}

/// One image.
pub(crate) struct Row {
    /// Line of the manifest; shards have none.
    pub(crate) line: Option<u64>,
    pub(crate) location: Location,
    /// The path as the manifest or shard has it: the same on every machine.
    pub(crate) name: String,
    pub(crate) cells: csv::StringRecord,
}

impl Row {
    pub(crate) fn cell(&self, column: usize) -> &str {
        self.cells.get(column).unwrap_or("")
    }
}

impl Table {
    /// The images that `config` names, of whatever kind the source is; the class folders of an image folder are its
    /// column `label`.
    pub(crate) fn open(config: &DataConfig) -> Result<Table, DataError> {
        config.validate()?;
        let path = match (&config.path, &config.dataset) {
            (Some(path), _) => path.clone(),
            (None, Some(name)) => manifest_of(&data_home()?, name, &config.split)?,
            (None, None) => return Err(DataError::NoSource),
        };
        if let Some(table) = shards::read(&path, config)? {
            return Ok(table);
        }
        if path.is_file() && path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            return Table::read(&path);
        }
        let listing = open_path(&path, config, None)?;
        let row = |entry: Entry| {
            let class = entry
                .label
                .map_or("", |label| listing.class_names[label as usize].as_str());
            Row {
                line: None,
                location: entry.location,
                name: entry.name,
                cells: [class].into_iter().collect(),
            }
        };
        Ok(Table {
            rows: listing.entries.into_iter().map(row).collect(),
            source: path,
            header: vec!["label".to_owned()],
            classes: Some(listing.class_names),
        })
    }

    /// Reads a manifest; every row has a path, relative to the manifest's folder.
    pub(super) fn read(file: &Path) -> Result<Table, DataError> {
        let failed = |error: csv::Error| manifest_error(file, error);
        let wrong = |line, problem: &str| DataError::Manifest {
            file: file.to_owned(),
            line,
            problem: problem.to_owned(),
        };
        let mut reader = reader(file).map_err(failed)?;
        let mut table = Table {
            source: file.to_owned(),
            header: names(reader.headers().map_err(failed)?),
            rows: Vec::new(),
            classes: None,
        };
        if let [one] = &table.header[..]
            && let Some(separator) = one.chars().find(|c| matches!(c, ';' | '\t'))
        {
            let problem = format!("the columns are separated by {separator:?}; separate them by commas");
            return Err(wrong(1, &problem));
        }
        let path_at = table.find("path").ok_or_else(|| DataError::MissingColumn {
            file: file.to_owned(),
            column: "path".to_owned(),
            found: table.header.clone(),
        })?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for record in reader.records() {
            let cells = record.map_err(failed)?;
            let line = cells.position().map_or(0, csv::Position::line);
            let name = cells.get(path_at).unwrap_or("").to_owned();
            if name.is_empty() {
                return Err(wrong(line, "the column `path` is empty"));
            }
            table.rows.push(Row {
                line: Some(line),
                location: folder.join(&name).into(),
                name,
                cells,
            });
        }
        if table.rows.is_empty() {
            return Err(wrong(2, "no images: the table has no rows"));
        }
        Ok(table)
    }

    /// Where the column is; an error that names the nearest one when there is none.
    pub(super) fn column(&self, name: &str) -> Result<usize, DataError> {
        self.find(name).ok_or_else(|| match self.rows.first() {
            Some(Row { line: None, .. }) => DataError::Label {
                path: self.source.clone(),
                problem: format!(
                    "no labels `{name}`: they are read from members `key.cls` or fields of `key.json`; found {}",
                    in_words(&self.header)
                ),
            },
            _ => DataError::MissingColumn {
                file: self.source.clone(),
                column: name.to_owned(),
                found: self.header.clone(),
            },
        })
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|found| found == name)
    }

    /// What is wrong with a row, and where it stands.
    pub(super) fn error(&self, row: &Row, problem: String) -> DataError {
        match row.line {
            Some(line) => DataError::Manifest {
                file: self.source.clone(),
                line,
                problem,
            },
            None => DataError::Label {
                path: row.location.path().to_owned(),
                problem,
            },
        }
    }
}

/// Whether `file` is a `.csv` whose header has the column `path`.
pub(super) fn is_manifest(file: &Path) -> bool {
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
    let file = open_plain(file)?;
    Ok(csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file))
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
