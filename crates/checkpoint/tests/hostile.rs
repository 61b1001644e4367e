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

/// SplitMix64: the damage is the same on every run.
struct Random(u64);

impl Random {
    /// In `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
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
fn mutated_files_are_errors_and_no_panics() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mutated.pth");
    for (index, name) in [
        "odd_tensors.pth",
        "odd_tensors_legacy.pth",
        "malicious.pth",
        "official_dense_legacy.pth",
    ]
    .into_iter()
    .enumerate()
    {
        let original = fs::read(golden(name)).unwrap();
        let mut readable = 0;
        for round in 0..300_u64 {
            let mut random = Random(index as u64 * 1000 + round);
            let mut bytes = original.clone();
            // most damage in the pickle, which is at the start
            let reach = if random.uniform() < 0.7 {
                bytes.len().min(2000)
            } else {
                bytes.len()
            };
            for _ in 0..=(random.uniform() * 3.0) as usize {
                let place = (random.uniform() * reach as f64) as usize;
                bytes[place] = (random.uniform() * 256.0) as u8;
            }
            if random.uniform() < 0.1 {
                bytes.truncate((random.uniform() * bytes.len() as f64) as usize);
            }
            fs::write(&file, &bytes).unwrap();
            for error in read_all(&file) {
                let Some(error) = error else {
                    readable += 1;
                    continue;
                };
                let text = error.to_string();
                assert!(text.contains("mutated.pth: ") && !text.contains('\n'), "{text}");
            }
        }
        assert!(readable < 900, "{name}: no damage was ever noticed");
    }
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
