//! Files that mean harm, or were damaged: nothing of them runs, nothing panics, no memory is taken on their word.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use fcmae_checkpoint::{CheckpointError, read_contents, read_tensors, read_weights};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

#[test]
fn malicious_files_run_nothing_and_say_so_in_one_line() {
    let marker = std::env::temp_dir().join("fcmae_malicious_pickle_ran");
    assert!(
        !marker.exists(),
        "{}: left by another program, remove it",
        marker.display()
    );
    for name in ["malicious.pth", "malicious_legacy.pth"] {
        let message = read_weights(golden(name)).unwrap_err().to_string();
        assert!(message.contains(name) && !message.contains('\n'), "{message}");
        assert!(
            message.ends_with("passed over, and not run: args (posix.system)"),
            "{message}"
        );
        assert_eq!(
            read_contents(golden(name)).unwrap().skipped,
            ["args (posix.system)"]
        );
    }
    assert!(!marker.exists(), "code of the file was run");
}

/// Reads the file in every way.
fn read_all(file: &Path) -> [Option<CheckpointError>; 3] {
    [
        read_contents(file).err(),
        read_tensors(file).err(),
        read_weights(file).err(),
    ]
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.pth");
    for name in ["odd_tensors.pth", "odd_tensors_legacy.pth"] {
        let bytes = fs::read(golden(name)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            fs::write(&file, &bytes[..length]).unwrap();
            assert!(read_tensors(&file).is_err(), "{name}: {length}");
        }
    }
}

/// An archive as torch.save lays it out, compressed.
fn archive(file: &Path, entries: &[(&str, &[u8])]) {
    let mut zip = ZipWriter::new(File::create(file).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, bytes) in entries {
        zip.start_file(format!("bomb/{name}"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

#[test]
fn zip_bombs_are_refused_unopened() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bomb.pth");
    let zeros = vec![0; 64 << 20];
    archive(&file, &[("data.pkl", b"\x80\x02}."), ("data/0", &zeros)]);
    assert!(fs::metadata(&file).unwrap().len() < 100_000);
    for error in read_all(&file) {
        let text = error.unwrap().to_string();
        assert!(
            text.contains("would unfold to") && text.contains("zip bomb"),
            "{text}"
        );
    }
}

/// A tar archive as PyTorch 0.1 wrote it, whose one file claims to have 2 GiB of holes.
#[test]
fn sparse_archives_are_refused_unopened() {
    let mut header = tar::Header::new_gnu();
    header.set_path("storages").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    let sparse = header.as_gnu_mut().unwrap();
    sparse.realsize.copy_from_slice(b"20000000000\0"); // octal: 2^31
    sparse.sparse[0].offset.copy_from_slice(b"20000000000\0");
    sparse.sparse[0].numbytes.copy_from_slice(b"00000000000\0");
    header.set_cksum();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sparse.pth");
    // `ustar` where PyTorch's reader looks for it
    fs::write(&file, [header.as_bytes().as_slice(), &[0; 1024]].concat()).unwrap();
    for error in read_all(&file) {
        let text = error.unwrap().to_string();
        assert!(text.contains("would unfold to 2147483648"), "{text}");
    }
}

/// `{"w": view}` of one float, as a legacy file's object, where the view has the given shape and strides 0.
fn expanded(shape: u32) -> Vec<u8> {
    let mut pickle = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQK\0".to_vec();
    pickle.push(b'J');
    pickle.extend(shape.to_le_bytes());
    pickle.extend(b"\x85K\0\x85\x89}tRs.");
    pickle
}

#[test]
fn views_larger_than_their_file_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("view.pth");
    archive(
        &file,
        &[
            ("data.pkl", &expanded(3)),
            ("data/0", &1.5_f32.to_le_bytes()),
            ("version", b"3\n"),
        ],
    );
    let tensors = read_tensors(&file).unwrap();
    assert_eq!(tensors["w"].to_f32().unwrap(), [1.5; 3]);
    archive(
        &file,
        &[
            ("data.pkl", &expanded(1 << 30)),
            ("data/0", &1.5_f32.to_le_bytes()),
        ],
    );
    let text = read_tensors(&file).unwrap_err().to_string();
    assert!(text.contains("would unfold to 4294967296"), "{text}");
    archive(
        &file,
        &[
            ("data.pkl", &expanded(u32::MAX)),
            ("data/0", &1.5_f32.to_le_bytes()),
        ],
    );
    assert!(read_tensors(&file).is_err());
}

#[test]
fn deep_nesting_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep.pth");
    // a list in a list in a list …
    let depth = 1_000_000;
    let mut pickle = b"\x80\x02".to_vec();
    pickle.extend(std::iter::repeat_n(b']', depth));
    pickle.extend(std::iter::repeat_n(b'a', depth - 1));
    pickle.push(b'.');
    fs::write(&file, &pickle).unwrap();
    assert!(read_tensors(&file).is_err());
    archive(&file, &[("data.pkl", &pickle)]);
    assert!(read_tensors(&file).is_err());
}
