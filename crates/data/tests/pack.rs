//! Shards made of folders, manifests and shards: the same images, labels, order and bytes.

use std::path::{Path, PathBuf};

use fcmae_data::{Color, DataConfig, Dataset, LabelConfig, PackOptions, Packed, pack, survey};
use tempfile::TempDir;

fn config(path: &Path) -> DataConfig {
    DataConfig {
        path: Some(path.to_owned()),
        ..DataConfig::default()
    }
}

fn save(path: &Path, width: u32, height: u32, value: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([value, (x * 3) as u8, (y * 5) as u8])
    })
    .save(path)
    .unwrap();
}

/// Five pictures of several formats and sizes in two class folders.
fn folder() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    save(&root.path().join("in/cats/1.png"), 40, 30, 10);
    save(&root.path().join("in/cats/v1.2.jpg"), 90, 60, 20);
    save(&root.path().join("in/dogs/1.bmp"), 20, 70, 30);
    save(&root.path().join("in/dogs/1.png"), 20, 20, 40);
    save(&root.path().join("in/dogs/2.webp"), 31, 33, 50);
    root
}

fn packed(source: &Path, out: &Path, options: &PackOptions) -> Packed {
    pack(&config(source), out, options, &mut |_, _| {}).unwrap()
}

fn labelled(path: &Path) -> Dataset {
    Dataset::open_labelled(&config(path), &LabelConfig::default()).unwrap()
}

fn names(dataset: &Dataset) -> Vec<&str> {
    dataset
        .samples()
        .iter()
        .map(|sample| sample.name.as_str())
        .collect()
}

#[test]
fn a_folder_becomes_shards_that_say_the_same() {
    let root = folder();
    let (source, out) = (root.path().join("in"), root.path().join("out/train"));
    let mut told = Vec::new();
    let small = PackOptions {
        shard_bytes: 12_000,
        ..PackOptions::default()
    };
    let result = pack(&config(&source), &out, &small, &mut |shard, images| {
        told.push((shard.to_owned(), images))
    })
    .unwrap();
    assert_eq!((result.images, result.resized), (5, 0));
    assert!(result.shards.len() > 1, "{result:?}");
    assert_eq!(
        told.iter()
            .map(|(shard, _)| shard.clone())
            .collect::<Vec<PathBuf>>(),
        result.shards
    );
    assert_eq!(told.iter().map(|(_, images)| images).sum::<usize>(), 5);
    let sizes: u64 = result
        .shards
        .iter()
        .map(|shard| std::fs::metadata(shard).unwrap().len())
        .sum();
    assert_eq!(sizes, result.bytes);

    let (before, after) = (labelled(&source), labelled(&root.path().join("out")));
    assert_eq!(names(&after), names(&before));
    let members = [1, 3].map(|at| after.samples()[at].location.path().to_string_lossy().into_owned());
    assert!(members[0].ends_with("cats/v1_2.jpg") && members[1].ends_with("dogs/1_2.png"));
    assert_eq!(after.class_names(), ["cats", "dogs"]);
    for (index, (a, b)) in before.samples().iter().zip(after.samples()).enumerate() {
        assert_eq!((a.id, a.label), (b.id, b.label));
        assert_eq!(
            a.location.read().unwrap(),
            b.location.read().unwrap(),
            "bytes are copied as they are"
        );
        assert_eq!(before.load(index).unwrap(), after.load(index).unwrap());
    }

    // Packed again, from the folder or from the shards, it is the same.
    for (from, to) in [(&source, "again"), (&root.path().join("out"), "twice")] {
        let again = packed(from, &root.path().join(to), &small);
        for (one, two) in result.shards.iter().zip(&again.shards) {
            assert_eq!(std::fs::read(one).unwrap(), std::fs::read(two).unwrap(), "{to}");
        }
    }
    let litter: Vec<_> = std::fs::read_dir(root.path().join("out")).unwrap().collect();
    assert_eq!(litter.len(), 1, "{litter:?}");
}

#[test]
fn columns_of_a_manifest_are_kept() {
    let root = folder();
    let manifest = root.path().join("in/all.csv");
    std::fs::write(
        &manifest,
        "path,p,crack,label\ncats/1.png,0.25,1,7\n../in/dogs/1.png,1,0,3\n",
    )
    .unwrap();
    let out = root.path().join("out");
    packed(&manifest, &out, &PackOptions::default());
    let soft: LabelConfig = toml::from_str("kind = 'soft'\ncolumns = ['p']").unwrap();
    let soft = Dataset::open_labelled(&config(&out), &soft).unwrap();
    assert_eq!(names(&soft), ["cats/1.png", "../in/dogs/1.png"]);
    assert_eq!(soft.samples()[0].row.as_deref().unwrap(), [0.75, 0.25]);
    let classes = labelled(&out);
    assert_eq!(
        classes.samples().iter().map(|s| s.label).collect::<Vec<_>>(),
        [Some(7), Some(3)]
    );
    let several: LabelConfig = toml::from_str("kind = 'multi_label'\ncolumns = ['crack', 'p']").unwrap();
    let several = Dataset::open_labelled(&config(&out), &several).unwrap();
    assert_eq!(several.samples()[1].row.as_deref().unwrap(), [0.0, 1.0]);
}

#[test]
fn long_images_are_made_smaller_and_others_left_alone() {
    let root = folder();
    let out = root.path().join("out");
    let options = PackOptions {
        max_side: Some(40),
        ..PackOptions::default()
    };
    let result = packed(&root.path().join("in"), &out, &options);
    assert_eq!(result.resized, 2);
    let (source, dataset) = (labelled(&root.path().join("in")), labelled(&out));
    assert_eq!(
        names(&dataset),
        names(&source),
        "of the PNG that is a JPEG by now too"
    );
    for seed in 0..8 {
        let held_out = |dataset: &Dataset| names(&dataset.split_validation(0.4, seed).unwrap().1).join(" ");
        assert_eq!(held_out(&dataset), held_out(&source));
    }
    // Packed again, they end as what they are.
    packed(&out, &root.path().join("again"), &PackOptions::default());
    let again = labelled(&root.path().join("again"));
    assert_eq!(names(&again), names(&source));
    assert!(again.samples()[2].location.path().ends_with("dogs/1.jpg"));
    let sides: Vec<_> = (0..5)
        .map(|i| dataset.load(i).unwrap())
        .map(|image| (image.width(), image.height()))
        .collect();
    assert_eq!(sides, [(40, 30), (40, 27), (11, 40), (20, 20), (31, 33)]);
    assert!(
        dataset.load(2).unwrap().pixels()[0].abs_diff(30) < 12,
        "a JPEG of the same picture"
    );
}

#[test]
fn what_goes_wrong_leaves_nothing_behind() {
    let root = folder();
    let (source, out) = (root.path().join("in"), root.path().join("out"));
    std::fs::write(source.join("dogs/3.png"), "no picture").unwrap();
    let refused = |options: &PackOptions| {
        pack(&config(&source), &out, options, &mut |_, _| {})
            .unwrap_err()
            .to_string()
    };
    let message = refused(&PackOptions::default());
    assert!(
        message.contains("dogs/3.png: not an image of a known format"),
        "{message}"
    );
    assert_eq!(
        std::fs::read_dir(root.path()).unwrap().count(),
        1,
        "only the source"
    );
    let message = refused(&PackOptions {
        quality: 0,
        ..PackOptions::default()
    });
    assert!(message.contains("`quality` = 0"), "{message}");
    std::fs::create_dir(&out).unwrap();
    let message = refused(&PackOptions::default());
    assert!(
        message.ends_with("out: exists; name a new folder, or remove it first"),
        "{message}"
    );
}

/// What is said of classes by class folders of these names, and by shards made of them, and of those.
fn check_classes(folders: &[&str], expected: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let [source, out, again] = ["in", "out", "again"].map(|name| root.path().join(name));
    for folder in folders {
        save(&source.join(folder).join("1.png"), 8, 8, 1);
    }
    packed(&source, &out, &PackOptions::default());
    packed(&out, &again, &PackOptions::default());
    for path in [&source, &out, &again] {
        for dataset in [labelled(path), Dataset::open(&config(path)).unwrap()] {
            assert_eq!(dataset.class_names(), expected);
            let labels: Vec<_> = dataset.samples().iter().filter_map(|s| s.label).collect();
            assert_eq!(labels, (0..expected.len() as u32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn classes_are_numbered_and_named_as_by_the_folder() {
    check_classes(&["1", "2", "10"], &["1", "10", "2"]);
    check_classes(&["0", "2891770"], &["0", "2891770"]);
    let long = "e".repeat(200);
    check_classes(&["b", &long, "a"], &["a", "b", &long]);
}

#[test]
fn what_a_killed_process_has_left_is_cleared_away() {
    let root = folder();
    let out = root.path().join("shards");
    // The second is at work on `shards-b`.
    let [left, used] = ["a1", "b-c2"].map(|end| root.path().join(format!(".pack-shards-{end}")));
    for folder in [&left, &used] {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("000000.tar"), "half").unwrap();
    }
    let lock = root.path().join(".pack-shards.lock");
    std::fs::write(&lock, "").unwrap();
    packed(&root.path().join("in"), &out, &PackOptions::default());
    assert!(out.is_dir() && used.is_dir() && !left.exists() && !lock.exists());
}

#[test]
fn only_one_process_packs_a_folder() {
    let root = folder();
    let (source, out) = (root.path().join("in"), root.path().join("out"));
    let second = |out: &str| {
        pack(
            &config(&source),
            &root.path().join(out),
            &PackOptions::default(),
            &mut |_, _| {},
        )
    };
    let mut refused = None;
    pack(&config(&source), &out, &PackOptions::default(), &mut |_, _| {
        refused = second("out").err().map(|error| error.to_string());
        second("out-2").unwrap(); // beside it
    })
    .unwrap();
    let message = refused.unwrap();
    assert!(
        message.ends_with("out: another process is packing it"),
        "{message}"
    );
    assert_eq!(labelled(&out).len(), 5);
    assert_eq!(
        std::fs::read_dir(root.path()).unwrap().count(),
        3,
        "source and shards"
    );
}

#[test]
fn a_survey_counts_measures_and_lists_what_cannot_be_used() {
    let root = folder();
    let source = root.path().join("in");
    std::fs::write(source.join("dogs/3.png"), "no picture").unwrap();
    let dataset = Dataset::open(&config(&source)).unwrap();
    let all = survey(&dataset, 2).unwrap();
    assert_eq!((all.images, all.unusable.len()), (5, 1));
    assert!(all.unusable[0].to_string().contains("dogs/3.png"));
    assert_eq!((all.width, all.height), ([20, 31, 90], [20, 33, 70]));
    let pixels = 40 * 30 + 90 * 60 + 20 * 70 + 20 * 20 + 31 * 33;
    assert_eq!(all.decoded_bytes, 3 * pixels);
    let grey = DataConfig {
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.5],
        ..config(&source)
    };
    assert_eq!(
        survey(&Dataset::open(&grey).unwrap(), 1).unwrap().decoded_bytes,
        pixels
    );

    std::fs::remove_file(source.join("dogs/3.png")).unwrap();
    let dataset = Dataset::open(&config(&source)).unwrap();
    let (mean, std) = fcmae_data::channel_stats(&dataset).unwrap();
    assert_eq!((all.mean, all.std), (mean, std));
}
