//! Damaged and foreign files: every one an error that names the file, never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_checkpoint::{
    CheckpointError, Metadata, TensorData, Tensors, read_safetensors, read_safetensors_header,
    write_safetensors,
};
use proptest::prelude::*;

fn tensors() -> Tensors {
    let values: Vec<f32> = (0..24).map(|i| i as f32).collect();
    [
        (
            "stem.weight".to_owned(),
            TensorData::from_f32(vec![4, 6], &values).unwrap(),
        ),
        ("steps".to_owned(), TensorData::from_i64(vec![], &[7]).unwrap()),
    ]
    .into()
}

fn sample(folder: &Path) -> (PathBuf, Vec<u8>) {
    let file = folder.join("model.safetensors");
    write_safetensors(
        &file,
        &tensors(),
        &[("name".to_owned(), "atto".to_owned())].into(),
    )
    .unwrap();
    let bytes = fs::read(&file).unwrap();
    (file, bytes)
}

/// The error of reading a file with these bytes; both readers must give the same.
fn error_of(bytes: &[u8]) -> CheckpointError {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    fs::write(&file, bytes).unwrap();
    let error = read_safetensors(&file).unwrap_err();
    assert!(error.to_string().contains("model.safetensors: "), "{error}");
    assert_eq!(
        read_safetensors_header(&file).unwrap_err().to_string(),
        error.to_string()
    );
    error
}

#[test]
fn a_file_cut_anywhere_is_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let (_, bytes) = sample(folder.path());
    assert!(matches!(error_of(&[]), CheckpointError::Empty { .. }));
    for length in 1..bytes.len() {
        match error_of(&bytes[..length]) {
            CheckpointError::Truncated { got, expected, .. } => {
                assert_eq!(got, length as u64);
                assert!(expected > got);
            }
            other => panic!("{length}: {other}"),
        }
    }
}

#[test]
fn data_after_the_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, mut bytes) = sample(folder.path());
    let expected_length = bytes.len() as u64;
    bytes.push(0);
    let error = error_of(&bytes);
    assert!(matches!(error, CheckpointError::TrailingData { expected, .. } if expected == expected_length));
}

#[test]
fn other_kinds_are_called_by_their_names() {
    for (bytes, kind) in [
        (
            &b"PK\x03\x04\x00\x00\x08\x08\x00\x00\x00\x00archive/data.pkl"[..],
            "zip archive, as torch.save",
        ),
        (
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02",
            "a Python pickle, as older .pt",
        ),
        (b"\x80\x05\x95\x00\x00\x00\x00\x00\x00\x00}", "a Python pickle"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer",
        ),
        (b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'", "a NumPy array"),
    ] {
        let error = error_of(bytes);
        assert!(matches!(error, CheckpointError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(kind), "{error}");
    }
}

#[test]
fn garbage_headers_are_refused() {
    let with_header = |header: &str, data: &[u8]| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        error_of(&bytes)
    };
    for (header, data) in [
        ("{not json}", &[][..]),
        (
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            &[0; 4],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
            &[0; 8],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#,
            &[0; 8],
        ),
        (
            r#"{"a":{"dtype":"NOPE","shape":[1],"data_offsets":[0,4]}}"#,
            &[0; 4],
        ),
        (
            r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,4]}}"#,
            &[0; 4],
        ),
    ] {
        let error = with_header(header, data);
        assert!(
            matches!(error, CheckpointError::Header { .. }),
            "{header}: {error}"
        );
    }
    assert!(matches!(error_of(&[0xff; 64]), CheckpointError::Header { .. }));
    assert!(matches!(
        error_of(b"just some text in a file"),
        CheckpointError::Header { .. }
    ));

    let error = with_header(
        r#"{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#,
        &[0],
    );
    assert!(
        error
            .to_string()
            .ends_with("tensor `a` is of type F8_E4M3, which is not supported"),
        "{error}"
    );
}

#[test]
fn a_header_that_promises_too_much_allocates_nothing() {
    let header = r#"{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    assert!(
        matches!(error_of(&bytes), CheckpointError::Truncated { expected, .. } if expected > 4_000_000_000_000)
    );
}

#[test]
fn a_header_that_promises_more_than_can_be_counted_is_no_overflow() {
    const PART: u64 = 1 << 60;
    let tensor = |at: u64, size: u64| {
        let (start, end) = (at * PART, at * PART + size);
        format!(r#""{at:02}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
    };
    let mut tensors: Vec<String> = (0..15).map(|at| tensor(at, PART)).collect();
    tensors.push(tensor(15, PART - 1)); // 2^64 - 1 bytes in all
    let header = format!("{{{}}}", tensors.join(","));
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
    assert!(matches!(
        error_of(&bytes),
        CheckpointError::Truncated {
            expected: u64::MAX,
            ..
        }
    ));
}

#[test]
fn devices_are_not_read() {
    let error = read_safetensors("/dev/zero").unwrap_err().to_string();
    assert!(
        error.ends_with("/dev/zero: cannot be read: it is no plain file"),
        "{error}"
    );
}

#[test]
fn paths_that_are_no_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        read_safetensors(folder.path()),
        Err(CheckpointError::IsFolder { .. })
    ));
    let missing = folder.path().join("nothing.safetensors");
    let error = read_safetensors(&missing).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("nothing.safetensors: there is no such file")
    );
}

#[test]
fn the_header_alone_tells_names_shapes_and_metadata() {
    let folder = tempfile::tempdir().unwrap();
    let (file, _) = sample(folder.path());
    let (infos, metadata) = read_safetensors_header(&file).unwrap();
    assert_eq!(infos["stem.weight"].shape, [4, 6]);
    assert_eq!(infos["steps"].dtype, fcmae_checkpoint::Dtype::I64);
    assert_eq!(metadata, Metadata::from([("name".to_owned(), "atto".to_owned())]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (file, mut bytes) = sample(folder.path());
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        fs::write(&file, &bytes).unwrap();
        // Either it still reads as tensors whose bytes fit their shapes, or there is an error with the name.
        match read_safetensors(&file) {
            Ok((tensors, _)) => for tensor in tensors.values() {
                prop_assert_eq!(tensor.bytes.len(), tensor.shape.iter().product::<usize>() * tensor.dtype.size());
            },
            Err(error) => prop_assert!(error.to_string().contains("model.safetensors: "), "{}", error),
        }
    }
}
