//! SHA-256 of each file of a checkpoint, in the format of `sha256sum`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::atomic::{parent, replace_file, sync_folder};
use crate::error::CheckpointError;

/// Name of the list in a checkpoint folder.
pub(crate) const LIST: &str = "checksums";

/// The SHA-256 of a file's bytes, as 64 hexadecimal digits.
///
/// # Errors
/// When the file cannot be read; the error names it.
pub fn sha256_file(file: impl AsRef<Path>) -> Result<String, CheckpointError> {
    let file = file.as_ref();
    digest(file).map_err(|source| CheckpointError::read(file, source))
}

/// Checks every file of a checkpoint folder against its list of checksums.
///
/// # Errors
/// Names the file that is missing, damaged, or not in the list; or the list, when it is unusable.
pub fn verify(checkpoint: impl AsRef<Path>) -> Result<(), CheckpointError> {
    let folder = checkpoint.as_ref();
    let list = folder.join(LIST);
    let text = fs::read_to_string(&list).map_err(|source| CheckpointError::read(&list, source))?;
    let entries = parse(&list, &text)?;
    // A list cut at the end of a line would be a good list that covers less.
    for name in files(folder)? {
        let ours = name.ends_with(".safetensors") || name.ends_with(".json");
        if ours && !entries.iter().any(|(_, listed)| *listed == name) {
            return Err(list_error(&list, format!("{name} is not in it")));
        }
    }
    for (expected, name) in entries {
        let file = folder.join(name);
        if sha256_file(&file)? != expected {
            return Err(CheckpointError::Checksum { file });
        }
    }
    Ok(())
}

/// Checks one file against the list in its folder; a folder without a list, or a file that is not in it, promises
/// nothing.
pub(crate) fn verify_file(file: &Path) -> Result<(), CheckpointError> {
    let list = parent(file).join(LIST);
    let text = match fs::read_to_string(&list) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(|source| CheckpointError::read(&list, source))?,
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let entries = parse(&list, &text)?;
    match entries.iter().find(|(_, listed)| *listed == name) {
        Some((expected, _)) if sha256_file(file)? != *expected => Err(CheckpointError::Checksum {
            file: file.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Refuses a folder that had a list when it was written and has lost it.
pub(crate) fn require_list(folder: &Path) -> Result<(), CheckpointError> {
    let list = folder.join(LIST);
    match fs::metadata(&list) {
        Ok(_) => Ok(()),
        Err(source) => Err(CheckpointError::read(&list, source)),
    }
}

/// Removes the list of a folder whose files are about to change: whoever is killed on the way leaves none, rather than
/// one that is wrong.
pub(crate) fn remove_list(folder: &Path) -> Result<(), CheckpointError> {
    let list = folder.join(LIST);
    match fs::remove_file(&list).and_then(|()| sync_folder(folder)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CheckpointError::write(&list, error)),
        _ => Ok(()),
    }
}

/// Writes the list of `folder`'s files and makes sure that each of them is on the disk.
pub(crate) fn write_list(folder: &Path) -> Result<(), CheckpointError> {
    let mut text = String::new();
    for name in files(folder)? {
        let file = folder.join(&name);
        File::open(&file)
            .and_then(|handle| handle.sync_all())
            .map_err(|e| CheckpointError::write(&file, e))?;
        text += &format!("{}  {name}\n", sha256_file(&file)?);
    }
    replace_file(&folder.join(LIST), |out| out.write_all(text.as_bytes()))
}

/// The regular files of a folder, sorted, without the list and without hidden ones.
fn files(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    let names = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && name != LIST && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    };
    names().map_err(|source| CheckpointError::read(folder, source))
}

/// `(digest, name)` of each line.
fn parse<'a>(list: &Path, text: &'a str) -> Result<Vec<(&'a str, &'a str)>, CheckpointError> {
    let entries: Option<Vec<_>> = text.lines().map(parse_line).collect();
    match entries {
        Some(entries) if !entries.is_empty() && text.ends_with('\n') => Ok(entries),
        Some(entries) if entries.is_empty() => Err(list_error(list, "it is empty".into())),
        _ => Err(list_error(list, "a line is not a SHA-256 and a file name".into())),
    }
}

fn parse_line(line: &str) -> Option<(&str, &str)> {
    let (digest, name) = line.split_once("  ")?;
    let hexadecimal = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    // A list names files of its own folder, nothing elsewhere.
    let plain = !name.is_empty() && !name.contains('/') && name != "..";
    (hexadecimal && plain).then_some((digest, name))
}

fn list_error(list: &Path, problem: String) -> CheckpointError {
    CheckpointError::ChecksumList {
        file: PathBuf::from(list),
        problem,
    }
}

fn digest(file: &Path) -> io::Result<String> {
    let mut handle = File::open(file)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match handle.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_file(&file).unwrap(), expected);
    }

    #[test]
    fn one_file_is_held_against_the_list_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.safetensors");
        fs::write(&file, "1").unwrap();
        verify_file(&file).unwrap(); // nothing is promised
        write_list(folder.path()).unwrap();
        verify_file(&file).unwrap();
        fs::write(folder.path().join("b.json"), "2").unwrap();
        verify_file(&folder.path().join("b.json")).unwrap(); // nor here
        fs::write(&file, "3").unwrap();
        let error = verify_file(&file).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::Checksum { file: named } if *named == file),
            "{error}"
        );
        remove_list(folder.path()).unwrap();
        remove_list(folder.path()).unwrap();
        verify_file(&file).unwrap();
    }

    #[test]
    fn lists_that_cannot_be_trusted_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.json"), "1").unwrap();
        fs::write(path("b.safetensors"), "2").unwrap();
        write_list(folder.path()).unwrap();
        verify(folder.path()).unwrap();
        fs::write(path("notes.txt"), "a user's own file is no damage").unwrap();
        verify(folder.path()).unwrap();

        let list = fs::read_to_string(path(LIST)).unwrap();
        let first_line = list.find('\n').unwrap() + 1;
        for (text, problem) in [
            ("", "it is empty"),
            (&list[..first_line], "b.safetensors is not in it"),
            (&list[..list.len() - 1], "a line is not"),
            (&list[..70], "a line is not"),
            (&list.replace("a.json", "../a.json"), "a line is not"),
        ] {
            fs::write(path(LIST), text).unwrap();
            let error = verify(folder.path()).unwrap_err();
            assert!(matches!(error, CheckpointError::ChecksumList { .. }));
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
