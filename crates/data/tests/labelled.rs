//! Learning from labels: what is promised about targets, mixing and augmentation in the loader.

use std::path::Path;
use std::sync::Arc;

use fcmae_data::{
    Batch, Color, DataConfig, Dataset, FinetuneAugmentConfig, LabelConfig, Loader, LoaderOptions, MixConfig,
    Position, Targets, Transform,
};
use tempfile::TempDir;

const SIZE: [usize; 2] = [40, 48];

/// Ten grey images; `p` is i / 9, the class `bad` from the fifth on.
fn cells() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let mut table = "path,label,p,crack,dark\n".to_owned();
    for i in 0..10u32 {
        let image =
            image::GrayImage::from_fn(50 + i, 44, |x, y| image::Luma([(x * 5 + y * 3 + i * 20) as u8]));
        image.save(root.path().join(format!("{i}.png"))).unwrap();
        let label = if i < 5 { "good" } else { "bad" };
        table += &format!("{i}.png,{label},{},{},1\n", f64::from(i) / 9.0, i % 2);
    }
    std::fs::write(root.path().join("train.csv"), table).unwrap();
    root
}

fn config(root: &Path) -> DataConfig {
    DataConfig {
        path: Some(root.join("train.csv")),
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.25],
        image_size: SIZE,
        workers: 2,
        ..DataConfig::default()
    }
}

fn open(root: &Path, labels: &str) -> Arc<Dataset> {
    let labels: LabelConfig = toml::from_str(labels).unwrap();
    Arc::new(Dataset::open_labelled(&config(root), &labels).unwrap())
}

fn options(root: &Path, augment: &str, mix: &str) -> LoaderOptions {
    let augment: FinetuneAugmentConfig = toml::from_str(augment).unwrap();
    let mix: MixConfig = toml::from_str(mix).unwrap();
    LoaderOptions::finetune(&config(root), &augment, &mix, 5, 7).unwrap()
}

fn take(dataset: &Arc<Dataset>, options: LoaderOptions, start: Position, count: usize) -> Vec<Batch> {
    let loader = Loader::new(dataset.clone(), options, start).unwrap();
    loader.take(count).collect::<Result<_, _>>().unwrap()
}

fn rows(batch: &Batch) -> (&[f32], usize) {
    match &batch.targets {
        Targets::Rows { values, classes } => (values, *classes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn workers_and_restarts_change_nothing() {
    let root = cells();
    let dataset = open(root.path(), "");
    for mode in ["batch", "pair", "elem"] {
        let mix = format!("mixup = 0.8\ncutmix = 1.0\nmode = '{mode}'");
        let augment = "rotate90 = true\ncolor_jitter = 0.3\nreprob = 0.5";
        let all = take(
            &dataset,
            options(root.path(), augment, &mix),
            Position::default(),
            6,
        );
        for workers in [1, 3] {
            let options = LoaderOptions {
                workers,
                ..options(root.path(), augment, &mix)
            };
            let later = take(&dataset, options, Position { epoch: 1, batch: 1 }, 3);
            assert_eq!(later, all[3..], "{mode}, {workers}");
        }
        assert_ne!(all[0].images, all[2].images);
    }
}

#[test]
fn evaluation_gives_classes_as_they_are() {
    let root = cells();
    let dataset = open(root.path(), "classes = ['good', 'bad']");
    let plain = LoaderOptions {
        shuffle: false,
        ..LoaderOptions::new(&config(root.path()), Transform::eval(SIZE), 10, 0)
    };
    let batch = &take(&dataset, plain, Position::default(), 1)[0];
    assert_eq!(
        batch.targets,
        Targets::Classes(vec![0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    );
    assert_eq!(dataset.class_counts(), [5.0, 5.0]);

    let unlabelled = Arc::new(Dataset::open(&config(root.path())).unwrap());
    let error = Loader::new(unlabelled, options(root.path(), "", ""), Position::default()).unwrap_err();
    assert!(error.to_string().contains("have no labels to mix"), "{error}");
}

#[test]
fn targets_are_smoothed_then_mixed() {
    let root = cells();
    let dataset = open(root.path(), "");
    for batch in take(
        &dataset,
        options(root.path(), "", "smoothing = 0.1"),
        Position::default(),
        2,
    ) {
        let (values, classes) = rows(&batch);
        for (row, label) in values.chunks(classes).zip(&batch.labels) {
            let expected = if *label == Some(0) {
                [0.95, 0.05]
            } else {
                [0.05, 0.95]
            };
            assert!(
                row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
                "{row:?}"
            );
        }
    }
    let bare = "rand_augment = ''\nreprob = 0.0";
    let still = take(
        &dataset,
        options(root.path(), bare, "smoothing = 0.0"),
        Position::default(),
        4,
    );
    let mixed = take(
        &dataset,
        options(root.path(), bare, "mixup = 1.0\nsmoothing = 0.0"),
        Position::default(),
        4,
    );
    for (still, mixed) in still.iter().zip(&mixed) {
        let (values, _) = rows(mixed);
        // λ from the first pair of pixels that differ; then it explains every pixel and every target.
        let (one, n) = (SIZE[0] * SIZE[1], still.labels.len());
        let pixel = |images: &[f32], i: usize, at: usize| f64::from(images[i * one + at]);
        let lambda = (0..one)
            .map(|at| (at, pixel(&still.images, 0, at), pixel(&still.images, n - 1, at)))
            .find(|(_, a, b)| (a - b).abs() > 0.5)
            .map(|(at, a, b)| (pixel(&mixed.images, 0, at) - b) / (a - b))
            .unwrap();
        for i in 0..n {
            let j = n - 1 - i;
            for at in (0..one).step_by(97) {
                let expected =
                    lambda * pixel(&still.images, i, at) + (1.0 - lambda) * pixel(&still.images, j, at);
                assert!((pixel(&mixed.images, i, at) - expected).abs() < 1e-4);
            }
            let share = |i: usize| f64::from(u8::from(still.labels[i] == Some(1)));
            let expected = lambda * share(i) + (1.0 - lambda) * share(j);
            assert!((f64::from(values[i * 2 + 1]) - expected).abs() < 1e-4);
        }
    }
}

#[test]
fn soft_and_multi_label_rows_arrive() {
    let root = cells();
    let soft = open(
        root.path(),
        "kind = 'soft'\ncolumns = ['p']\nclasses = ['good', 'bad']",
    );
    let batch = &take(
        &soft,
        options(root.path(), "", "smoothing = 0.0"),
        Position::default(),
        1,
    )[0];
    let (values, classes) = rows(batch);
    for (row, id) in values.chunks(classes).zip(&batch.ids) {
        let p = *id as f32 / 9.0;
        assert!(
            (row[1] - p).abs() < 1e-6 && (row[0] + row[1] - 1.0).abs() < 1e-6,
            "{row:?}"
        );
    }
    let multi = open(root.path(), "kind = 'multi_label'\ncolumns = ['dark', 'crack']");
    let batch = &take(
        &multi,
        options(root.path(), "", "smoothing = 0.2"),
        Position::default(),
        1,
    )[0];
    let (values, classes) = rows(batch);
    for (row, id) in values.chunks(classes).zip(&batch.ids) {
        let crack = if id % 2 == 1 { 0.9 } else { 0.1 };
        assert!(
            (row[0] - 0.9).abs() < 1e-6 && (row[1] - crack).abs() < 1e-6,
            "{row:?}"
        );
    }
    assert_eq!(multi.class_counts(), [10.0, 5.0]);
}

#[test]
fn few_labels_keep_ids_and_so_their_augmentation() {
    let root = cells();
    let dataset = open(root.path(), "");
    let few = Arc::new(dataset.label_subset(0.5, 3).unwrap());
    let ids: Vec<u64> = few.samples().iter().map(|s| s.id).collect();
    assert_eq!(few.class_counts(), [3.0, 3.0]);
    let one = |dataset: &Arc<Dataset>, id: u64| {
        let options = LoaderOptions {
            batch_size: 1,
            ..options(root.path(), "", "smoothing = 0.0")
        };
        let batches = take(dataset, options, Position::default(), dataset.len());
        batches
            .into_iter()
            .find(|batch| batch.ids == [id])
            .unwrap()
            .images
    };
    assert_eq!(one(&few, ids[2]), one(&dataset, ids[2]));
}
