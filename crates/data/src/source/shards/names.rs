//! Which shards `data.path` names: a folder, one `.tar`, a pattern, a URL, a list in a `.txt` file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::braces::{MOST, expand};
use crate::error::DataError;
use crate::source::SPLIT_NAMES;
use crate::storage::{is_url, open_plain};

/// The shards at `path` in their order, or `None` where `path` means something else.
///
/// What is there is meant as it is called, whatever signs that are; else `{split}` stands for `split`. Of a folder
/// whose shards name their split (`train-000.tar`), those of `split` are taken.
pub(super) fn find(path: &Path, split: &str) -> Result<Option<Vec<String>>, DataError> {
    let text = path.to_string_lossy().replace("{split}", split);
    let is_pattern = || has_extension(&text, "tar") || text.contains(['*', '?', '[', '{']);
    let shards = if is_url(&text) {
        named(path, Path::new(""), &text)?
    } else if path.is_dir() {
        return of_folder(path, split);
    } else if has_extension(&text, "txt") {
        of_list(path, split)?
    } else if path.exists() && has_extension(&text, "tar") {
        vec![to_text(path, path.to_owned())?]
    } else if !path.exists() && is_pattern() {
        named(path, Path::new(""), &text)?
    } else {
        return Ok(None);
    };
    let mut seen = HashSet::new();
    match shards.iter().find(|&shard| !seen.insert(shard)) {
        Some(twice) => Err(bad(path, format!("names the shard {twice} twice"))),
        None => Ok(Some(shards)),
    }
}

/// The shards of one text: a URL or a path in `folder`, perhaps with braces and, for files, `*`, `?` and `[…]`.
fn named(path: &Path, folder: &Path, text: &str) -> Result<Vec<String>, DataError> {
    let mut shards = Vec::new();
    for name in expand(text).map_err(|problem| bad(path, problem))? {
        if is_url(&name) {
            if name.contains('*') {
                let problem = "a server has no `*`; count the shards, as in `train-{000..099}.tar`";
                return Err(bad(path, problem.to_owned()));
            }
            shards.push(name);
        } else if !name.contains(['*', '?', '[']) || folder.join(&name).exists() {
            shards.push(to_text(path, folder.join(name))?);
        } else {
            let folder = glob::Pattern::escape(&to_text(path, folder.to_owned())?);
            shards.extend(matching(path, &to_text(path, Path::new(&folder).join(name))?)?);
        }
    }
    Ok(shards)
}

/// Files that match a pattern, sorted.
fn matching(path: &Path, pattern: &str) -> Result<Vec<String>, DataError> {
    let paths = glob::glob(pattern).map_err(|error| bad(path, format!("is no pattern: {error}")))?;
    let mut found = Vec::new();
    for file in paths {
        let file = file.map_err(|error| bad(path, error.to_string()))?;
        found.push(to_text(path, file)?);
    }
    if found.is_empty() {
        return Err(bad(path, format!("nothing matches `{pattern}`")));
    }
    Ok(found)
}

/// One shard or pattern a line; relative to the list's folder.
fn of_list(path: &Path, split: &str) -> Result<Vec<String>, DataError> {
    let text = open_plain(path)
        .and_then(std::io::read_to_string)
        .map_err(|source| DataError::Read {
            file: path.to_owned(),
            source,
        })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shards = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !is_url(line) && !has_extension(line, "tar") {
            let problem = format!(
                "lists `{line}`, which is no `.tar`; a list of images is a manifest `.csv` with a column `path`"
            );
            return Err(bad(path, problem));
        }
        let file = folder.join(line);
        if file.exists() {
            shards.push(to_text(path, file)?);
        } else {
            shards.extend(named(path, folder, &line.replace("{split}", split))?);
        }
        if shards.len() > MOST {
            return Err(bad(path, format!("lists more than {MOST} shards")));
        }
    }
    if shards.is_empty() {
        return Err(bad(path, "lists no shards".to_owned()));
    }
    Ok(shards)
}

/// The shards of a folder that holds no images and no folders beside them, sorted.
fn of_folder(folder: &Path, split: &str) -> Result<Option<Vec<String>>, DataError> {
    if split.is_empty() {
        return of_parts(folder);
    }
    let (shards, others) = of_one_folder(&crate::source::folder::base(folder, split)?)?;
    if shards.is_empty() || !others.is_empty() {
        return Ok(None);
    }
    of_split(folder, split, shards).map(Some)
}

/// The shards of all parts of a folder: its own, or where it holds nothing but folders, theirs.
fn of_parts(folder: &Path) -> Result<Option<Vec<String>>, DataError> {
    let (mut shards, mut others) = of_one_folder(folder)?;
    others.sort();
    if !shards.is_empty() {
        return Ok(Some(shards).filter(|_| others.is_empty()));
    }
    for part in others {
        let (of_part, others) = of_one_folder(&part)?;
        if of_part.is_empty() || !others.is_empty() {
            return Ok(None);
        }
        shards.extend(of_part);
    }
    Ok(Some(shards).filter(|shards| !shards.is_empty()))
}

/// The shards in a folder, sorted, and the images and folders beside them.
fn of_one_folder(folder: &Path) -> Result<(Vec<String>, Vec<PathBuf>), DataError> {
    let (mut shards, mut others) = (Vec::new(), Vec::new());
    if !folder.is_dir() {
        return Ok((shards, others)); // an image among the folders
    }
    for path in crate::source::folder::entries(folder)? {
        if path.is_dir() || crate::source::folder::is_image_name(&path) {
            others.push(path);
        } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("tar")) {
            shards.push(to_text(folder, path)?);
        }
    }
    shards.sort();
    Ok((shards, others))
}

/// Where names of shards tell their split, those of the split that is asked for.
fn of_split(folder: &Path, split: &str, shards: Vec<String>) -> Result<Vec<String>, DataError> {
    let words = |shard: &str| -> Vec<String> {
        let stem = Path::new(shard).file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy().to_ascii_lowercase();
        stem.split(|c: char| !c.is_ascii_alphanumeric())
            .map(str::to_owned)
            .collect()
    };
    let asked = split.to_ascii_lowercase();
    let is_split = |word: &String| SPLIT_NAMES.contains(&word.as_str()) || *word == asked;
    let mut found: Vec<String> = shards
        .iter()
        .flat_map(|shard| words(shard))
        .filter(is_split)
        .collect();
    found.sort();
    found.dedup();
    if found.is_empty() || split.is_empty() {
        return Ok(shards);
    }
    if !found.contains(&asked) {
        return Err(DataError::MissingSplit {
            path: folder.to_owned(),
            split: split.to_owned(),
            found,
        });
    }
    Ok(shards
        .into_iter()
        .filter(|shard| words(shard).contains(&asked))
        .collect())
}

fn has_extension(text: &str, extension: &str) -> bool {
    let found = Path::new(text).extension();
    found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn to_text(path: &Path, file: PathBuf) -> Result<String, DataError> {
    file.into_os_string()
        .into_string()
        .map_err(|name| bad(path, format!("the name {name:?} is not UTF-8")))
}

fn bad(path: &Path, problem: String) -> DataError {
    DataError::BadPath {
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    /// What `path` below a folder of `names` means, relative to that folder.
    fn check(names: &[&str], path: &str, split: &str, expected: Option<&[&str]>) {
        let root = folder(names);
        let found = find(&root.path().join(path), split).unwrap();
        let short = found.map(|shards| {
            let strip = |shard: &String| {
                let below = Path::new(shard).strip_prefix(root.path()).unwrap();
                below.to_string_lossy().into_owned()
            };
            shards.iter().map(strip).collect::<Vec<_>>()
        });
        assert_eq!(
            short.as_deref(),
            expected
                .map(|e| e.iter().map(|&s| s.to_owned()).collect::<Vec<_>>())
                .as_deref()
        );
    }

    fn refused(names: &[&str], path: &str, split: &str, expected: &str) {
        let root = folder(names);
        let message = find(&root.path().join(path), split).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn a_folder_of_nothing_but_shards_is_shards() {
        check(
            &["b.tar", "a.tar", "readme.md"],
            "",
            "train",
            Some(&["a.tar", "b.tar"]),
        );
        check(&["train/0.tar", "val/1.tar"], "", "val", Some(&["val/1.tar"]));
        check(&["a.tar", "cats/1.jpg"], "", "train", None);
        check(&["a.tar", "1.jpg"], "", "train", None);
        check(&["1.jpg"], "", "train", None);
        check(&["all.csv"], "all.csv", "train", None);
    }

    #[test]
    fn names_of_shards_may_tell_the_split() {
        let names = ["in1k-train-0.tar", "in1k-train-1.tar", "in1k-validation-0.tar"];
        check(&names, "", "train", Some(&names[..2]));
        check(&names, "", "validation", Some(&names[2..]));
        refused(
            &names,
            "",
            "test",
            "no split `test` (`data.split`); found `train` and `validation`",
        );
        check(
            &["trainset-0.tar", "1.tar"],
            "",
            "train",
            Some(&["1.tar", "trainset-0.tar"]),
        );
        let folds = ["Fold1-0.tar", "Fold2-0.tar"];
        check(&folds, "", "Fold1", Some(&folds[..1]));
    }

    #[test]
    fn what_is_there_is_no_pattern() {
        let names = ["set[1]/all.csv", "{raw}/a.tar", "{raw}/b.tar", "s/t.tar"];
        check(&names, names[0], "train", None);
        check(&names, names[1], "train", Some(&names[1..2]));
        // Only what a list says can be one, not where the list is.
        let root = folder(&["{raw}[1]/a-0.tar", "{raw}[1]/a-1.tar", "{raw}[1]/{a}.tar"]);
        let list = root.path().join("{raw}[1]/all.txt");
        let found = |lines: &str| {
            std::fs::write(&list, lines).unwrap();
            find(&list, "train").unwrap().unwrap()
        };
        assert_eq!(found("a-{0..1}.tar\n"), found("a-*.tar\n"));
        assert_eq!(found("a-[1].tar\n{a}.tar\n").len(), 2);
    }

    #[test]
    fn patterns_count_and_match() {
        let names = ["t-00.tar", "t-01.tar", "t-02.tar", "v-00.tar"];
        check(&names, "t-{00..01}.tar", "train", Some(&names[..2]));
        check(&names, "t-*.tar", "train", Some(&names[..3]));
        check(
            &names,
            "{v,t}-0?.tar",
            "train",
            Some(&["v-00.tar", "t-00.tar", "t-01.tar", "t-02.tar"]),
        );
        check(&names, "{split}-00.tar", "v", Some(&names[3..]));
        check(&names, "t-02.tar", "train", Some(&names[2..3]));
        refused(&names, "x-*.tar", "train", "nothing matches");
        refused(&names, "{t,t}-00.tar", "train", "t-00.tar twice");
        refused(&names, "t-{00..1", "train", "`{`");
    }

    #[test]
    fn a_list_names_files_beside_it_and_addresses() {
        let root = folder(&["deep/a.tar", "deep/b.tar"]);
        let list = root.path().join("deep/all.txt");
        let address = "http://127.0.0.1:1/c-{0..1}.tar";
        std::fs::write(&list, format!("# two here\n{{b,a}}.tar\n\n{address}\n")).unwrap();
        let found = find(&list, "train").unwrap().unwrap();
        assert_eq!(found[0], root.path().join("deep/b.tar").to_str().unwrap());
        assert_eq!(
            found[2..],
            ["http://127.0.0.1:1/c-0.tar", "http://127.0.0.1:1/c-1.tar"]
        );
        std::fs::write(&list, "# none\n").unwrap();
        let message = find(&list, "train").unwrap_err().to_string();
        assert!(message.contains("lists no shards"), "{message}");
        std::fs::write(&list, "http://127.0.0.1:1/*.tar\n").unwrap();
        let message = find(&list, "train").unwrap_err().to_string();
        assert!(message.contains("a server has no `*`"), "{message}");
    }
}
