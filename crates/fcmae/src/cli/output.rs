//! Results on stdout: JSON for programs, tables for people.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use fcmae::trainer::InputError;
use serde::Serialize;

/// Prints one JSON object as a line.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    text(&(serde_json::to_string(value)? + "\n"))
}

/// Prints text as it is. A reader that has gone away (`| head`) is no error.
pub(super) fn text(text: &str) -> Result<()> {
    match part(text) {
        Err(error) if is_unread(&error) => Ok(()),
        result => result,
    }
}

/// Prints a part of what is still to come; a reader that has gone away is an error that [`is_unread`] knows.
pub(super) fn part(text: &str) -> Result<()> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

/// Whether nobody reads on: what would come after need not be made.
pub(super) fn is_unread(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Makes the folder of `--output`, before hours are spent on what goes into it.
pub(super) fn folder(path: &Path) -> Result<(), InputError> {
    fs::create_dir_all(path).map_err(|error| InputError::Argument {
        message: format!("--output {}: {error}; choose another folder", path.display()),
    })
}

/// Lines up columns: text to the left, and what looks like a number to the right.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&header)
            .chain(rows)
            .filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let is_number = |column: usize| {
        rows.iter()
            .all(|row| row[column].starts_with(|c: char| c.is_ascii_digit()))
    };
    let numbers: Vec<bool> = (0..header.len())
        .map(|column| !rows.is_empty() && is_number(column))
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .zip(&numbers)
            .map(|((cell, &width), &is_number)| {
                if is_number {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    std::iter::once(&header).chain(rows).map(line).collect()
}

/// Says on stderr now and then how many shards are listed, where that takes long.
pub(super) fn tell_of_listing() {
    fcmae::data::tell_of_listing(|done, of| eprintln!("listing shards: {done} of {of}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["stem", "9"], ["a·longer", "120"]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "name      count\nstem          9\na·longer    120\n";
        assert_eq!(table(&["name", "count"], &rows), expected);
        assert_eq!(table(&["name"], &[]), "name\n");
    }
}
