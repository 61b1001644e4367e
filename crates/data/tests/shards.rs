//! What shards promise: the same batches as a folder, from any position, with any number of workers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fcmae_data::{
    AugmentConfig, Batch, Color, DataConfig, DataError, Dataset, Loader, LoaderOptions, Position, Transform,
};
use proptest::prelude::*;
use tempfile::TempDir;

const SIZE: [usize; 2] = [8, 12];

/// `count` small grey pictures in two class folders, and the same in shards of `per_shard`.
fn folder_and_shards(count: usize, per_shard: usize) -> (TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (folder, shards) = (root.path().join("folder"), root.path().join("shards"));
    std::fs::create_dir_all(&shards).unwrap();
    for i in 0..count as u32 {
        let image = image::GrayImage::from_fn(16 + i % 5, 20 + i % 3, |x, y| {
            image::Luma([(x * 13 + y * 7 + i * 29) as u8])
        });
        let class = folder.join(if i % 2 == 0 { "even" } else { "odd" });
        std::fs::create_dir_all(&class).unwrap();
        image.save(class.join(format!("{i:03}.png"))).unwrap();
    }
    let listed = Dataset::open(&config(&folder)).unwrap();
    for (number, part) in listed.samples().chunks(per_shard).enumerate() {
        let file = std::fs::File::create(shards.join(format!("{number:03}.tar"))).unwrap();
        let mut tar = tar::Builder::new(file);
        for sample in part {
            let label = sample.label.unwrap().to_string();
            append(&mut tar, &sample.name.replace(".png", ".cls"), label.as_bytes());
            append(&mut tar, &sample.name, &sample.location.read().unwrap());
        }
        tar.finish().unwrap();
    }
    (root, folder, shards)
}

fn append(tar: &mut tar::Builder<std::fs::File>, name: &str, contents: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(contents.len() as u64);
    tar.append_data(&mut header, name, contents).unwrap();
}

fn config(path: &Path) -> DataConfig {
    DataConfig {
        path: Some(path.to_owned()),
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.25],
        image_size: SIZE,
        ..DataConfig::default()
    }
}

fn take(path: &Path, batch_size: usize, workers: usize, start: Position, count: usize) -> Vec<Batch> {
    let config = config(path);
    let dataset = Arc::new(Dataset::open(&config).unwrap());
    let options = LoaderOptions {
        workers,
        ..LoaderOptions::new(
            &config,
            Transform::train(&AugmentConfig::default(), SIZE),
            batch_size,
            7,
        )
    };
    let loader = Loader::new(dataset, options, start).unwrap();
    loader.take(count).collect::<Result<_, _>>().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_run_from_shards_is_that_from_the_folder(
        count in 4usize..12, per_shard in 1usize..6, batch_size in 1usize..4, workers in 1usize..5, from in 0usize..8,
    ) {
        let (_root, folder, shards) = folder_and_shards(count, per_shard);
        let undisturbed = take(&folder, batch_size, 1, Position::default(), 10);
        prop_assert_eq!(&take(&shards, batch_size, workers, Position::default(), 10), &undisturbed);
        // Stopped anywhere, it goes on from either with another number of workers.
        for path in [&folder, &shards] {
            let rest = take(path, batch_size, workers + 1, undisturbed[from].position(), 10 - from);
            prop_assert_eq!(&rest, &undisturbed[from..]);
        }
    }
}

#[test]
fn the_validation_split_is_that_of_the_folder() {
    let (_root, folder, shards) = folder_and_shards(11, 4);
    let held_out = |path: &Path| {
        let dataset = Dataset::open(&config(path)).unwrap();
        let (_, held_out) = dataset.split_validation(0.3, 5).unwrap();
        let ids = held_out
            .samples()
            .iter()
            .map(|sample| (sample.id, sample.name.clone()));
        ids.collect::<Vec<_>>()
    };
    assert_eq!(held_out(&shards), held_out(&folder));
    let of_one = Dataset::open(&config(&shards.join("001.tar"))).unwrap();
    assert_eq!(of_one.len(), 4);
    let of_two = Dataset::open(&config(&shards.join("{000..001}.tar"))).unwrap();
    assert_eq!(of_two.len(), 8);
}

#[test]
fn names_of_shards_tell_parts() {
    let (root, _, shards) = folder_and_shards(8, 4);
    let split_of = |path: &Path, split: &str| {
        let config = DataConfig {
            split: split.to_owned(),
            ..config(path)
        };
        let dataset = Dataset::open(&config).unwrap();
        (dataset.len(), dataset.split().map(str::to_owned))
    };
    assert_eq!(split_of(&shards, "train"), (8, None));
    for (from, to) in [("000", "train-0"), ("001", "val-0")] {
        let name = |stem: &str| shards.join(format!("{stem}.tar"));
        std::fs::rename(name(from), name(to)).unwrap();
    }
    for path in [shards.clone(), root.path().join("shards/{split}-0.tar")] {
        assert_eq!(
            split_of(&path, "val"),
            (4, Some("val".to_owned())),
            "{}",
            path.display()
        );
    }
    assert_eq!(split_of(&shards, ""), (8, None));
    let parts = root.path().join("parts");
    for part in ["train", "val"] {
        std::fs::create_dir_all(parts.join(part)).unwrap();
        let name = format!("{part}-0.tar");
        std::fs::copy(shards.join(&name), parts.join(part).join(&name)).unwrap();
    }
    assert_eq!(split_of(&parts, "val"), (4, Some("val".to_owned())));
    assert_eq!(split_of(&parts, ""), (8, None), "of all parts");
    assert_eq!(split_of(&shards.join("val-0.tar"), "train"), (4, None));
}

#[test]
fn a_bad_picture_is_named_with_its_shard() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.tar");
    let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
    append(&mut tar, "x/1.png", b"\x89PNG\r\n\x1a\nbroken");
    tar.finish().unwrap();
    let dataset = Dataset::open(&config(&path)).unwrap();
    let error = dataset.load(0).unwrap_err();
    assert!(matches!(error, DataError::Decode { .. }), "{error}");
    assert!(
        error.to_string().contains("a.tar/x/1.png: cannot decode"),
        "{error}"
    );
}
