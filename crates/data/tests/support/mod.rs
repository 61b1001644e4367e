//! Golden files for the tests of this crate.

use std::path::PathBuf;

use safetensors::SafeTensors;

/// A file of `tests/golden`.
pub(crate) fn golden_bytes(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Shape and bytes of one tensor.
pub(crate) fn tensor(file: &[u8], name: &str) -> (Vec<usize>, Vec<u8>) {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let view = tensors.tensor(name).unwrap();
    (view.shape().to_vec(), view.data().to_vec())
}

/// Names of all tensors, sorted.
pub(crate) fn names(file: &[u8]) -> Vec<String> {
    let mut names: Vec<String> = SafeTensors::deserialize(file)
        .unwrap()
        .names()
        .iter()
        .map(|name| name.to_string())
        .collect();
    names.sort();
    names
}
