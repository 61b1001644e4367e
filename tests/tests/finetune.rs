//! `fcmae finetune`: it learns, survives kills, begins with a pre-training run, and refuses what it cannot use.

use fcmae_tests::{Place, Ran, Signal, TINY};
use serde_json::Value;

/// A classifier that trains in seconds: 48 training images of two classes, 16 held out, 6 steps an epoch.
const CLASSIFIER: &str = r#"seed = 3
device = "cpu"
threads = 1
head_init_scale = 1.0

[model]
name = "tiny test"
depths = [1, 1, 1, 1]
dims = [4, 8, 8, 16]
stem_stride = 1
in_chans = 1
drop_path = 0.1

[data]
path = "bars"
image_size = 32
color = "grey"
mean = [0.2]
std = [0.3]
val_fraction = 0.25
workers = 1

[augment]
crop = "resized"
scale = [0.8, 1.0]
rand_augment = ""
reprob = 0.0

[optimizer]
lr = 5e-3
layer_decay = 0.9

[schedule]
epochs = 20
warmup_epochs = 1

[train]
batch_size = 8

[ema]
decay = 0.8

[checkpoint]
every_steps = 2
keep = 3

[log]
every_steps = 1
"#;

const RUN: [&str; 4] = ["finetune", "bars.toml", "--json", "--quiet"];

/// A place with upright and level bars in `bars/<class>/` and [`CLASSIFIER`] in `bars.toml`.
fn place() -> Place {
    let place = Place::new();
    for class in ["level", "upright"] {
        for i in 0..32u32 {
            let bar = i * 7 % 24;
            let picture = image::GrayImage::from_fn(32, 32, |x, y| {
                let along = if class == "level" { y } else { x };
                image::Luma([if (bar..bar + 6).contains(&along) {
                    230
                } else {
                    (i % 11) as u8
                }])
            });
            let mut png = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
            place.write(&format!("bars/{class}/{i:02}.png"), png.into_inner());
        }
    }
    place.write("bars.toml", CLASSIFIER);
    place
}

/// The files that must not depend on interruptions, and the metrics.
fn left(place: &Place) -> (Vec<Vec<u8>>, Vec<Value>) {
    let files = [
        "last/model.safetensors",
        "last/optimizer.safetensors",
        "last/ema.safetensors",
        "last/best.json",
        "last/state.json",
        "best/model.safetensors",
        "best-ema/model.safetensors",
    ];
    let read = |name: &&str| place.read(&format!("runs/bars/checkpoints/{name}"));
    (files.iter().map(read).collect(), place.metrics("runs/bars"))
}

#[test]
fn it_learns_what_it_has_not_seen_and_says_where_the_best_weights_are() {
    let place = place();
    let ran = place.run(&["finetune", "bars.toml", "--json"]).ended(0);
    let summary = ran.json();
    assert_eq!(summary["ending"], "finished");
    let best = &summary["finetuned"]["best"];
    let top1 = best["measures"]["top1"].as_f64().unwrap();
    assert!(top1 >= 0.875, "chance is 0.5: {summary}");
    assert_eq!(best["weights"], "runs/bars/checkpoints/best/model.safetensors");
    assert!(
        ran.stderr.contains("2 classes") && ran.stderr.contains("(level 24, upright 24)"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("fcmae predict runs/bars/checkpoints/best-ema/model.safetensors"),
        "{ran:?}"
    );
    assert_eq!(
        place.list("runs/bars/checkpoints/last"),
        [
            "best.json",
            "checksums",
            "ema.safetensors",
            "model.safetensors",
            "optimizer.safetensors",
            "state.json"
        ]
    );
    let epochs: Vec<Value> = place
        .metrics("runs/bars")
        .into_iter()
        .filter(|line| line["kind"] == "epoch")
        .collect();
    assert_eq!(epochs.len(), 20);
    assert!(
        epochs
            .iter()
            .all(|line| line["val"]["top1"].is_f64() && line["val_ema"]["auroc"].is_f64())
    );

    let before = place.snapshot();
    let again = place.run(&RUN).ended(0).json();
    assert_eq!(again["ending"], "already_finished");
    assert_eq!(again["finetuned"], summary["finetuned"]);
    assert_eq!(place.snapshot(), before);

    // what it wrote is what the other verbs read
    let weights = "runs/bars/checkpoints/best/model.safetensors";
    let evaluated = place
        .run(&["evaluate", weights, "--data", "bars", "--json"])
        .ended(0);
    assert!(evaluated.stdout.contains("upright"), "{evaluated:?}");
}

#[test]
fn killed_again_and_again_it_ends_with_the_same_bits() {
    let undisturbed = place();
    let _ = undisturbed.run(&RUN).ended(0);
    let place = place();
    for step in [3, 9, 16, 31, 84] {
        let mut running = place.start(&RUN);
        let step = step.max(place.steps("runs/bars") + 1);
        assert!(
            running.wait_until(|| place.steps("runs/bars") >= step),
            "over before step {step}"
        );
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, None);
    }
    assert!(place.run(&RUN).ended(0).json()["resumed_from"].as_u64() > Some(0));
    assert!(left(&place) == left(&undisturbed));
}

#[test]
fn sigterm_saves_and_exits_with_75() {
    let place = place();
    let mut running = place.start(&RUN);
    assert!(running.wait_until(|| place.steps("runs/bars") >= 7));
    running.signal(Signal::TERM);
    assert_eq!(running.finish().ended(75).json()["ending"], "stopped");
    let _ = place.run(&[&RUN[..], &["--resume"]].concat()).ended(0);
    let undisturbed = self::place();
    let _ = undisturbed.run(&RUN).ended(0);
    assert!(left(&place) == left(&undisturbed));
}

#[test]
fn it_begins_with_a_pre_training_run_and_says_what_is_new() {
    let place = place();
    place.write("tiny.toml", TINY);
    let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
    let args = [
        "finetune",
        "bars.toml",
        "--set",
        "init=runs/tiny",
        "--set",
        "schedule.epochs=2",
    ];
    let ran = place.run(&args).ended(0);
    for words in ["begins with runs/tiny/checkpoints/", "norm.weight", "head.bias"] {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
}

/// One line on stderr that has all `words`, exit code 2, nothing left behind.
fn check_refused(place: &Place, set: &[&str], words: &[&str]) {
    let mut args = vec!["finetune", "bars.toml"];
    args.extend(set.iter().flat_map(|set| ["--set", *set]));
    let before = place.snapshot();
    let ran: Ran = place.run(&args).ended(2);
    assert_eq!(
        (ran.stderr.lines().count(), ran.stdout.as_str()),
        (1, ""),
        "{ran:?}"
    );
    for word in words {
        assert!(ran.stderr.contains(word), "{word}: {ran:?}");
    }
    assert_eq!(place.snapshot(), before, "{set:?}");
}

#[test]
fn what_cannot_be_used_is_named_in_one_line() {
    let place = place();
    place.write(
        "labels.csv",
        "path,kind\nbars/level/00.png,a\nbars/upright/00.png,b\n",
    );
    place.write("broken.safetensors", "no weights");
    check_refused(
        &place,
        &["freeze=['stage.0.*']"],
        &["`freeze`", "stage.0.*", "fits no parameter"],
    );
    check_refused(&place, &["init=runs/gone"], &["`init`", "runs/gone"]);
    check_refused(&place, &["init=broken.safetensors"], &["broken.safetensors"]);
    check_refused(&place, &["data.path=labels.csv"], &["labels.csv", "label"]);
    check_refused(
        &place,
        &["optimizer.layer_decai=0.5"],
        &["did you mean `optimizer.layer_decay`?"],
    );
    check_refused(
        &place,
        &["optimizer.layer_decay=1.5"],
        &["--set optimizer.layer_decay=1.5"],
    );
    check_refused(
        &place,
        &["loss.class_weights=[1.0]"],
        &["`loss.class_weights`", "level, upright"],
    );
    check_refused(
        &place,
        &["selection.patience=3", "data.val_fraction=0.0"],
        &["`selection.patience`"],
    );
    check_refused(
        &place,
        &["augment.rand_augment=rand-x"],
        &["augment.rand_augment"],
    );
    std::fs::create_dir(place.path("bars/none")).unwrap();
    check_refused(&place, &[], &["none"]);
}

#[test]
fn weights_of_more_classes_need_a_new_head() {
    let place = place();
    let _ = place
        .run(&[&RUN[..], &["--set", "schedule.epochs=1"]].concat())
        .ended(0);
    for i in 0..8 {
        let bytes = place.read(&format!("bars/level/{i:02}.png"));
        place.write(&format!("bars/third/{i:02}.png"), bytes);
    }
    let set = ["init=runs/bars", "name=three", "schedule.epochs=1"];
    check_refused(
        &place,
        &set,
        &["`init`", "is for 2 classes, the data has 3", "`new_head` = true"],
    );
    let mut args = vec!["finetune", "bars.toml", "--quiet"];
    args.extend(
        set.iter()
            .chain(&["new_head=true"])
            .flat_map(|set| ["--set", *set]),
    );
    let _ = place.run(&args).ended(0);
}
