//! Small JSON files, written atomically.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::atomic::replace_file;
use crate::error::CheckpointError;

/// Reads a JSON file into `T`.
///
/// # Errors
/// Names the file, and line and column of what does not fit.
pub fn read_json<T: DeserializeOwned>(file: impl AsRef<Path>) -> Result<T, CheckpointError> {
    let file = file.as_ref();
    let bytes = fs::read(file).map_err(|source| CheckpointError::read(file, source))?;
    if bytes.is_empty() {
        return Err(CheckpointError::Empty {
            file: file.to_path_buf(),
        });
    }
    serde_json::from_slice(&bytes).map_err(|e| CheckpointError::Json {
        file: file.to_path_buf(),
        problem: e.to_string(),
    })
}

/// Writes `value` as indented JSON, replacing `file` whole or not at all.
///
/// # Errors
/// [`CheckpointError::Write`]; an older file is untouched then.
pub fn write_json<T: Serialize>(file: impl AsRef<Path>, value: &T) -> Result<(), CheckpointError> {
    let file = file.as_ref();
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| CheckpointError::write(file, e.into()))?;
    text.push(b'\n');
    replace_file(file, |out| out.write_all(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.json");
        write_json(&file, &(1_u64, 0.1_f64, "x")).unwrap();
        assert_eq!(
            read_json::<(u64, f64, String)>(&file).unwrap(),
            (1, 0.1, "x".into())
        );

        let text = fs::read(&file).unwrap();
        for length in 1..text.len() - 1 {
            fs::write(&file, &text[..length]).unwrap();
            let error = read_json::<(u64, f64, String)>(&file).unwrap_err().to_string();
            assert!(
                error.contains("state.json: not what was expected"),
                "{length}: {error}"
            );
        }
        fs::write(&file, "").unwrap();
        assert!(matches!(
            read_json::<u8>(&file),
            Err(CheckpointError::Empty { .. })
        ));
        fs::remove_file(&file).unwrap();
        assert!(matches!(
            read_json::<u8>(&file),
            Err(CheckpointError::Missing { .. })
        ));
    }
}
