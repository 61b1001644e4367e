//! Shards made of folders, manifests and shards: the same images, labels, order and bytes.

use std::path::{Path, PathBuf};

use fcmae_data::{
    Color, DataConfig, Dataset, LabelConfig, OnError, PackNews, PackOptions, Packed, pack, survey,
};
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
    pack(&config(source), out, options, &mut |_| {}).unwrap()
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
    let small = small();
    let result = pack(&config(&source), &out, &small, &mut |news| {
        if let PackNews::Shard {
            path,
            images,
            is_kept,
        } = news
        {
            told.push((path.to_owned(), images));
            assert!(!is_kept);
        }
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
    assert!(
        result
            .shards
            .iter()
            .all(|shard| shard.with_extension("index").is_file())
    );

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
        pack(&config(&source), &out, options, &mut |_| {})
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

/// Shards of two pictures at most.
fn small() -> PackOptions {
    PackOptions {
        shard_bytes: 12_000,
        ..PackOptions::default()
    }
}

/// What is in a folder, by name.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// Packs `in` into `shards`, which breaks off at a last picture that is none: at least two shards are finished then.
fn broken_off() -> TempDir {
    let root = folder();
    std::fs::write(root.path().join("in/dogs/3.png"), "no picture").unwrap();
    let mut finished = 0;
    let (source, out) = (root.path().join("in"), root.path().join("shards"));
    let error = pack(&config(&source), &out, &small(), &mut |_| finished += 1).unwrap_err();
    assert!(error.to_string().contains("dogs/3.png"), "{error}");
    assert!(finished >= 2 && !out.exists());
    root
}

/// Packs once more; how many shards are kept, once the result is that of an undisturbed pack.
fn kept(root: &Path, options: &PackOptions, on_error: OnError) -> usize {
    let config = DataConfig {
        on_error,
        ..config(&root.join("in"))
    };
    let mut kept = 0;
    let resumed = pack(&config, &root.join("shards"), options, &mut |news| {
        kept += usize::from(matches!(news, PackNews::Shard { is_kept: true, .. }));
    })
    .unwrap();
    let undisturbed = pack(&config, &root.join("undisturbed"), options, &mut |_| {}).unwrap();
    assert_eq!(
        contents(&root.join("shards")),
        contents(&root.join("undisturbed"))
    );
    assert_eq!(
        (resumed.images, resumed.resized, resumed.bytes, resumed.left_out),
        (
            undisturbed.images,
            undisturbed.resized,
            undisturbed.bytes,
            undisturbed.left_out
        )
    );
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 3, "no litter");
    kept
}

#[test]
fn a_pack_that_was_broken_off_keeps_what_is_finished() {
    let root = broken_off();
    save(&root.path().join("in/dogs/3.png"), 30, 30, 60); // the picture is mended
    assert!(kept(root.path(), &small(), OnError::Error) >= 2);
    let root = broken_off();
    std::fs::remove_file(root.path().join("in/dogs/3.png")).unwrap();
    assert!(kept(root.path(), &small(), OnError::Error) >= 2);
    let root = broken_off();
    assert!(kept(root.path(), &small(), OnError::Skip) >= 2);
}

#[test]
fn two_different_packs_are_never_mixed() {
    let root = broken_off();
    save(&root.path().join("in/dogs/3.png"), 30, 30, 60);
    save(&root.path().join("in/cats/0.png"), 30, 30, 60); // a new first picture
    assert_eq!(kept(root.path(), &small(), OnError::Error), 0);

    let root = broken_off();
    std::fs::remove_file(root.path().join("in/dogs/3.png")).unwrap();
    let larger = PackOptions {
        shard_bytes: 14_000,
        ..small()
    };
    assert_eq!(kept(root.path(), &larger, OnError::Error), 0);

    // A picture that changes takes its own shard with it, the one that ended for its sake, and all behind.
    let root = broken_off();
    std::fs::remove_file(root.path().join("in/dogs/3.png")).unwrap();
    save(&root.path().join("in/dogs/1.png"), 21, 20, 40);
    let some = kept(root.path(), &small(), OnError::Error);
    assert!((1..3).contains(&some), "{some}");
}

#[test]
fn what_a_killed_process_has_left_is_kept_where_it_is_whole() {
    let root = broken_off();
    std::fs::remove_file(root.path().join("in/dogs/3.png")).unwrap();
    let staging = root.path().join(".pack-shards.part");
    std::fs::write(staging.join("000007.tar"), "half").unwrap();
    let cut = staging.join("000001.tar");
    let whole = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &whole[..512]).unwrap();
    std::fs::write(root.path().join(".pack-shards.lock"), "").unwrap();
    assert_eq!(kept(root.path(), &small(), OnError::Error), 1);

    let root = broken_off();
    std::fs::remove_file(root.path().join("in/dogs/3.png")).unwrap();
    let journal = root.path().join(".pack-shards.part/journal.json");
    let text = std::fs::read_to_string(&journal).unwrap();
    std::fs::write(&journal, &text[..text.len() / 2]).unwrap();
    assert_eq!(kept(root.path(), &small(), OnError::Error), 0);
}

#[test]
fn pictures_that_cannot_be_read_are_left_out_where_that_is_wished() {
    let root = folder();
    let (source, out) = (root.path().join("in"), root.path().join("out"));
    std::fs::write(source.join("cats/2.png"), "no picture").unwrap();
    let skip = DataConfig {
        on_error: OnError::Skip,
        ..config(&source)
    };
    let mut told = Vec::new();
    let result = pack(&skip, &out, &small(), &mut |news| {
        if let PackNews::LeftOut { problem } = news {
            told.push(problem.to_owned());
        }
    })
    .unwrap();
    assert_eq!((result.images, &result.left_out), (5, &told));
    assert!(
        told.len() == 1 && told[0].contains("cats/2.png: not an image"),
        "{told:?}"
    );
    std::fs::remove_file(source.join("cats/2.png")).unwrap();
    assert_eq!(names(&labelled(&out)), names(&labelled(&source)));

    let nothing = root.path().join("nothing");
    std::fs::create_dir(&nothing).unwrap();
    std::fs::write(nothing.join("1.png"), "no picture").unwrap();
    let skip = DataConfig {
        path: Some(nothing),
        ..skip
    };
    let message = pack(&skip, &root.path().join("empty"), &small(), &mut |_| {})
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("empty: would be empty: none of the 1 images can be used"),
        "{message}"
    );
}

/// What a link in the place of the unfinished shards leads to is not cleared away.
#[test]
fn a_link_in_the_way_is_refused() {
    let source = folder();
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(other.path().join("thesis.txt"), "years of work").unwrap();
    std::os::unix::fs::symlink(other.path(), root.path().join(".pack-shards.part")).unwrap();
    let refused = pack(
        &config(source.path()),
        &root.path().join("shards"),
        &small(),
        &mut |_| {},
    );
    let message = refused.unwrap_err().to_string();
    assert!(
        message.contains(".pack-shards.part is in the way; remove it"),
        "{message}"
    );
    assert!(other.path().join("thesis.txt").exists());
    let lock = root.path().join(".pack-other.lock");
    std::os::unix::fs::symlink(other.path().join("thesis.txt"), &lock).unwrap();
    let refused = pack(
        &config(source.path()),
        &root.path().join("other"),
        &small(),
        &mut |_| {},
    );
    assert!(refused.is_err(), "a lock that is a link");
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
            &mut |_| {},
        )
    };
    let mut refused = None;
    pack(&config(&source), &out, &PackOptions::default(), &mut |_| {
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
