//! `fcmae finetune`: it learns, survives kills, begins with a pre-training run, and refuses what it cannot use.

use fcmae_tests::{Place, Signal, TINY};
use serde_json::Value;

const RUN: [&str; 4] = ["finetune", "bars.toml", "--json", "--quiet"];

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
    let place = Place::with_bars();
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
    // and with pictures in colour: the stem is adapted
    let colour = ["color=\"rgb\"", "mean=[0.2, 0.2, 0.2]", "std=[0.3, 0.3, 0.3]"];
    let mut args = vec!["predict", weights, "bars/level/00.png"];
    let colour = colour.map(|set| format!("data.{set}"));
    args.extend(colour.iter().flat_map(|set| ["--set", set]));
    let predicted = place.run(&args).ended(0);
    assert!(predicted.stderr.contains("repeated to 3"), "{predicted:?}");
}

#[test]
fn killed_again_and_again_it_ends_with_the_same_bits() {
    let undisturbed = Place::with_bars();
    let _ = undisturbed.run(&RUN).ended(0);
    let place = Place::with_bars();
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
    let place = Place::with_bars();
    let mut running = place.start(&RUN);
    assert!(running.wait_until(|| place.steps("runs/bars") >= 7));
    running.signal(Signal::TERM);
    assert_eq!(running.finish().ended(75).json()["ending"], "stopped");
    let _ = place.run(&[&RUN[..], &["--resume"]].concat()).ended(0);
    let undisturbed = Place::with_bars();
    let _ = undisturbed.run(&RUN).ended(0);
    assert!(left(&place) == left(&undisturbed));
}

#[test]
fn it_begins_with_a_pre_training_run_and_says_what_is_new() {
    let place = Place::with_bars();
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

#[test]
fn weights_of_more_classes_need_a_new_head() {
    let place = Place::with_bars();
    let _ = place
        .run(&[&RUN[..], &["--set", "schedule.epochs=1"]].concat())
        .ended(0);
    for i in 0..8 {
        let bytes = place.read(&format!("bars/level/{i:02}.png"));
        place.write(&format!("bars/third/{i:02}.png"), bytes);
    }
    let set = ["init=runs/bars", "name=three", "schedule.epochs=1"];
    let mut args = vec!["finetune", "bars.toml", "--quiet"];
    args.extend(set.iter().flat_map(|set| ["--set", *set]));
    let refused = place.run(&args).ended(2);
    for words in ["`init`", "is for 2 classes, the data has 3", "`new_head` = true"] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    args.extend(["--set", "new_head=true"]);
    let _ = place.run(&args).ended(0);
}

#[test]
fn a_step_that_was_refused_is_run_again() {
    let place = Place::with_bars();
    let run = [
        "finetune",
        "bars.toml",
        "--quiet",
        "--set",
        "optimizer.lr=1e30",
        "--set",
        "schedule.warmup_epochs=0",
    ];
    let failed = place.run(&run).ended(1);
    assert_eq!(failed.stderr.lines().count(), 1, "{failed:?}");
    assert!(
        failed
            .stderr
            .contains("`fcmae replay runs/bars` runs the step again"),
        "{failed:?}"
    );
    let before = place.snapshot();
    let replay = place.run(&["replay", "runs/bars", "--json"]).ended(0).json();
    assert_eq!(
        replay["batches"][0]["images"].as_array().unwrap().len(),
        8,
        "{replay}"
    );
    assert!(
        failed.stderr.contains(replay["problem"].as_str().unwrap()),
        "{replay}"
    );
    assert!(
        replay["first"].is_string() && replay["gradients"].as_array().unwrap().len() > 20,
        "{replay}"
    );
    let text = place.run(&["replay", "runs/bars"]).ended(0).stdout;
    assert!(text.contains("now       first not finite: "), "{text}");
    assert_eq!(place.snapshot(), before, "looking changes nothing");
}
