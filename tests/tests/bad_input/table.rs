//! `tests/BAD_INPUT.md`: every case and what the program says to it, compared with what it does say.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Case, GROUPS, Group};

const ABOVE: &str = "# Bad input

What the program says to each of these: one line, exit code 2, and nothing is written. The tests in
`tests/bad_input` make every case and compare with this table (numbers aside); `UPDATE_EXPECT=1 cargo test -p fcmae-tests
--test bad_input` writes it anew.
";

/// Tests run side by side, and each may write.
static WRITING: Mutex<()> = Mutex::new(());

/// Compares a message with the table's, or puts it there.
pub(super) fn compare(group: &Group, case: &Case, message: &str) {
    let row = row(case, message);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rows = rows(&read());
        rows.retain(|(title, old)| title != group.title || !is_of(old, case));
        rows.push((group.title.to_owned(), row));
        return std::fs::write(file(), render(&rows)).unwrap();
    }
    let rows = rows(&read());
    let known = rows
        .iter()
        .find(|(title, old)| title == group.title && is_of(old, case));
    let known = known.map(|(_, old)| without_numbers(old));
    assert_eq!(
        known,
        Some(without_numbers(&row)),
        "{}: tests/BAD_INPUT.md says otherwise",
        case.what
    );
}

#[test]
fn the_table_has_these_cases_and_no_others() {
    let text = read();
    if std::env::var_os("UPDATE_EXPECT").is_none() {
        assert_eq!(text, render(&rows(&text)));
        let cases: usize = GROUPS.iter().map(|group| group.cases.len()).sum();
        assert_eq!(rows(&text).len(), cases);
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("BAD_INPUT.md")
}

fn read() -> String {
    std::fs::read_to_string(file()).unwrap_or_default()
}

fn row(case: &Case, message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let home = fcmae::data::data_home().expect("a folder of data sets");
    let message = message.replace(&home.display().to_string(), "DATA_HOME"); // another on each machine
    let code = |text: &str| format!("`` {} ``", text.replace('|', "\\|"));
    format!(
        "| {} | {} | {} |",
        case.what,
        code(&format!("fcmae {}", case.args.join(" "))),
        code(&message)
    )
}

fn is_of(row: &str, case: &Case) -> bool {
    row.starts_with(&format!("| {} |", case.what))
}

/// Title of the section and row, of every row.
fn rows(text: &str) -> Vec<(String, String)> {
    let mut title = "";
    let mut rows = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("## ") {
            Some(name) => title = name,
            None if line.starts_with("| ") && !line.starts_with("| what |") => {
                rows.push((title.to_owned(), line.to_owned()));
            }
            None => {}
        }
    }
    rows
}

/// The table with the rows of the cases that there are, in their order.
fn render(rows: &[(String, String)]) -> String {
    let mut text = ABOVE.to_owned();
    for group in GROUPS {
        text += &format!(
            "\n## {}\n\n| what | command | message |\n|---|---|---|\n",
            group.title
        );
        for case in group.cases {
            let found = rows
                .iter()
                .find(|(title, row)| title == group.title && is_of(row, case));
            text.extend(found.map(|(_, row)| row.clone() + "\n"));
        }
    }
    text
}

/// Sizes in bytes change with every key that a config gets.
fn without_numbers(row: &str) -> String {
    let mut text = String::new();
    for c in row.chars() {
        match c {
            '0'..='9' if text.ends_with('#') => {}
            '0'..='9' => text.push('#'),
            c => text.push(c),
        }
    }
    text
}
