//! Whole runs of a tiny classifier on generated pictures: it learns, is stopped anywhere and resumed, begins with
//! weights, ends early, is refused.

mod alternatives;
mod beginning;

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_checkpoint::{Tensors, read_safetensors};
use fcmae_data::{Color, DataConfig, FinetuneAugmentConfig, LabelConfig, LabelKind, MixConfig};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;

use super::*;
use crate::config::{
    CheckpointConfig, ClassWeighting, ClassWeights, EmaConfig, FinetuneLogConfig, FinetuneOptimizerConfig,
    FinetuneScheduleConfig, FinetuneTrainConfig, LogConfig, Metric, PretrainConfig, ScheduleConfig,
    SelectionConfig, TrainConfig, ValidationConfig,
};
use crate::run::Start;
use crate::run::testing::{metrics, quiet};
use crate::stop::StopFlag;
use crate::summary::Ending;

/// Upright and level bars at random-looking places, `count` of each, in a folder for each class.
fn pictures(folder: &Path, count: u32) -> PathBuf {
    let images = folder.join("images");
    for class in ["level", "upright"] {
        fs::create_dir_all(images.join(class)).unwrap();
        for i in 0..count {
            let bar = i * 7 % 24;
            let picture = image::GrayImage::from_fn(32, 32, |x, y| {
                let along = if class == "level" { y } else { x };
                image::Luma([if (bar..bar + 6).contains(&along) {
                    230
                } else {
                    (i % 11) as u8
                }])
            });
            picture
                .save(images.join(class).join(format!("{i:03}.png")))
                .unwrap();
        }
    }
    images
}

fn model() -> EncoderConfig {
    EncoderConfig {
        name: "test".into(),
        depths: vec![1, 1, 1],
        dims: vec![4, 8, 16],
        in_chans: 1,
        stem_stride: 2,
        drop_path: 0.1,
        ..EncoderConfig::default()
    }
}

fn data(folder: &Path) -> DataConfig {
    DataConfig {
        path: Some(pictures(folder, 16)),
        image_size: [24, 24],
        color: Color::Grey,
        mean: vec![0.2],
        std: vec![0.3],
        val_fraction: 0.25,
        workers: 1,
        ..DataConfig::default()
    }
}

/// 24 training images, 8 held out; 3 steps of 2 × 4 images per epoch; 3 epochs.
fn tiny(folder: &Path) -> FinetuneConfig {
    FinetuneConfig {
        name: "run".into(),
        output_dir: folder.join("runs"),
        device: "cpu".into(),
        threads: 1,
        model: model(),
        data: data(folder),
        augment: FinetuneAugmentConfig {
            scale: [0.7, 1.0],
            ..FinetuneAugmentConfig::default()
        },
        mix: MixConfig {
            mixup: 0.2,
            cutmix: 0.3,
            ..MixConfig::default()
        },
        optimizer: FinetuneOptimizerConfig {
            lr: Some(5e-3),
            clip_grad: 1.0,
            layer_decay: 0.9,
            ..FinetuneOptimizerConfig::default()
        },
        schedule: FinetuneScheduleConfig {
            epochs: 3,
            warmup_epochs: 0.5,
            min_lr: 1e-5,
        },
        train: FinetuneTrainConfig {
            batch_size: 4,
            accumulate: 2,
        },
        ema: EmaConfig { decay: 0.8 },
        validation: ValidationConfig {
            batch_size: 5,
            ..ValidationConfig::default()
        },
        checkpoint: CheckpointConfig {
            every_epochs: 1,
            every_steps: 2,
            keep: 20,
        },
        log: FinetuneLogConfig {
            every_steps: 1,
            ..FinetuneLogConfig::default()
        },
        ..FinetuneConfig::default()
    }
}

/// A pre-training run of one epoch of the same network.
fn pretraining(folder: &Path) -> PretrainConfig {
    PretrainConfig {
        name: "pre".into(),
        output_dir: folder.join("runs"),
        device: "cpu".into(),
        threads: 1,
        model: EncoderConfig {
            drop_path: 0.0,
            ..model()
        },
        decoder: DecoderConfig {
            dim: 8,
            ..DecoderConfig::default()
        },
        data: data(folder),
        schedule: ScheduleConfig {
            epochs: 1,
            warmup_epochs: 0.0,
            min_lr: 0.0,
        },
        train: TrainConfig {
            batch_size: 8,
            accumulate: 1,
        },
        log: LogConfig {
            reconstructions_every_epochs: 0,
            ..LogConfig::default()
        },
        ..PretrainConfig::default()
    }
}

fn pretrained(config: &PretrainConfig) -> Summary {
    crate::pretrain(config, &quiet(Start::Continue, StopFlag::default())).unwrap()
}

fn run(config: &FinetuneConfig) -> Summary {
    finetune(config, &quiet(Start::Continue, StopFlag::default())).unwrap()
}

fn refusal(config: &FinetuneConfig) -> String {
    let error = finetune(config, &quiet(Start::Continue, StopFlag::default())).unwrap_err();
    assert!(!config.run_folder().exists(), "{error:#}");
    format!("{error:#}")
}

fn file(config: &FinetuneConfig, name: &str) -> Tensors {
    read_safetensors(config.run_folder().join("checkpoints").join(name))
        .unwrap()
        .0
}

/// All that a run leaves and that must not depend on interruptions.
#[derive(Debug, PartialEq)]
struct Left {
    tensors: Vec<Tensors>,
    best: Vec<u8>,
    metrics: Vec<serde_json::Value>,
}

fn left(config: &FinetuneConfig) -> Left {
    let names = [
        "last/model.safetensors",
        "last/optimizer.safetensors",
        "last/ema.safetensors",
        "best/model.safetensors",
        "best-ema/model.safetensors",
    ];
    Left {
        tensors: names.iter().map(|name| file(config, name)).collect(),
        best: fs::read(config.run_folder().join("checkpoints/last/best.json")).unwrap(),
        metrics: metrics(&config.run_folder()),
    }
}

/// Without what makes tiny sets hard: it must tell upright from level bars that it has never seen.
fn learnable(folder: &Path) -> FinetuneConfig {
    FinetuneConfig {
        augment: FinetuneAugmentConfig {
            scale: [0.8, 1.0],
            rand_augment: String::new(),
            reprob: 0.0,
            ..FinetuneAugmentConfig::default()
        },
        mix: MixConfig::default(),
        schedule: FinetuneScheduleConfig {
            epochs: 30,
            warmup_epochs: 2.0,
            min_lr: 1e-5,
        },
        train: FinetuneTrainConfig {
            batch_size: 8,
            accumulate: 1,
        },
        head_init_scale: 1.0,
        ..tiny(folder)
    }
}

#[test]
fn a_classifier_learns_and_its_best_weights_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let config = learnable(folder.path());
    let summary = run(&config);
    assert_eq!((summary.ending, summary.step), (Ending::Finished, 90));
    let found = summary.finetuned.unwrap();
    let (best, best_ema) = (found.best.unwrap(), found.best_ema.unwrap());
    assert!(
        best.measures.top1 >= Some(0.875) && best_ema.measures.top1 >= Some(0.875),
        "{best:?} {best_ema:?}"
    );
    assert!(best.measures.auroc.unwrap() > 0.9 && best.measures.top5.is_none());
    assert!(best.measures.top1 >= found.val.unwrap().top1);
    for (best, file) in [(best, "best"), (best_ema, "best-ema")] {
        let weights = best.weights.unwrap();
        assert!(weights.ends_with(format!("checkpoints/{file}/model.safetensors")));
        let (_, metadata) = read_safetensors(&weights).unwrap();
        assert_eq!(metadata["fcmae.class_names"], r#"["level","upright"]"#);
        assert_eq!(metadata["fcmae.image_size"], "[24,24]");
        assert_eq!(metadata["fcmae.step"], best.step.to_string());
        assert_eq!(metadata.contains_key("fcmae.ema_decay"), file == "best-ema");
        fcmae_checkpoint::verify(weights.parent().unwrap()).unwrap();
    }
    let metadata = |name: &str| {
        let file = config.run_folder().join("checkpoints/last").join(name);
        read_safetensors(file).unwrap().1
    };
    let mut average = metadata("ema.safetensors");
    assert_eq!(average.remove("fcmae.ema_decay").as_deref(), Some("0.8"));
    assert_eq!(average, metadata("model.safetensors"));
    let lines = metrics(&config.run_folder());
    let last = lines.last().unwrap();
    assert_eq!(last["val"]["top1"].as_f64(), found.val.and_then(|val| val.top1));
    assert_eq!(
        last["val_ema"]["loss"].as_f64(),
        found.val_ema.map(|val| val.loss)
    );
}

/// The promise: wherever it is stopped, inside an accumulation window and a measurement too, a resumed run leaves the
/// same bits, averaged and best weights included.
#[test]
fn a_run_stopped_anywhere_and_resumed_leaves_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.name = "undisturbed".into();
    run(&config);
    let undisturbed = left(&config);
    assert_ne!(undisturbed.tensors[0], undisturbed.tensors[2]);

    let mut stops = 0;
    for poll in 1.. {
        config.name = format!("stopped-{poll}");
        let summary = finetune(&config, &quiet(Start::Continue, StopFlag::at_poll(poll))).unwrap();
        if summary.ending == Ending::Finished {
            break;
        }
        stops += 1;
        let resumed = run(&config);
        assert_eq!(resumed.resumed_from, (summary.step > 0).then_some(summary.step));
        assert!(
            left(&config) == undisturbed,
            "stopped at poll {poll}, step {}",
            summary.step
        );
    }
    assert_eq!(stops, 9 * 2 + 3 * 2 * 2); // each batch of a step, each held-out batch of weights and average
    let again = run(&FinetuneConfig {
        name: "undisturbed".into(),
        ..config
    });
    assert_eq!(again.ending, Ending::AlreadyFinished);
    assert!(again.finetuned.unwrap().best.is_some());
}

#[test]
fn a_run_that_gets_no_better_ends_early_and_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.optimizer.lr = Some(1e-12); // nothing is learnt: the first measure stays the best
    config.schedule.epochs = 20;
    config.schedule.warmup_epochs = 0.0;
    config.schedule.min_lr = 0.0;
    config.selection = SelectionConfig {
        metric: Metric::Top1,
        patience: 2,
    };
    let summary = run(&config);
    assert_eq!(
        (summary.ending, summary.epoch, summary.step),
        (Ending::Finished, 3, 9)
    );
    assert!(summary.ended_early);
    let again = run(&config);
    assert_eq!((again.ending, again.epoch), (Ending::AlreadyFinished, 3));
    assert_eq!(again.finetuned.unwrap().best.unwrap().epoch, 1);
    config.data.workers = 2; // decides nothing
    assert_eq!(run(&config).ending, Ending::AlreadyFinished);
    let (watcher, news) = std::sync::mpsc::channel();
    let longer = FinetuneConfig {
        schedule: FinetuneScheduleConfig {
            epochs: config.schedule.epochs + 1,
            ..config.schedule
        },
        ..config.clone()
    };
    let options = RunOptions {
        watcher: Some(watcher),
        ..RunOptions::default()
    };
    let summary = finetune(&longer, &options).unwrap();
    drop(options);
    assert_eq!(summary.ending, Ending::AlreadyFinished);
    let lines = news.iter().filter_map(|news| match news {
        crate::progress::News::Line(line) => Some(line),
        _ => None,
    });
    let lines: Vec<String> = lines.collect();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("with more `selection.patience` it goes on")),
        "{lines:?}"
    );
    assert!(!lines.iter().any(|line| line.contains("extended")), "{lines:?}");
    config.selection.patience = 3;
    let patient = run(&config);
    assert_eq!((patient.ending, patient.epoch), (Ending::Finished, 4));
    assert!(patient.ended_early);
}

/// Columns of a manifest: probabilities, or several labels; both are learnt without a hitch.
#[test]
fn soft_and_several_labels_are_learnt_from_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    let mut manifest = "path,p,q\n".to_owned();
    for (class, p) in [("level", 0.1), ("upright", 0.9)] {
        for i in 0..16 {
            manifest += &format!("images/{class}/{i:03}.png,{p},{}\n", i % 2);
        }
    }
    let file_of_labels = folder.path().join("labels.csv");
    fs::write(&file_of_labels, manifest).unwrap();
    config.data.path = Some(file_of_labels);
    config.loss.class_weights = ClassWeights::Named(ClassWeighting::Balanced);
    for (name, kind, columns, outputs) in [
        ("soft", LabelKind::Soft, vec!["p"], 2),
        ("several", LabelKind::MultiLabel, vec!["p", "q"], 2),
        ("binary", LabelKind::MultiLabel, vec!["p"], 1),
    ] {
        config.name = name.into();
        config.labels = LabelConfig {
            kind,
            columns: columns.into_iter().map(str::to_owned).collect(),
            ..LabelConfig::default()
        };
        let summary = run(&config);
        let measures = summary.finetuned.unwrap().val.unwrap();
        assert!(
            measures.loss.is_finite() && measures.top1.is_some() != measures.map.is_some(),
            "{measures:?}"
        );
        assert_eq!(
            file(&config, "last/model.safetensors")["head.bias"].shape,
            [outputs]
        );
    }
    config.name = "gone".into();
    config.labels.columns = vec!["r".into()];
    let message = refusal(&config);
    assert!(
        message.contains("labels.csv") && message.contains('r'),
        "{message}"
    );
}

#[test]
fn a_tenth_of_the_labels_trains_on_a_tenth_of_the_images() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.labels.fraction = 1.0 / 3.0; // 4 of 12 images of each class
    config.train.accumulate = 1;
    assert_eq!(run(&config).step, 3 * 2);
}

#[test]
fn what_cannot_be_learnt_is_refused_before_a_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut FinetuneConfig);
    let cases: [(Change, &str); 7] = [
        (
            |c| c.freeze = vec!["stage.0.*".into()],
            "`freeze`: \"stage.0.*\" fits no parameter",
        ),
        (
            |c| c.freeze = vec!["*".into()],
            "`freeze`: [\"*\"] leaves nothing to train",
        ),
        (|c| c.init = "runs/gone".into(), "`init`: "),
        (
            |c| c.loss.class_weights = ClassWeights::Listed(vec![1.0; 3]),
            "`loss.class_weights`: 3 weights for 2 classes (level, upright)",
        ),
        (|c| c.labels.classes = vec!["level".into()], "upright"),
        (|c| c.labels.columns = vec!["kind".into()], "`labels.columns`"),
        (
            |c| c.data.path = c.data.path.as_ref().map(|path| path.join("level")),
            "",
        ),
    ];
    for (change, expected) in cases {
        let mut config = tiny(folder.path());
        change(&mut config);
        let message = refusal(&config);
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn without_held_out_images_nothing_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.data.val_fraction = 0.0;
    config.ema.decay = 0.0;
    config.schedule.epochs = 1;
    config.model.block = fcmae_blocks::BlockKind::V1; // LayerScale
    let summary = run(&config);
    assert_eq!((summary.held_out_loss, summary.ending), (None, Ending::Finished));
    assert_eq!(summary.finetuned, Some(Finetuned::default()));
    let names = fs::read_dir(config.run_folder().join("checkpoints")).unwrap();
    assert!(
        names
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().starts_with("best"))
    );
}
