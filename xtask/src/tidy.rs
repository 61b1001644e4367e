//! House rules that no linter knows: crate floors, a first line in each source file, nothing of one machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::{layering, paths, process};

/// Starts of absolute paths that lead into one person's machine (in pieces, so that this file may stand here).
const MACHINE_PATHS: [&str; 5] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/t", "mp/"),
];

/// Prints each broken rule; fails if there is one.
pub(crate) fn run() -> Result<()> {
    let mut broken = layering::broken_rules(&layering::metadata()?);
    broken.extend(broken_in_files(&paths::checkout(), &files()?));
    for line in &broken {
        eprintln!("tidy: {line}");
    }
    if !broken.is_empty() {
        bail!("tidy: {} house rule(s) broken", broken.len());
    }
    eprintln!("tidy: all arrows point down, every source file has its first line");
    Ok(())
}

/// Files that git tracks, relative to the checkout: what else lies there is the user's business.
fn files() -> Result<Vec<PathBuf>> {
    if !paths::checkout().join(".git").exists() {
        eprintln!("tidy: this is no git checkout, its files are not looked at");
        return Ok(Vec::new());
    }
    let mut git = std::process::Command::new("git");
    git.current_dir(paths::checkout()).args(["ls-files", "-z"]);
    let text = process::capture(&mut git)?;
    Ok(text
        .split('\0')
        .filter(|name| !name.is_empty())
        .map(PathBuf::from)
        .collect())
}

fn broken_in_files(root: &Path, files: &[PathBuf]) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        // not text, or removed but still in git's index: nothing to read
        let Ok(text) = fs::read_to_string(root.join(file)) else {
            continue;
        };
        broken.extend(broken_in_text(file, &text));
    }
    broken
}

fn broken_in_text(file: &Path, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let name = file.display();
    if file.extension().is_some_and(|e| e == "rs") && !text.starts_with("//! ") {
        broken.push(format!(
            "{name}:1: begins without `//!`; say in one sentence what this file is"
        ));
    }
    for (number, line) in text.lines().enumerate() {
        if let Some(path) = machine_path(line) {
            broken.push(format!(
                "{name}:{}: contains `{path}…`, a path of one machine",
                number + 1
            ));
        }
    }
    broken
}

/// The first machine path of a line; `target/tmp/x` is none, because it is relative.
fn machine_path(line: &str) -> Option<&'static str> {
    let starts_here =
        |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "-_./}>~".contains(c));
    MACHINE_PATHS
        .into_iter()
        .find(|path| line.match_indices(path).any(|(at, _)| starts_here(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_file_needs_its_sentence() {
        let check = |name: &str, text: &str, count: usize| {
            assert_eq!(broken_in_text(Path::new(name), text).len(), count, "{name}");
        };
        check("a/good.rs", "//! What this is.\nfn x() {}\n", 0);
        check("a/bad.rs", "fn x() {}\n", 1);
        check("a/attribute_first.rs", "#![allow(x)]\n//! Late.\n", 1);
        check("a/notes.md", "fn x() {}\n", 0);
    }

    #[test]
    fn absolute_paths_are_found_and_relative_ones_left() {
        for path in MACHINE_PATHS {
            assert_eq!(machine_path(&format!("let x = \"{path}me\";")), Some(path));
            assert_eq!(machine_path(&format!("{path}me")), Some(path));
            assert_eq!(
                machine_path(&format!("see target{path}me or ../x{path}me or ${{A}}{path}")),
                None
            );
        }
    }

    #[test]
    fn the_real_house_is_tidy() {
        assert_eq!(broken_in_files(&paths::checkout(), &files().unwrap()), [""; 0]);
    }
}
