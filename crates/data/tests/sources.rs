//! From a config to a data set, and its statistics.

use std::path::Path;

use fcmae_data::{Color, DataConfig, DataError, Dataset, channel_stats};

fn config(path: &Path) -> DataConfig {
    DataConfig {
        path: Some(path.to_owned()),
        ..DataConfig::default()
    }
}

fn save(path: &Path, value: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_pixel(4, 3, image::Rgb([value, 2 * value, 0]))
        .save(path)
        .unwrap();
}

#[test]
fn a_manifest_and_a_folder_give_the_same_images() {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("a/1.png"), 10);
    save(&root.path().join("b/2.png"), 20);
    let manifest = root.path().join("all.csv");
    std::fs::write(&manifest, "label,path\na,a/1.png\nb,b/2.png\n").unwrap();
    let folder = Dataset::open(&config(root.path())).unwrap();
    let table = Dataset::open(&config(&manifest)).unwrap();
    assert_eq!(folder.samples(), table.samples());
    assert_eq!(folder.class_names(), ["a", "b"]);
    assert_eq!(table.class_names(), ["a", "b"]);
    assert_eq!(folder.load(1).unwrap(), table.load(1).unwrap());
    assert_eq!(folder.load(1).unwrap().pixels()[..3], [20, 40, 0]);
}

#[test]
fn statistics_are_of_all_pixels() {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("1.png"), 51);
    save(&root.path().join("2.png"), 102);
    let (mean, std) = channel_stats(&Dataset::open(&config(root.path())).unwrap()).unwrap();
    for (got, want) in mean.iter().chain(&std).zip([0.3, 0.6, 0.0, 0.1, 0.2, 0.0]) {
        assert!((got - want).abs() < 1e-12, "{mean:?} {std:?}");
    }
    let grey = DataConfig {
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.5],
        ..config(root.path())
    };
    let (mean, _) = channel_stats(&Dataset::open(&grey).unwrap()).unwrap();
    // Luma of (51, 102, 0) is 75, of (102, 204, 0) 150.
    assert!((mean[0] - 112.5 / 255.0).abs() < 1e-12, "{mean:?}");
}

#[test]
fn statistics_name_a_broken_image() {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("1.png"), 51);
    std::fs::write(root.path().join("2.png"), "no image").unwrap();
    let error = channel_stats(&Dataset::open(&config(root.path())).unwrap()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("2.png: not an image of a known format"),
        "{error}"
    );
}

#[test]
fn bad_paths_are_named() {
    let root = tempfile::tempdir().unwrap();
    let check = |path: &Path, expected: &str| {
        let message = Dataset::open(&config(path)).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        assert!(message.contains(expected), "{message}");
    };
    check(
        &root.path().join("nowhere"),
        "does not exist; `data.path` is an image folder, a manifest",
    );
    check(root.path(), "no images found");
    let file = root.path().join("list.txt");
    std::fs::write(&file, "a.png").unwrap();
    check(
        &file,
        "lists `a.png`, which is no `.tar`; a list of images is a manifest",
    );
    let file = root.path().join("list.xls");
    std::fs::write(&file, "a.png").unwrap();
    check(&file, "is neither a folder nor a `.csv`, `.tar` or `.txt` file");
    let error = Dataset::open(&DataConfig::default()).unwrap_err();
    assert!(matches!(error, DataError::NoSource), "{error}");
}

#[test]
fn the_split_folder_is_chosen_and_path_wins_over_dataset() {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("train/a/1.png"), 1);
    save(&root.path().join("val/a/2.png"), 2);
    let open = |split: &str| {
        let config = DataConfig {
            split: split.to_owned(),
            dataset: Some("elpv".to_owned()),
            ..config(root.path())
        };
        Dataset::open(&config)
    };
    assert_eq!(open("train").unwrap().samples()[0].name, "a/1.png");
    let val = open("val").unwrap();
    assert_eq!((&*val.samples()[0].name, val.split()), ("a/2.png", Some("val")));
    let all = open("").unwrap();
    assert_eq!((all.len(), all.split()), (2, None));
    assert!(matches!(
        open("test").unwrap_err(),
        DataError::MissingSplit { .. }
    ));
}
