//! Whole runs of a tiny model on generated images.

mod alternatives;
mod guard;
mod monitor;
mod resume;

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_checkpoint::{CheckpointFolder, Tensors, read_safetensors};
use fcmae_data::{Color, DataConfig, OnError};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use fcmae_model::Activation;

use super::*;
use crate::config::{
    CheckpointConfig, LogConfig, OptimizerConfig, Precision, ScheduleConfig, TrainConfig, ValidationConfig,
};
use crate::error::InputError;
use crate::evaluation::Hide;
use crate::pretrained::Pretrained;
use crate::progress::News;
use crate::run::Start;
use crate::run::testing::{metrics, quiet};
use crate::stop::StopFlag;
use crate::summary::Ending;

/// A folder of `count` grey pictures: a bright bar at a random-looking place on a ramp.
fn pictures(folder: &Path, count: u32) -> PathBuf {
    let images = folder.join("images");
    fs::create_dir_all(&images).unwrap();
    for i in 0..count {
        let bar = i * 7 % 30;
        let picture = image::GrayImage::from_fn(40, 36, |x, y| {
            let is_bar = (bar..bar + 5).contains(&x);
            image::Luma([if is_bar { 230 } else { (3 * y + i % 11) as u8 }])
        });
        picture.save(images.join(format!("{i:03}.png"))).unwrap();
    }
    images
}

/// 12 training images, 2 held out; 3 steps of 2 × 2 images per epoch; 3 epochs.
fn tiny(folder: &Path) -> PretrainConfig {
    PretrainConfig {
        name: "run".into(),
        output_dir: folder.join("runs"),
        device: "cpu".into(),
        threads: 1,
        model: EncoderConfig {
            name: "test".into(),
            depths: vec![1, 1, 1],
            dims: vec![4, 8, 8],
            in_chans: 1,
            stem_stride: 2,
            drop_path: 0.2,
            ..EncoderConfig::default()
        },
        decoder: DecoderConfig {
            dim: 8,
            ..DecoderConfig::default()
        },
        data: DataConfig {
            path: Some(pictures(folder, 14)),
            image_size: [32, 24],
            color: Color::Grey,
            mean: vec![0.4],
            std: vec![0.3],
            val_fraction: 0.15,
            workers: 1,
            ..DataConfig::default()
        },
        optimizer: OptimizerConfig {
            lr: Some(3e-3),
            clip_grad: 1.0,
            ..OptimizerConfig::default()
        },
        schedule: ScheduleConfig {
            epochs: 3,
            warmup_epochs: 0.5,
            min_lr: 1e-5,
        },
        train: TrainConfig {
            batch_size: 2,
            accumulate: 2,
        },
        validation: ValidationConfig {
            batch_size: 2,
            ..ValidationConfig::default()
        },
        checkpoint: CheckpointConfig {
            every_epochs: 1,
            every_steps: 2,
            keep: 20,
        },
        log: LogConfig {
            every_steps: 1,
            reconstructions_every_epochs: 2,
            reconstruction_images: 2,
            report: true,
        },
        ..PretrainConfig::default()
    }
}

fn run(config: &PretrainConfig) -> Summary {
    pretrain(config, &quiet(Start::Continue, StopFlag::default())).unwrap()
}

fn refusal(config: &PretrainConfig, start: Start) -> String {
    let error = pretrain(config, &quiet(start, StopFlag::default())).unwrap_err();
    assert!(
        error.downcast_ref::<InputError>().is_some(),
        "not an input error: {error:#}"
    );
    error.to_string()
}

/// All that a run leaves and that must not depend on interruptions.
#[derive(Debug, PartialEq)]
struct Left {
    weights: Tensors,
    moments: Tensors,
    /// Absent where nothing is held out.
    best: [Option<Vec<u8>>; 2],
    metrics: Vec<serde_json::Value>,
    pictures: Vec<Vec<u8>>,
}

fn left(config: &PretrainConfig) -> Left {
    let folder = config.run_folder();
    let last = folder.join("checkpoints/last");
    let tensors = |name: &str| read_safetensors(last.join(name)).unwrap().0;
    let mut pictures: Vec<PathBuf> = fs::read_dir(folder.join("reconstructions"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    pictures.sort();
    Left {
        weights: tensors("model.safetensors"),
        moments: tensors("optimizer.safetensors"),
        best: ["best/model.safetensors", "last/best.json"]
            .map(|name| fs::read(folder.join("checkpoints").join(name)).ok()),
        metrics: metrics(&folder),
        pictures: pictures.iter().map(|file| fs::read(file).unwrap()).collect(),
    }
}

#[test]
fn a_run_leaves_what_a_run_folder_holds() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    let summary = run(&config);
    assert_eq!(
        (summary.ending, summary.step, summary.epoch),
        (Ending::Finished, 9, 3)
    );
    let (first, last) = (
        summary.first_held_out_loss.unwrap(),
        summary.held_out_loss.unwrap(),
    );
    assert!(last < first, "held-out loss {first} -> {last}");
    let checkpoints = config.run_folder().join("checkpoints");
    let best: serde_json::Value = fcmae_checkpoint::read_json(checkpoints.join("last/best.json")).unwrap();
    let losses = metrics(&config.run_folder());
    let losses = losses.iter().filter_map(|line| line["val_loss"].as_f64());
    assert_eq!(best["loss"].as_f64(), losses.reduce(f64::min));
    let (_, metadata) = read_safetensors(checkpoints.join("best/model.safetensors")).unwrap();
    assert_eq!(metadata["fcmae.step"], best["step"].to_string());

    let left = left(&config);
    assert_eq!(left.metrics.len(), 9 + 3);
    assert_eq!(left.metrics[11]["kind"], "epoch");
    assert_eq!(left.metrics[11]["val_loss"].as_f64(), summary.held_out_loss);
    assert_eq!(left.pictures.len(), 2); // after epochs 2 and 3, the last
    let steps: Vec<u64> = CheckpointFolder::view(config.run_folder().join("checkpoints"))
        .list()
        .unwrap()
        .iter()
        .map(|checkpoint| checkpoint.step)
        .collect();
    assert_eq!(steps, [2, 3, 4, 6, 8, 9]);
    assert!(summary.weights.unwrap().exists() && summary.reconstruction.unwrap().ends_with("epoch-0003.png"));
    let saved = fs::read_to_string(config.run_folder().join("config.toml")).unwrap();
    let read: PretrainConfig = fcmae_config::from_str(&saved, &[]).unwrap().parse().unwrap();
    assert_eq!(read, config);
}

/// A display sees each step and each epoch; what it asks for happens after the next step, and changes no bit.
#[test]
fn a_watched_run_is_told_whole_and_saved_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    run(&config);
    let expected = left(&config);
    config.name = "watched".into();
    config.checkpoint.every_steps = 0;
    let (watcher, news) = std::sync::mpsc::channel();
    let options = RunOptions {
        watcher: Some(watcher),
        ..RunOptions::default()
    };
    options.save.ask();
    pretrain(&config, &options).unwrap();
    drop(options);
    assert_eq!(left(&config), expected);
    let checkpoints = CheckpointFolder::view(config.run_folder().join("checkpoints"))
        .list()
        .unwrap();
    let steps: Vec<u64> = checkpoints.iter().map(|checkpoint| checkpoint.step).collect();
    assert_eq!(steps, [1, 3, 6, 9]);

    let news: Vec<News> = news.iter().collect();
    let count = |is: fn(&News) -> bool| news.iter().filter(|news| is(news)).count();
    assert_eq!(count(|news| matches!(news, News::Step(_))), 9);
    assert_eq!(count(|news| matches!(news, News::Epoch { picture: None, .. })), 1);
    assert_eq!(
        count(|news| matches!(news, News::Epoch { picture: Some(_), .. })),
        2
    );
    assert!(news.contains(&News::Line("saved at step 1".into())) && news.contains(&News::Begin));
}

/// A report that cannot be written costs a warning and nothing else.
#[test]
fn a_report_that_fails_costs_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    fs::create_dir_all(config.run_folder().join("report.html")).unwrap();
    let (watcher, news) = std::sync::mpsc::channel();
    let options = RunOptions {
        watcher: Some(watcher),
        ..RunOptions::default()
    };
    assert_eq!(pretrain(&config, &options).unwrap().ending, Ending::Finished);
    drop(options);
    let warning = |news: &News| matches!(news, News::Warning(text) if text.starts_with("no report: "));
    assert!(news.iter().any(|news| warning(&news)));
}

/// The broken image is one of the held-out ones: it is met after the first epoch's last step.
#[test]
fn a_broken_image_is_named_and_costs_no_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.checkpoint = CheckpointConfig {
        every_epochs: 0,
        every_steps: 0,
        keep: 1,
    };
    let all = fcmae_data::Dataset::open(&config.data).unwrap();
    let (_, held_out) = all.split_validation(config.data.val_fraction, 0).unwrap();
    let file = held_out.samples()[0].location.path().to_owned();
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = pretrain(&config, &quiet(Start::Continue, StopFlag::default())).unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.starts_with("the run stops after step 3, which is saved: "),
        "{message}"
    );
    assert!(
        message.contains(file.file_name().unwrap().to_str().unwrap()),
        "{message}"
    );

    fs::write(&file, &bytes).unwrap();
    assert_eq!(run(&config).resumed_from, Some(3));
}

#[test]
fn a_broken_training_image_can_be_skipped_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.data.on_error = fcmae_data::OnError::Skip;
    config.data.val_fraction = 0.0;
    fs::write(folder.path().join("images/003.png"), "no image").unwrap();
    config.train = TrainConfig {
        batch_size: 7,
        accumulate: 2,
    };
    run(&config);
    let left = left(&config);
    let skipped: Vec<_> = left
        .metrics
        .iter()
        .filter(|line| line["kind"] == "epoch")
        .map(|line| line["skipped"].as_u64())
        .collect();
    assert_eq!(skipped, [Some(1); 3]);
}

#[test]
fn input_that_is_refused_leaves_no_folder_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.train.batch_size = 13;
    assert!(refusal(&config, Start::Continue).contains("larger than the 12 training images"));
    assert!(!config.output_dir.exists());
}

#[test]
fn the_same_run_folder_cannot_be_used_twice_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    let _other = crate::RunFolder::open(&config.run_folder()).unwrap();
    assert!(refusal(&config, Start::Continue).contains("is in use by process"));
}

#[test]
fn without_held_out_images_nothing_is_measured_and_training_images_are_pictured() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.data.val_fraction = 0.0;
    config.schedule.epochs = 1;
    let summary = run(&config);
    assert_eq!((summary.held_out_loss, summary.ending), (None, Ending::Finished));
    assert_eq!(left(&config).pictures.len(), 1);
}

#[test]
fn a_split_is_held_out_as_a_whole_and_never_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    let images = config.data.path.clone().unwrap();
    config.data.val_fraction = 0.0;
    config.validation.split = "val".into();
    config.schedule.epochs = 1;
    let message = refusal(&config, Start::Continue);
    assert!(
        message.starts_with("`validation.split`: \"val\" gives images that are trained on"),
        "{message}"
    );

    for (part, numbers) in [("train", 0..10), ("val", 10..14)] {
        fs::create_dir(images.join(part)).unwrap();
        for i in numbers {
            let name = format!("{i:03}.png");
            fs::rename(images.join(&name), images.join(part).join(&name)).unwrap();
        }
    }
    let summary = run(&config);
    assert_eq!((summary.step, summary.held_out_loss.is_some()), (2, true)); // 10 images in steps of 4
}

#[test]
fn bf16_trains_to_about_the_same_loss() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    let f32 = run(&config).held_out_loss.unwrap();
    (config.precision, config.name) = (Precision::Bf16, "bf16".into());
    let bf16 = run(&config).held_out_loss.unwrap();
    assert!(f32 != bf16 && (f32 - bf16).abs() < 0.02, "{f32} {bf16}"); // bf16 keeps 3 digits
}

/// One step of 2 × 4 images is the step of 4 × 2: masks belong to images, and the loss is a mean over both.
#[test]
fn accumulation_is_a_larger_batch() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.model.drop_path = 0.0;
    config.schedule = ScheduleConfig {
        epochs: 1,
        warmup_epochs: 0.0,
        min_lr: 0.0,
    };
    // A large eps makes the step proportional to the gradient, so that equal steps mean equal gradients.
    config.optimizer = OptimizerConfig {
        lr: Some(1.0),
        eps: 1.0,
        ..OptimizerConfig::default()
    };
    let weights = |batch_size, accumulate| {
        let mut config = config.clone();
        config.name = format!("{batch_size}x{accumulate}");
        config.train = TrainConfig {
            batch_size,
            accumulate,
        };
        run(&config);
        left(&config).weights
    };
    let (large, accumulated) = (weights(4, 1), weights(2, 2));
    for (name, weight) in &large {
        let (a, b) = (weight.to_f32().unwrap(), accumulated[name].to_f32().unwrap());
        let scale = a.iter().fold(0f32, |max, x| max.max(x.abs()));
        let difference = a.iter().zip(&b).fold(0f32, |max, (x, y)| max.max((x - y).abs()));
        assert!(difference <= 1e-5 * scale, "{name}: {difference} of {scale}"); // three steps of f32 rounding
    }
}

#[test]
fn weights_of_a_run_reconstruct_a_file_and_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    let summary = run(&config);
    let trained = Pretrained::open(&config.run_folder(), tch::Device::Cpu).unwrap();
    assert_eq!(trained.step, 9);
    // the file knows what decided its weights, and not what the run was called
    let decisive =
        |config: &PretrainConfig| crate::run::decisive(&fcmae_config::to_toml(config).unwrap()).unwrap();
    assert_eq!(decisive(&trained.config), decisive(&config));
    assert_ne!(trained.config.output_dir, config.output_dir);
    let files = trained.image_files(&folder.path().join("images")).unwrap();
    assert_eq!(files.len(), 14);
    assert_eq!(trained.image_files(files[3].path()).unwrap(), files[3..4]);

    let hide = Hide::Share {
        mask_ratio: 0.6,
        seed: 0,
    };
    let held_out: f64 = summary.held_out_loss.unwrap();
    let losses: Vec<f64> = trained
        .reconstruct(&files, &hide)
        .unwrap()
        .iter()
        .map(|row| row.loss)
        .collect();
    // The two held-out images are among them, under the same masks.
    let is_mean = |a: f64, b: f64| ((a + b) / 2.0 - held_out).abs() < 1e-6;
    assert!(
        losses
            .iter()
            .enumerate()
            .any(|(i, &a)| losses[i + 1..].iter().any(|&b| is_mean(a, b))),
        "{losses:?}"
    );

    let one = trained
        .reconstruct(&files[..1], &Hide::Patches(vec![0, 5]))
        .unwrap();
    assert_eq!(one[0].input.dimensions(), (24, 32));
    let error = trained
        .reconstruct(&files[..1], &Hide::Patches(vec![12]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("there is no patch 12"), "{error}");
}
