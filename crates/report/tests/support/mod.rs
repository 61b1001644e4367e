//! Run folders as training leaves them, with something in every part.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

/// Text that does harm where it is not escaped.
pub(crate) const EVIL: &str = "</script></style><img src=x onerror=alert(1)>\"'&";

/// The folder of a finished run, four epochs of ten steps, with three sheets of two images.
pub(crate) fn run(home: &Path, name: &str) -> PathBuf {
    let folder = home.join(name);
    fs::create_dir_all(folder.join("reconstructions")).unwrap();
    fs::write(folder.join("config.toml"), config(name)).unwrap();
    fs::write(folder.join("metrics.jsonl"), metrics(4)).unwrap();
    let provenance = json!({
        "task": "pretrain",
        "command": format!("fcmae pretrain a.toml --set 'note={EVIL}'"),
        "network": "atto · 3.7 M parameters",
        "images": "20 images",
        "machine": [["device", "cpu"], ["processor", EVIL]],
        "origins": {"optimizer.lr": "a.toml:7", "note": format!("--set note={EVIL}")},
    });
    fs::write(folder.join("provenance.json"), provenance.to_string()).unwrap();
    for epoch in [1, 2, 4u8] {
        let file = folder.join(format!("reconstructions/epoch-{epoch:04}.png"));
        sheet(40 * epoch).save(file).unwrap();
    }
    folder
}

pub(crate) fn config(name: &str) -> String {
    let config = json!({
        "name": name, "note": EVIL, "optimizer": {"lr": 1e-3}, "schedule": {"epochs": 4}, "data": {"image_size": 16},
    });
    toml::to_string(&config).unwrap()
}

/// Lines of steps and of `epochs` epochs; with a gap, measures, and numbers that no page knows.
pub(crate) fn metrics(epochs: u32) -> String {
    let mut text = String::new();
    for step in 1..=10 * epochs {
        let x = f64::from(step);
        let loss = (step != 5).then(|| 1.0 / x);
        let line = json!({
            "kind": "step", "step": step, "epoch": x / 10.0, "loss": loss, "loss_smoothed": 1.1 / x, "lr": 1e-3 / x,
            "grad_norm": 100.0 / x, "images_per_second": 50.0 + x, "data_wait": 0.01,
        });
        writeln!(text, "{line}").unwrap();
        if step.is_multiple_of(10) {
            let epoch = step / 10;
            let measures = json!({"loss": 0.5 / x, "top1": 0.5 + x / 100.0, "macro_f1": 0.4, "auroc": null});
            let line = json!({
                "kind": "epoch", "step": step, "epoch": epoch, "train_loss": 1.0 / x, "val_loss": 0.9 / x,
                "val": measures, "val_ema": measures, "lr": 1e-3, "skipped": 0, "seconds": 12.5,
                "monitor": {"images": 20, "hidden_distance": 3.0 * x, "blocks": ["stages.0.0", "stages.0.1", "stages.1.0"],
                            "effective_rank": [1, x, 3], "layers": {"gelu": [0.1, 0.2, x / 100.0], "grn": [0.3, null, 0.1]},
                            "dead": {"stem": 0.0, EVIL: 0.1}},
            });
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

/// A sheet of two images of 16 px, enlarged four times; the predictions are of this grey.
fn sheet(grey: u8) -> image::RgbImage {
    let cell = 4 * 16 + 4;
    image::RgbImage::from_fn(3 * cell + 4, 2 * cell + 4, |x, y| {
        let is_gap = x % cell < 4 || y % cell < 4;
        let column = x / cell;
        image::Rgb(
            [if is_gap {
                255
            } else if column == 2 {
                grey
            } else {
                10
            }; 3],
        )
    })
}

/// A matrix of two axes; one cell has no run yet.
pub(crate) const MATRIX: &str = r#"{
    "title": "Mask & <decoder>",
    "axes": ["mask.mask_ratio", "decoder.kind"],
    "measures": [
        {"key": "loss", "label": "held-out loss", "better": "lower"},
        {"key": "top1", "label": "top-1", "unit": "%", "better": "higher"}
    ],
    "cells": [
        {"name": "low-unet", "values": {"mask.mask_ratio": 0.3, "decoder.kind": "unet"},
         "seeds": [{"seed": 0, "measures": {"loss": 0.5, "top1": 70.0}}, {"seed": 1, "measures": {"loss": 0.7, "top1": 72.0}}]},
        {"name": "high-unet", "values": {"mask.mask_ratio": 0.6, "decoder.kind": "unet"},
         "seeds": [{"seed": 0, "measures": {"loss": 0.4, "top1": null}}], "published": {"ImageNet top-1": 83.7}},
        {"name": "low-convnext", "values": {"mask.mask_ratio": 0.3, "decoder.kind": "convnext"},
         "seeds": [{"seed": 0, "measures": {"loss": 0.45, "top1": 80.0}}]},
        {"name": "high-convnext", "values": {"mask.mask_ratio": 0.6, "decoder.kind": "convnext"}}
    ]
}"#;
