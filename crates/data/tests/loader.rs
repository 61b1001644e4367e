//! The loader: what is promised about order, restarts, bad images and threads.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use fcmae_data::{
    AugmentConfig, Batch, Cache, Color, DataConfig, DataError, Dataset, Loader, LoaderOptions, OnError,
    Position, Report, Transform,
};
use proptest::prelude::*;
use tempfile::TempDir;

const SIZE: [usize; 2] = [8, 12];

/// A folder of `count` small grey images with different contents and sizes.
fn folder(count: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for i in 0..count as u32 {
        let image = image::GrayImage::from_fn(16 + i % 5, 20 + i % 3, |x, y| {
            image::Luma([(x * 13 + y * 7 + i * 29) as u8])
        });
        let class = root.path().join(if i % 2 == 0 { "even" } else { "odd" });
        std::fs::create_dir_all(&class).unwrap();
        image.save(class.join(format!("{i:03}.png"))).unwrap();
    }
    root
}

fn config(root: &Path) -> DataConfig {
    DataConfig {
        path: Some(root.to_owned()),
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.25],
        image_size: SIZE,
        workers: 2,
        ..DataConfig::default()
    }
}

fn options(config: &DataConfig) -> LoaderOptions {
    LoaderOptions::new(config, Transform::train(&AugmentConfig::default(), SIZE), 4, 7)
}

fn open(config: &DataConfig) -> Arc<Dataset> {
    Arc::new(Dataset::open(config).unwrap())
}

fn take(dataset: &Arc<Dataset>, options: LoaderOptions, start: Position, count: usize) -> Vec<Batch> {
    let loader = Loader::new(dataset.clone(), options, start).unwrap();
    loader.take(count).collect::<Result<_, _>>().unwrap()
}

/// Replaces the image at `index` (in the data set's order) by something broken.
fn spoil(dataset: &Dataset, index: usize) {
    std::fs::write(
        dataset.samples()[index].location.path(),
        b"\x89PNG\r\n\x1a\nbroken",
    )
    .unwrap();
}

#[test]
fn workers_prefetch_and_cache_change_nothing() {
    let root = folder(11);
    let base = config(root.path());
    let expected = take(&open(&base), options(&base), Position::default(), 7);
    for (workers, prefetch, cache) in [(1, 1, Cache::None), (5, 3, Cache::Memory), (0, 8, Cache::Disk)] {
        // A MiB holds all of these images; with none, every second use decodes again.
        for cache_mib in [0, 1] {
            let config = DataConfig {
                workers,
                prefetch,
                cache,
                cache_mib,
                ..base.clone()
            };
            assert_eq!(
                take(&open(&config), options(&config), Position::default(), 7),
                expected
            );
        }
    }
}

#[test]
fn time_spent_on_cached_images_is_counted() {
    let root = folder(8);
    let config = DataConfig {
        cache: Cache::Disk,
        ..config(root.path())
    };
    let dataset = open(&config);
    for index in 0..dataset.len() {
        dataset.load(index).unwrap();
    }
    let mut loader = Loader::new(dataset, options(&config), Position::default()).unwrap();
    loader.next().unwrap().unwrap();
    let times = loader.stage_times();
    assert!(times.read.is_zero() && !times.decode.is_zero(), "{times:?}");
}

#[test]
fn an_epoch_is_every_image_once() {
    let root = folder(11);
    let config = config(root.path());
    let dataset = open(&config);
    let options = LoaderOptions {
        drop_last: false,
        ..options(&config)
    };
    let batches = take(&dataset, options, Position::default(), 6);
    let shapes: Vec<_> = batches.iter().map(|b| b.shape).collect();
    assert_eq!(shapes[..3], [[4, 1, 8, 12], [4, 1, 8, 12], [3, 1, 8, 12]]);
    let ends: Vec<_> = batches
        .iter()
        .map(|b| (b.epoch, b.batch, b.last_of_epoch))
        .collect();
    assert_eq!(
        ends,
        [
            (0, 0, false),
            (0, 1, false),
            (0, 2, true),
            (1, 0, false),
            (1, 1, false),
            (1, 2, true)
        ]
    );
    for epoch in [0, 1] {
        let mut seen: Vec<u64> = batches
            .iter()
            .filter(|b| b.epoch == epoch)
            .flat_map(|b| b.ids.clone())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..11).collect::<Vec<u64>>());
    }
    for batch in &batches {
        assert_eq!(batch.images.len(), batch.shape.iter().product::<usize>());
        for (id, label) in batch.ids.iter().zip(&batch.labels) {
            assert_eq!(*label, dataset.samples()[*id as usize].label);
        }
    }
    assert_ne!(batches[0].ids, batches[3].ids, "epochs have different orders");
}

#[test]
fn augmentation_is_keyed_by_epoch_and_sample() {
    let root = folder(6);
    let config = config(root.path());
    let mut seen: HashMap<(u64, u64), Vec<f32>> = HashMap::new();
    // Other batch sizes put the images in other places.
    for batch_size in [2, 3] {
        let options = LoaderOptions {
            batch_size,
            ..options(&config)
        };
        for batch in take(&open(&config), options, Position::default(), 12 / batch_size) {
            for (id, pixels) in batch.ids.iter().zip(batch.images.chunks_exact(SIZE[0] * SIZE[1])) {
                let first = seen.entry((batch.epoch, *id)).or_insert_with(|| pixels.to_vec());
                assert_eq!(first, pixels, "epoch {} sample {id}", batch.epoch);
            }
        }
    }
    assert_eq!(seen.len(), 12);
    assert_ne!(seen[&(0, 0)], seen[&(1, 0)]);
}

#[test]
fn numbers_are_normalised_pixels() {
    let root = tempfile::tempdir().unwrap();
    image::GrayImage::from_pixel(30, 30, image::Luma([51]))
        .save(root.path().join("a.png"))
        .unwrap();
    let config = config(root.path());
    let options = LoaderOptions {
        batch_size: 1,
        transform: Transform::eval(SIZE),
        ..options(&config)
    };
    let batch = &take(&open(&config), options, Position::default(), 1)[0];
    assert_eq!(batch.labels, [None]);
    // (51 / 255 − 0.5) / 0.25
    assert!(batch.images.iter().all(|x| (x + 1.2).abs() < 1e-6));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn a_start_in_the_middle_continues_the_same_sequence(
        count in 3usize..12, batch_size in 1usize..4, drop_last in any::<bool>(), shuffle in any::<bool>(), from in 0usize..8,
    ) {
        let root = folder(count);
        let config = config(root.path());
        let dataset = open(&config);
        if from % 2 == 1 {
            spoil(&dataset, 0);
        }
        let options =
            LoaderOptions { batch_size, drop_last, shuffle, on_error: OnError::Skip, ..options(&config) };
        let all = take(&dataset, options.clone(), Position::default(), 10);
        prop_assert_eq!(&take(&dataset, options.clone(), all[from].position(), 10 - from), &all[from..]);
        let per_epoch = Loader::new(dataset.clone(), options.clone(), Position::default()).unwrap().batches_per_epoch();
        let after = all[from].position().next(per_epoch);
        prop_assert_eq!(after, all[from + 1].position());
    }
}

#[test]
fn an_error_comes_at_its_batch_and_ends_the_sequence() {
    let root = folder(8);
    let config = config(root.path());
    let dataset = open(&config);
    spoil(&dataset, 5);
    spoil(&dataset, 4);
    for workers in [1, 4] {
        let options = LoaderOptions {
            shuffle: false,
            batch_size: 2,
            workers,
            ..options(&config)
        };
        let mut loader = Loader::new(dataset.clone(), options, Position::default()).unwrap();
        assert_eq!(loader.next().unwrap().unwrap().ids, [0, 1]);
        assert_eq!(loader.next().unwrap().unwrap().ids, [2, 3]);
        let message = loader.next().unwrap().unwrap_err().to_string();
        let first = dataset.samples()[4].location.path().display().to_string();
        assert!(
            message.starts_with(&first) && message.contains("cannot decode"),
            "{message}"
        );
        assert!(loader.next().is_none());
    }
    let gone = dataset.samples()[0].location.path().to_owned();
    std::fs::remove_file(&gone).unwrap();
    let options = LoaderOptions {
        shuffle: false,
        ..options(&config)
    };
    let message = Loader::new(dataset, options, Position::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(&message, DataError::Read { file, .. } if *file == gone),
        "{message}"
    );
}

#[test]
fn a_bad_image_is_replaced_by_the_next_in_order() {
    let root = folder(8);
    let config = config(root.path());
    let dataset = open(&config);
    for index in [3, 4, 7] {
        spoil(&dataset, index);
    }
    let told = Arc::new(Mutex::new(Vec::new()));
    let list = told.clone();
    let options = LoaderOptions {
        shuffle: false,
        on_error: OnError::Skip,
        workers: 3,
        report: Report::to(move |error| list.lock().unwrap().push(error.to_string())),
        ..options(&config)
    };
    let batches = take(&dataset, options, Position::default(), 6);
    for pair in batches.chunks(2) {
        assert_eq!(
            (pair[0].ids.as_slice(), pair[0].skipped),
            ([0, 1, 2, 5].as_slice(), 1)
        );
        assert_eq!(
            (pair[1].ids.as_slice(), pair[1].skipped),
            ([5, 5, 6, 0].as_slice(), 2)
        );
    }
    let mut told = told.lock().unwrap().clone();
    told.sort();
    let mut expected: Vec<String> = [3, 4, 7]
        .map(|index: usize| dataset.samples()[index].location.path().display().to_string())
        .to_vec();
    expected.sort();
    assert_eq!(told.len(), 3, "each bad image is named once: {told:?}");
    assert!(
        told.iter()
            .zip(&expected)
            .all(|(message, path)| message.starts_with(path)),
        "{told:?}"
    );
}

#[test]
fn when_every_image_is_bad_that_is_an_error() {
    let root = folder(5);
    let config = config(root.path());
    let dataset = open(&config);
    (0..5).for_each(|index| spoil(&dataset, index));
    let options = LoaderOptions {
        on_error: OnError::Skip,
        ..options(&config)
    };
    let error = Loader::new(dataset, options, Position::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        error.to_string().contains("none of the 5 images can be used"),
        "{error}"
    );
}

#[test]
fn a_panic_in_a_worker_becomes_an_error() {
    let root = folder(5);
    let config = config(root.path());
    let dataset = open(&config);
    spoil(&dataset, 0);
    let report = Report::to(|_| panic!("the listener fell over"));
    let options = LoaderOptions {
        on_error: OnError::Skip,
        shuffle: false,
        report,
        ..options(&config)
    };
    let mut loader = Loader::new(dataset, options, Position::default()).unwrap();
    // Two batches are in the making: whichever meets the image first has the panic.
    let error = loader.by_ref().take(2).find_map(Result::err).unwrap();
    assert!(
        error
            .to_string()
            .contains("a worker panicked: the listener fell over"),
        "{error}"
    );
    assert!(loader.next().is_none());
}

#[test]
fn dropping_a_loader_early_joins_its_threads() {
    let root = folder(12);
    let config = config(root.path());
    let dataset = open(&config);
    for taken in 0..4 {
        let mut loader = Loader::new(dataset.clone(), options(&config), Position::default()).unwrap();
        for _ in 0..taken {
            loader.next().unwrap().unwrap();
        }
        drop(loader);
        // The threads held the only other references.
        assert_eq!(Arc::strong_count(&dataset), 1);
    }
}

#[test]
fn the_sequence_can_end() {
    let root = folder(9);
    let config = config(root.path());
    let dataset = open(&config);
    let decoded = Arc::new(AtomicUsize::new(0));
    let options = LoaderOptions {
        epochs: Some(2),
        drop_last: false,
        ..options(&config)
    };
    for batch in Loader::new(dataset, options, Position { epoch: 4, batch: 1 }).unwrap() {
        decoded.fetch_add(batch.unwrap().shape[0], Ordering::Relaxed);
    }
    assert_eq!(decoded.load(Ordering::Relaxed), 5 + 9);
}

#[test]
fn what_does_not_fit_is_refused() {
    let root = folder(3);
    let config = config(root.path());
    let dataset = open(&config);
    let refuse = |options: LoaderOptions, start, expected: &str| {
        let message = Loader::new(dataset.clone(), options, start)
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{message}");
    };
    let start = Position::default();
    refuse(options(&config), start, "the 3 images at");
    refuse(
        LoaderOptions {
            batch_size: 0,
            ..options(&config)
        },
        start,
        "`batch_size` = 0",
    );
    refuse(
        LoaderOptions {
            batch_size: 2,
            mean: vec![0.5; 3],
            ..options(&config)
        },
        start,
        "`data.mean`",
    );
    let late = Position { epoch: 0, batch: 2 };
    refuse(
        LoaderOptions {
            batch_size: 2,
            ..options(&config)
        },
        late,
        "epoch 0 has 1 batches",
    );
}
