//! Labels that every row of a manifest must have: a class, or a row of numbers.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Label, Listing, is_whole, listing, number_labels};
use crate::error::{DataError, list as in_words, meant};
use crate::labels::{LabelConfig, LabelKind};
use crate::source::table::{Row, Table};

/// How far the probabilities of a row may sum from 1; they are brought to 1.
const SUM_TOLERANCE: f64 = 1e-3;

pub(super) fn list(table: &Table, labels: &LabelConfig) -> Result<Listing, DataError> {
    let listing = match labels.kind {
        LabelKind::Class => classes(table, labels),
        LabelKind::Soft | LabelKind::MultiLabel => rows(table, labels),
    }?;
    refuse_contradiction(table, &listing)?;
    Ok(listing)
}

/// An image of a manifest may be listed twice, to count twice, but not with two labels.
fn refuse_contradiction(table: &Table, listing: &Listing) -> Result<(), DataError> {
    let mut first = HashMap::new();
    for (row, entry) in table.rows.iter().zip(&listing.entries) {
        let &mut (line, earlier) = first.entry(entry.name.as_str()).or_insert((row.line, entry));
        if let Some(line) = line
            && (earlier.label, &earlier.row) != (entry.label, &entry.row)
        {
            let problem = format!(
                "`{}` has another label on line {line}; keep one, or give several labels by a column for each class \
                 (`labels.kind` = \"multi_label\")",
                entry.name
            );
            return Err(table.error(row, problem));
        }
    }
    Ok(())
}

fn classes(table: &Table, labels: &LabelConfig) -> Result<Listing, DataError> {
    let name = labels.class_column();
    let column = table.column(name)?;
    if let Some(row) = table.rows.iter().find(|row| row.cell(column).is_empty()) {
        let problem = format!("no label: the column `{name}` is empty; label the image or take it out");
        return Err(table.error(row, problem));
    }
    let (numbers, names) = if labels.classes.is_empty() {
        number_labels(table, column)?
    } else {
        let place = |row: &Row| known_class(table, row, row.cell(column), &labels.classes).map(Some);
        let numbers = table.rows.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        (numbers, labels.classes.clone())
    };
    let mut numbers = numbers.into_iter();
    let next = |_: &Row| Label {
        class: numbers.next().flatten(),
        row: None,
    };
    Ok(listing(table, next, names))
}

/// The place of a class in `classes`: by name, or by number where no name is one.
fn known_class(table: &Table, row: &Row, cell: &str, classes: &[String]) -> Result<u32, DataError> {
    let by_name = classes.iter().position(|class| class == cell);
    let by_number = || {
        let numbered = !classes.iter().any(|class| is_whole(class));
        cell.parse()
            .ok()
            .filter(|&at: &usize| numbered && at < classes.len())
    };
    by_name.or_else(by_number).map(|at| at as u32).ok_or_else(|| {
        let (meant, known) = (meant(cell, classes), in_words(classes));
        table.error(
            row,
            format!("label `{cell}` is not a class{meant}; the classes are {known}"),
        )
    })
}

fn rows(table: &Table, labels: &LabelConfig) -> Result<Listing, DataError> {
    let columns = labels
        .columns
        .iter()
        .map(|name| Ok((name.as_str(), table.column(name)?)))
        .collect::<Result<Vec<_>, DataError>>()?;
    let read = |row: &Row| {
        let cells = columns
            .iter()
            .map(|&(name, at)| share(table, row, name, row.cell(at)));
        let numbers = cells.collect::<Result<Vec<f64>, _>>()?;
        match labels.kind {
            LabelKind::MultiLabel => Ok(Label {
                class: None,
                row: Some(to_row(&numbers)),
            }),
            _ => soft(table, row, numbers),
        }
    };
    let read = table
        .rows
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, DataError>>()?;
    let mut read = read.into_iter();
    Ok(listing(
        table,
        |_| read.next().unwrap_or_default(),
        labels.row_classes(),
    ))
}

/// A number from 0 to 1.
fn share(table: &Table, row: &Row, name: &str, cell: &str) -> Result<f64, DataError> {
    let number = cell
        .parse::<f64>()
        .ok()
        .filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| match cell {
        "" => table.error(
            row,
            format!("no label: the column `{name}` is empty; label the image or take it out"),
        ),
        _ => table.error(row, format!("`{name}` = {cell} is no number from 0 to 1")),
    })
}

/// Probabilities and the likeliest class; a single number is that of the second of two classes.
fn soft(table: &Table, row: &Row, mut numbers: Vec<f64>) -> Result<Label, DataError> {
    if let [p] = numbers[..] {
        return Ok(Label {
            class: Some(u32::from(p >= 0.5)),
            row: Some(to_row(&[1.0 - p, p])),
        });
    }
    let sum: f64 = numbers.iter().sum();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        let problem = format!("the probabilities of the classes sum to {sum:.4}, not to 1");
        return Err(table.error(row, problem));
    }
    numbers.iter_mut().for_each(|p| *p /= sum);
    let most = numbers.iter().copied().fold(0.0, f64::max);
    let class = numbers.iter().position(|&p| p == most).map(|at| at as u32);
    Ok(Label {
        class,
        row: Some(to_row(&numbers)),
    })
}

fn to_row(numbers: &[f64]) -> Arc<[f32]> {
    numbers.iter().map(|&number| number as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str, labels: &str) -> Result<Listing, DataError> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.csv");
        std::fs::write(&file, text).unwrap();
        let labels: LabelConfig = toml::from_str(labels).unwrap();
        labels.validate().unwrap();
        list(&Table::read(&file)?, &labels)
    }

    fn classes_of(listing: &Listing) -> Vec<Option<u32>> {
        listing.entries.iter().map(|entry| entry.label).collect()
    }

    fn check_error(text: &str, labels: &str, expected: &str) {
        let message = open(text, labels).unwrap_err().to_string();
        assert!(
            message.contains("train.csv") && message.contains(expected),
            "{message}"
        );
    }

    #[test]
    fn any_column_can_hold_the_classes() {
        let listing = open("path,kind\na.png,poly\nb.png,mono\n", "columns = ['kind']").unwrap();
        assert_eq!(listing.class_names, ["mono", "poly"]);
        assert_eq!(classes_of(&listing), [Some(1), Some(0)]);
    }

    #[test]
    fn given_classes_keep_their_order() {
        let text = "path,label\na.png,good\nb.png,bad\n";
        let listing = open(text, "classes = ['good', 'odd', 'bad']").unwrap();
        assert_eq!(listing.class_names, ["good", "odd", "bad"]);
        assert_eq!(classes_of(&listing), [Some(0), Some(2)]);
        // Numbers count in the list, unless a name is a number: then they are names.
        let text = "path,label\na.png,1\nb.png,0\n";
        assert_eq!(
            classes_of(&open(text, "classes = ['good', 'bad']").unwrap()),
            [Some(1), Some(0)]
        );
        assert_eq!(
            classes_of(&open(text, "classes = ['1', '0']").unwrap()),
            [Some(0), Some(1)]
        );
        check_error(
            text,
            "classes = ['2', '1']",
            "line 3: label `0` is not a class; the classes are `2` and `1`",
        );
    }

    #[test]
    fn one_probability_makes_two_classes() {
        let text = "path,p\na.png,0.25\nb.png,0.5\nc.png,1\n";
        let listing = open(text, "kind = 'soft'\ncolumns = ['p']\nclasses = ['good', 'bad']").unwrap();
        assert_eq!(listing.class_names, ["good", "bad"]);
        assert_eq!(classes_of(&listing), [Some(0), Some(1), Some(1)]);
        let rows: Vec<&[f32]> = listing
            .entries
            .iter()
            .map(|e| e.row.as_deref().unwrap())
            .collect();
        assert_eq!(rows, [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]);
    }

    #[test]
    fn several_probabilities_sum_to_one() {
        let soft = "kind = 'soft'\ncolumns = ['a', 'b', 'c']";
        let listing = open("path,a,b,c\nx.png,0.3333,0.3333,0.3333\ny.png,0,0.1,0.9\n", soft).unwrap();
        assert_eq!(classes_of(&listing), [Some(0), Some(2)]);
        assert_eq!(listing.entries[0].row.as_deref().unwrap(), [1.0 / 3.0; 3]);
        check_error(
            "path,a,b,c\nx.png,0.5,0.5,0.5\n",
            soft,
            "line 2: the probabilities of the classes sum to 1.5",
        );
    }

    #[test]
    fn several_labels_stand_by_themselves() {
        let multi = "kind = 'multi_label'\ncolumns = ['crack', 'dark']";
        let listing = open("path,dark,crack\nx.png,1,0\ny.png,1,1\n", multi).unwrap();
        assert_eq!(listing.class_names, ["crack", "dark"]);
        assert_eq!(listing.entries[0].row.as_deref().unwrap(), [0.0, 1.0]);
        assert_eq!(classes_of(&listing), [None, None]);
        check_error(
            "path,dark,crack\nx.png,1,2\n",
            multi,
            "line 2: `crack` = 2 is no number from 0 to 1",
        );
        check_error(
            "path,dark,crack\nx.png,1,nan\n",
            multi,
            "is no number from 0 to 1",
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let text = "path,labl\na.png,good\n";
        check_error(
            text,
            "",
            "no column `label` (did you mean `labl`?); the header has `path` and `labl`",
        );
        check_error(
            text,
            "kind = 'soft'\ncolumns = ['xyz']",
            "no column `xyz`; the header",
        );
        check_error(
            "path,label\na.png,good\nb.png,\n",
            "",
            "line 3: no label: the column `label` is empty",
        );
        check_error(
            "path,p\na.png,\n",
            "kind = 'soft'\ncolumns = ['p']",
            "line 2: no label: the column `p` is empty",
        );
        check_error(
            "path,label\na.png,good\nb.png,bad\na.png,bad\n",
            "",
            "line 4: `a.png` has another label on line 2; keep one",
        );
        assert_eq!(
            open("path,label\na.png,good\na.png,good\n", "")
                .unwrap()
                .entries
                .len(),
            2
        );
        check_error(
            "path,label\na.png,god\n",
            "classes = ['good', 'bad']",
            "label `god` is not a class (did you mean `good`?)",
        );
    }
}
