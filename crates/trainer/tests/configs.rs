//! Every file in `configs/` resolves, validates, and is unchanged by resolving it again.

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_trainer::PretrainConfig;

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
