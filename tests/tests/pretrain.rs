//! A run from its first step to its folder, and the same command again.

use fcmae_tests::{Left, Place, Ran};

const RUN: [&str; 2] = ["pretrain", "tiny.toml"];

fn ran(place: &Place, args: &[&str]) -> Ran {
    place.run(args).ended(0)
}

fn number(object: &serde_json::Value, key: &str) -> f64 {
    let number = object[key].as_f64().filter(|number| number.is_finite());
    number.unwrap_or_else(|| panic!("{key} is no finite number: {object}"))
}

#[test]
fn a_run_leaves_the_folder_that_the_design_describes() {
    let place = Place::new();
    let done = ran(&place, &["pretrain", "tiny.toml", "--json"]);
    let summary = done.json();
    assert_eq!(summary["ending"], "finished");
    assert_eq!((number(&summary, "step"), number(&summary, "epoch")), (15.0, 3.0));
    let (first, last) = (
        number(&summary, "first_held_out_loss"),
        number(&summary, "held_out_loss"),
    );
    assert!(last < first, "held-out loss {first} → {last}");
    let first = done.stderr.lines().next().unwrap_or_default();
    assert!(first.contains(" · f32 · cpu, 1 thread, kernels: "), "{first}");
    assert!(
        done.stderr.contains("epoch 3/3") && done.stderr.contains("next      fcmae reconstruct runs/tiny")
    );

    let names = place.list("runs/tiny");
    for name in [
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "provenance.json",
        "reconstructions",
        "report.html",
    ] {
        assert!(
            names.iter().any(|found| found == name),
            "{name} is not in {names:?}"
        );
    }
    let is_events = |name: &&String| name.starts_with("events.out.tfevents.");
    assert_eq!(names.iter().filter(is_events).count(), 1, "{names:?}");
    assert_eq!(
        place.list("runs/tiny/checkpoints"),
        ["best", "last", "step-00000012", "step-00000014", "step-00000015"]
    );
    assert_eq!(
        place.list("runs/tiny/checkpoints/last"),
        [
            "best.json",
            "checksums",
            "model.safetensors",
            "optimizer.safetensors",
            "state.json"
        ]
    );
    // epoch 2, and the last one
    assert_eq!(
        place.list("runs/tiny/reconstructions"),
        ["epoch-0002.png", "epoch-0003.png"]
    );
    let picture = image::open(place.path("runs/tiny/reconstructions/epoch-0003.png")).unwrap();
    assert!(
        picture.width() >= 3 * 32 && picture.height() >= 2 * 32,
        "{:?}",
        picture.color()
    );
}

#[test]
fn metrics_have_a_line_for_each_step_and_each_epoch() {
    let place = Place::new();
    let summary = ran(&place, &["pretrain", "tiny.toml", "--json", "--quiet"]).json();
    let lines = place.metrics("runs/tiny");
    let (epochs, steps): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line["kind"] == "epoch");
    let counted = |lines: &[&serde_json::Value], key: &str| -> Vec<u64> {
        lines.iter().map(|line| line[key].as_u64().unwrap()).collect()
    };
    assert_eq!(counted(&steps, "step"), (1..=15).collect::<Vec<_>>());
    assert_eq!(counted(&epochs, "epoch"), [1, 2, 3]);
    assert_eq!(counted(&epochs, "skipped"), [0, 0, 0]);
    for step in &steps {
        assert!(
            number(step, "loss") > 0.0 && number(step, "loss_smoothed") > 0.0 && number(step, "lr") >= 0.0
        );
    }
    assert_eq!(epochs[2]["val_loss"], summary["held_out_loss"]);
    assert_eq!(epochs[0]["val_loss"], summary["first_held_out_loss"]);
}

#[test]
fn stdout_is_for_programs_and_stderr_for_people() {
    let place = Place::new();
    let normal = ran(&place, &RUN);
    assert_eq!(normal.stdout, "");
    assert!(
        !normal.stderr.contains('\u{1b}') && !normal.stderr.contains('\r'),
        "{normal:?}"
    );
    let quiet = ran(&place, &["pretrain", "tiny.toml", "--name", "other", "--quiet"]);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

#[test]
fn a_finished_run_says_so_and_does_nothing() {
    let place = Place::new();
    let _ = ran(&place, &RUN);
    let before = place.snapshot();
    let again = ran(&place, &["pretrain", "tiny.toml", "--json"]);
    assert_eq!(again.json()["ending"], "already_finished");
    assert!(
        again
            .stderr
            .contains("this run was finished before (3 epochs); more `schedule.epochs` extend it"),
        "{again:?}"
    );
    assert_eq!(place.snapshot(), before);
}

#[test]
fn more_epochs_extend_a_run() {
    let place = Place::new();
    let _ = ran(&place, &RUN);
    let before = place.left("runs/tiny");
    let more = ran(
        &place,
        &["pretrain", "tiny.toml", "--json", "--set", "schedule.epochs=5"],
    );
    assert_eq!(more.json()["resumed_from"], 15);
    assert!(more.stderr.contains("extended from 3 to 5 epochs"), "{more:?}");
    let after = place.left("runs/tiny");
    assert_eq!(after.metrics.len(), 25 + 5);
    assert_eq!(after.metrics[..before.metrics.len()], before.metrics);
    assert_ne!(after.tensors, before.tensors);
    assert!(after.pictures.contains_key("epoch-0005.png"), "{after:?}");
}

#[test]
fn fresh_starts_over_under_a_new_name() {
    let place = Place::new();
    let _ = ran(&place, &RUN);
    let before = place.left("runs/tiny");
    let _ = ran(&place, &["pretrain", "tiny.toml", "--fresh"]);
    assert_eq!(place.left("runs/tiny"), before);
    assert_eq!(place.left("runs/tiny-2").model, before.model);
}

/// Runs the tiny config, then its resolved config under the name `again` with `changes`, and compares.
fn check_repeats(changes: &[&str]) {
    let place = Place::new();
    let _ = ran(&place, &RUN);
    let again = [&["pretrain", "runs/tiny/config.toml", "--name", "again"], changes].concat();
    let _ = ran(&place, &again);
    let (first, second) = (place.left("runs/tiny"), place.left("runs/again"));
    // state and config name the run and its workers; nothing else differs, to the byte
    let but_for_the_config = |left: Left| (left.model, left.optimizer, left.metrics, left.pictures);
    assert_eq!(
        but_for_the_config(first),
        but_for_the_config(second),
        "{changes:?}"
    );
}

#[test]
fn the_resolved_config_repeats_the_run() {
    check_repeats(&[]);
}

#[test]
fn the_number_of_data_workers_changes_nothing() {
    check_repeats(&["--set", "data.workers=2", "--set", "data.prefetch=1"]);
    check_repeats(&["--set", "data.workers=5", "--set", "data.cache=memory"]);
}

#[test]
fn the_same_config_in_another_place_makes_the_same_files() {
    let (here, there) = (Place::new(), Place::new());
    let _ = ran(&here, &RUN);
    there.write("saved.toml", here.text("runs/tiny/config.toml"));
    let _ = ran(&there, &["pretrain", "saved.toml"]);
    assert_eq!(here.left("runs/tiny"), there.left("runs/tiny"));
}

#[test]
fn another_seed_makes_another_run() {
    let place = Place::new();
    let _ = ran(&place, &RUN);
    let _ = ran(
        &place,
        &["pretrain", "tiny.toml", "--name", "other", "--set", "seed=4"],
    );
    assert_ne!(place.left("runs/other").tensors, place.left("runs/tiny").tensors);
}
