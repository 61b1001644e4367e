//! NumPy's file format, version 1.0, for f32: written in ten lines, so no library is taken in for it.

use std::path::Path;

use fcmae_checkpoint::{CheckpointError, replace_file};

/// Writes little-endian f32 of this shape, row-major; atomically.
pub(super) fn write_npy(path: &Path, shape: &[usize], bytes: &[u8]) -> Result<(), CheckpointError> {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" }; // a tuple of one
    let sides = sides.join(", ") + comma;
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({sides}), }}");
    // magic (6), version (2), length (2), header, padding, newline: a multiple of 64
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    replace_file(path, |file| {
        file.write_all(b"\x93NUMPY\x01\x00")?;
        file.write_all(&(length as u16).to_le_bytes())?; // a shape is a few numbers
        writeln!(file, "{header:<width$}", width = length - 1)?;
        file.write_all(bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that `numpy.save` writes for `numpy.array([[1, 2, 3]], "<f4")`.
    #[test]
    fn the_bytes_are_numpys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let values: Vec<u8> = [1f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        write_npy(&path, &[1, 3], &values).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
        assert!(bytes[10..128].starts_with(header.as_bytes()) && bytes[127] == b'\n');
        assert!(bytes[10 + header.len()..127].iter().all(|&b| b == b' '));
        assert_eq!(&bytes[128..], values);
    }
}
