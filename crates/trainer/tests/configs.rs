//! Every file in `configs/` resolves, validates, and is unchanged by resolving it again.

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_trainer::{FinetuneConfig, LayerDecayType, PretrainConfig};

fn configs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../configs")
        .join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn every_run_validates_and_its_resolved_file_is_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    for file in configs("pretrain") {
        let config = PretrainConfig::load(&file, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        let resolved = folder.path().join("config.toml");
        let text = fcmae_config::to_toml(&config).unwrap();
        fs::write(&resolved, &text).unwrap();
        let again = PretrainConfig::load(&resolved, &[]).unwrap();
        assert_eq!(again, config, "{}", file.display());
        assert_eq!(fcmae_config::to_toml(&again).unwrap(), text, "{}", file.display());
    }
}

#[test]
fn every_imagenet_run_is_the_papers() {
    let names = ["atto", "base", "femto", "huge", "large", "nano", "pico", "tiny"];
    for name in names {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../configs/pretrain")
            .join(format!("imagenet-{name}.toml"));
        let config = PretrainConfig::load(&file, &[]).unwrap();
        assert_eq!(config.model.name, name);
        assert_eq!(config.name, format!("imagenet-{name}"));
        assert_eq!(config.train.images_per_step(), 4096, "{name}");
        assert_eq!(config.optimizer.peak_lr(4096), 2.4e-3);
        assert_eq!(
            (config.schedule.epochs, config.schedule.warmup_epochs),
            (1600, 40.0)
        );
        assert_eq!((config.mask.mask_ratio, config.loss.norm_pix_loss), (0.6, true));
    }
}

#[test]
fn every_model_stands_alone() {
    for file in configs("models") {
        let set = ["data.path=images".to_owned()];
        let config = PretrainConfig::load(&file, &set).unwrap_or_else(|error| panic!("{error:#}"));
        assert_eq!(
            Some(config.model.name.as_str()),
            file.file_stem().and_then(|stem| stem.to_str())
        );
    }
}

#[test]
fn what_is_refused_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        (
            "[optimiser]\nlr = 1",
            "run.toml:2: unknown key `optimiser.lr`; did you mean `optimizer.lr`?",
        ),
        (
            "[train]\nbatchsize = 1",
            "run.toml:2: unknown key `train.batchsize`; did you mean `train.batch_size`?",
        ),
        ("seed = \"x\"", "run.toml:1: `seed` = \"x\""),
        ("precision = \"f16\"", "run.toml:1: `precision` = \"f16\""),
        (
            "activation = \"drop\"",
            "run.toml:1: `activation` = \"drop\": expected one of `keep`, `recompute`",
        ),
        (
            "[mask]\nmask_ratio = 0.0",
            "run.toml:2: `mask.mask_ratio` = 0 would hide 0 of the 49 patches",
        ),
    ];
    for (text, expected) in cases {
        let file = folder.path().join("run.toml");
        fs::write(&file, text).unwrap();
        let error = PretrainConfig::load(&file, &["data.path=images".to_owned()]).unwrap_err();
        let shown = format!("{error:#}");
        assert!(shown.contains(expected), "{text:?}: {shown}");
    }
}

#[test]
fn every_fine_tuning_validates_and_its_resolved_file_is_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for file in configs("finetune") {
        let config = FinetuneConfig::load(&file, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        let resolved = folder.path().join("config.toml");
        let text = fcmae_config::to_toml(&config).unwrap();
        fs::write(&resolved, &text).unwrap();
        let again = FinetuneConfig::load(&resolved, &[]).unwrap();
        assert_eq!(again, config, "{}", file.display());
        assert_eq!(fcmae_config::to_toml(&again).unwrap(), text, "{}", file.display());
        names.push(config.name);
    }
    // runs of pre-training and of fine-tuning lie in the same folder
    for file in configs("pretrain") {
        names.push(PretrainConfig::load(&file, &[]).unwrap().name);
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count - 1, "{names:?}"); // the two that are only extended are both `imagenet`
}

/// The columns of fact sheet §3.3: base lr, weight decay, layer decay, warm-up, epochs, smoothing, mixup, cutmix, drop
/// path. Base, large and huge at a tenth of the learning rate that the paper prints.
#[test]
fn every_fine_tuning_on_imagenet_is_the_papers() {
    use LayerDecayType::{Group, Single};
    let columns = [
        ("atto", [2e-4, 0.3, 0.9, 0.0, 600.0, 0.2, 0.0, 0.0, 0.1], Single),
        ("femto", [2e-4, 0.05, 0.9, 0.0, 600.0, 0.2, 0.3, 0.3, 0.0], Single),
        ("pico", [2e-4, 0.3, 0.9, 0.0, 600.0, 0.2, 0.3, 0.3, 0.0], Single),
        ("nano", [2e-4, 0.3, 0.9, 0.0, 600.0, 0.2, 0.5, 0.5, 0.1], Single),
        ("tiny", [8e-4, 0.05, 0.9, 40.0, 300.0, 0.1, 0.8, 1.0, 0.2], Single),
        (
            "base",
            [6.25e-4, 0.05, 0.6, 20.0, 100.0, 0.1, 0.8, 1.0, 0.1],
            Group,
        ),
        (
            "large",
            [6.25e-4, 0.05, 0.6, 20.0, 100.0, 0.1, 0.8, 1.0, 0.2],
            Group,
        ),
        (
            "huge",
            [1.25e-4, 0.05, 0.75, 10.0, 50.0, 0.1, 0.8, 1.0, 0.3],
            Single,
        ),
    ];
    for (size, expected, kind) in columns {
        let config = finetune(&format!("imagenet-{size}"));
        let (optimizer, schedule, mix) = (&config.optimizer, &config.schedule, &config.mix);
        let found = [
            optimizer.blr.unwrap(),
            optimizer.weight_decay,
            optimizer.layer_decay,
            schedule.warmup_epochs,
            schedule.epochs as f64,
            mix.smoothing,
            mix.mixup,
            mix.cutmix,
            config.model.drop_path,
        ];
        assert_eq!((found, optimizer.layer_decay_type), (expected, kind), "{size}");
        assert_eq!((config.model.name.as_str(), config.ema.decay), (size, 0.9999));
        assert_eq!(
            (schedule.min_lr, config.head_init_scale, optimizer.betas),
            (1e-6, 0.001, [0.9, 0.999])
        );
        assert_eq!(config.train.batch_size * config.train.accumulate, 1024);
        assert_eq!(config.augment, FinetuneConfig::default().augment);
    }
}

/// Fact sheet §3.4: images per step, base lr, weight decay, layer decay, warm-up, epochs, mixup, drop path, average.
#[test]
fn every_fine_tuning_by_way_of_22k_is_the_papers() {
    let check = |name: &str, expected: [f64; 9]| {
        let config = finetune(name);
        let found = [
            (config.train.batch_size * config.train.accumulate) as f64,
            config.optimizer.blr.unwrap(),
            config.optimizer.weight_decay,
            config.optimizer.layer_decay,
            config.schedule.warmup_epochs,
            config.schedule.epochs as f64,
            config.mix.mixup,
            config.model.drop_path,
            config.ema.decay,
        ];
        assert_eq!(found, expected, "{name}");
        assert_eq!(config.mix.smoothing, 0.1);
        assert_eq!(config.new_head, name.contains("-1k-"));
    };
    for (size, decay, drop_path) in [
        ("nano", 0.9, 0.0),
        ("tiny", 0.9, 0.0),
        ("base", 0.8, 0.1),
        ("large", 0.8, 0.1),
        ("huge", 0.8, 0.3),
    ] {
        let row = [4096.0, 2.5e-4, 0.05, decay, 5.0, 90.0, 0.8, drop_path, 0.0];
        check(&format!("imagenet22k-{size}"), row);
    }
    for (size, decay, epochs, drop_path, ema) in [
        ("nano", 0.9, 90.0, 0.1, 0.9999),
        ("tiny", 0.9, 90.0, 0.1, 0.9999),
        ("base", 0.8, 30.0, 0.2, 0.9999),
        ("large", 0.8, 30.0, 0.3, 0.9999),
        ("huge", 0.85, 30.0, 0.5, 0.0),
    ] {
        let row = [512.0, 2.5e-5, 1e-8, decay, 0.0, epochs, 0.0, drop_path, ema];
        check(&format!("imagenet22k-1k-{size}"), row);
    }
}

fn finetune(name: &str) -> FinetuneConfig {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../configs/finetune")
        .join(format!("{name}.toml"));
    FinetuneConfig::load(&file, &[]).unwrap_or_else(|error| panic!("{error:#}"))
}
