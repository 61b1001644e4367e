//! Stopped anywhere and started again: the same bits as a run that was left alone.
//!
//! Nothing here waits for a time: a run is interrupted when its own files show how far it is.

use std::fs;

use fcmae_tests::{Left, Place, Running, Signal, program};

/// 30 steps; a checkpoint after every second one.
const RUN: [&str; 6] = [
    "pretrain",
    "tiny.toml",
    "--set",
    "schedule.epochs=6",
    "--json",
    "--quiet",
];
/// 3 batches make a step: the 20 training images give one step of 12 images an epoch, so 12 steps.
const WINDOWS: [&str; 10] = [
    "pretrain",
    "tiny.toml",
    "--set",
    "train.accumulate=3",
    "--set",
    "schedule.epochs=12",
    "--set",
    "checkpoint.every_epochs=5",
    "--json",
    "--quiet",
];

fn undisturbed(args: &[&str]) -> Left {
    let place = Place::new();
    let _ = place.run(args).ended(0);
    place.left("runs/tiny")
}

/// Waits until the run has logged `step`. A run that was through before that proves nothing.
fn reach(place: &Place, running: &mut Running, step: u64) {
    assert!(
        running.wait_until(|| place.steps("runs/tiny") >= step),
        "the run ended before it could be interrupted at step {step}"
    );
}

/// Kills a run each time it gets to one of these steps, then lets it finish.
fn check_killed(args: &[&str], at: &[u64]) {
    let expected = undisturbed(args);
    let place = Place::new();
    for &step in at {
        let mut running = place.start(args);
        reach(&place, &mut running, step.max(place.steps("runs/tiny") + 1));
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, None, "killed at step {step}");
    }
    let reached = place.steps("runs/tiny");
    let summary = place.run(args).ended(0).json();
    assert!(
        summary["resumed_from"]
            .as_u64()
            .is_some_and(|step| 0 < step && step <= reached),
        "killed after step {reached}: {summary}"
    );
    assert_eq!(place.left("runs/tiny"), expected);
}

#[test]
fn killed_early_in_the_middle_and_late() {
    check_killed(&RUN, &[3, 9, 16, 23]);
}

#[test]
fn killed_again_and_again() {
    check_killed(&RUN, &[2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
}

/// A step's line appears when its window is done, so the kill falls into the next window, before a checkpoint.
#[test]
fn killed_inside_an_accumulation_window() {
    check_killed(&WINDOWS, &[3, 5, 7, 9]);
}

/// Checkpoints after every step: most of the time of such a run is spent on writing them.
#[test]
fn killed_while_a_checkpoint_is_written() {
    let args = [&RUN[..], &["--set", "checkpoint.every_steps=1"]].concat();
    let expected = undisturbed(&args);
    let place = Place::new();
    let checkpoints = place.path("runs/tiny/checkpoints");
    let is_staged = || {
        let names = fs::read_dir(&checkpoints).into_iter().flatten().flatten();
        names
            .into_iter()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(".staging"))
    };
    for _ in 0..4 {
        let mut running = place.start(&args);
        reach(&place, &mut running, place.steps("runs/tiny") + 2);
        assert!(
            running.wait_until(is_staged),
            "no checkpoint was seen while it was written"
        );
        running.signal(Signal::KILL);
        assert_eq!(running.finish().code, None);
    }
    let _ = place.run(&args).ended(0);
    assert_eq!(place.left("runs/tiny"), expected); // and no half-written checkpoint is left
}

#[test]
fn killed_before_the_first_checkpoint_it_begins_again() {
    let expected = undisturbed(&RUN);
    let place = Place::new();
    let mut running = place.start(&RUN);
    assert!(running.wait_until(|| place.path("runs/tiny/.lock").exists()));
    running.signal(Signal::KILL);
    assert_eq!(running.finish().code, None);
    let _ = place.run(&RUN).ended(0);
    assert_eq!(place.left("runs/tiny"), expected);
}

/// A signal ends the run with 75 and a checkpoint at the last whole step.
fn check_stopped(args: &[&str], signal: Signal) {
    let expected = undisturbed(args);
    let place = Place::new();
    for step in [2, 7] {
        let mut running = place.start(args);
        reach(&place, &mut running, step);
        running.signal(signal);
        let summary = running.finish().ended(75).json();
        assert_eq!(summary["ending"], "stopped", "{summary}");
        let stopped = place.steps("runs/tiny");
        assert!(
            stopped >= step && summary["step"] == stopped,
            "{stopped}: {summary}"
        );
        let state: serde_json::Value =
            serde_json::from_str(&place.text("runs/tiny/checkpoints/last/state.json")).unwrap();
        assert_eq!(state["step"], stopped, "no step is lost");
    }
    let resumed = [args, &["--resume"]].concat();
    let stopped = place.steps("runs/tiny");
    assert_eq!(place.run(&resumed).ended(0).json()["resumed_from"], stopped);
    // The checkpoints that a signal added push older ones out: all else is equal.
    let but_for_the_kept = |left: Left| Left {
        checkpoints: Vec::new(),
        ..left
    };
    assert_eq!(
        but_for_the_kept(place.left("runs/tiny")),
        but_for_the_kept(expected)
    );
}

#[test]
fn sigterm_saves_and_exits_with_75() {
    check_stopped(&RUN, Signal::TERM);
}

#[test]
fn sigusr1_saves_and_exits_with_75() {
    check_stopped(&RUN, Signal::USR1);
}

#[test]
fn ctrl_c_saves_and_exits_with_75() {
    check_stopped(&RUN, Signal::INT);
}

#[test]
fn sigterm_inside_an_accumulation_window() {
    check_stopped(&WINDOWS, Signal::TERM);
}

#[test]
fn people_are_told_that_the_same_command_continues() {
    let place = Place::new();
    let mut running = place.start(&RUN[..4]);
    reach(&place, &mut running, 3);
    running.signal(Signal::TERM);
    let ran = running.finish().ended(75);
    assert_eq!(ran.stdout, "");
    for words in ["stopped and saved at step", "the same command continues"] {
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    }
}

/// A checkpoint that the disk has damaged costs the steps since the one before it, and no bit.
#[test]
fn a_damaged_checkpoint_is_passed_over_with_a_warning() {
    let place = Place::new();
    let _ = place.run(&RUN).ended(0);
    let expected = place.left("runs/tiny");
    place.truncate("runs/tiny/checkpoints/last/model.safetensors", 3000);
    let ran = place.run(&RUN).ended(0);
    assert_eq!(ran.json()["resumed_from"], 28);
    assert!(
        ran.stderr.starts_with(
            "warning: runs/tiny/checkpoints/step-00000030/model.safetensors: the file is damaged"
        ),
        "{ran:?}"
    );
    assert_eq!(place.left("runs/tiny"), expected);
}

/// Whatever happens to a file of the newest checkpoint, the one before it is taken, and that is said.
#[test]
fn any_damaged_file_of_a_checkpoint_costs_steps_and_no_bit() {
    let place = Place::new();
    let _ = place.run(&RUN).ended(0);
    let expected = place.left("runs/tiny");
    for name in place.list("runs/tiny/checkpoints/last") {
        let file = format!("runs/tiny/checkpoints/last/{name}");
        let whole = place.read(&file);
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for damaged in [&flipped[..], &whole[..whole.len() / 2]] {
            place.write(&file, damaged);
            let ran = place.run(&RUN).ended(0);
            assert!(
                ran.stderr.starts_with("warning: ")
                    && ran.stderr.contains("going back to the checkpoint of step 28"),
                "{name}: {ran:?}"
            );
            assert_eq!(place.left("runs/tiny"), expected, "{name}");
        }
    }
}

/// Killed at random moments, in the middle of writing too: what is carried on leaves what an undisturbed one leaves.
#[test]
fn kills_at_random_moments_lose_nothing() {
    let place = Place::new();
    let program = program().to_str().expect("a path in UTF-8");
    let chaos = [
        "chaos",
        "--kills",
        "5",
        "--seed",
        "7",
        "--json",
        "--program",
        program,
    ];
    let found = place.run_xtask(&chaos).ended(0).json();
    let victims = found["victims"].as_array().unwrap();
    let kills = |victim: &serde_json::Value| [victim["kills"].as_u64(), victim["survived"].as_u64()];
    assert_eq!(
        victims.iter().map(kills).collect::<Vec<_>>(),
        [[Some(2); 2], [Some(1); 2], [Some(1); 2], [Some(1); 2]],
        "{found}"
    );
    // the same pre-training, killed anywhere or while it writes
    assert_eq!(victims[0]["sha256"], victims[1]["sha256"]);
}

/// A disk that fills up in the middle costs the steps since the last checkpoint, and no bit.
#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    let expected = undisturbed(&RUN);
    let place = Place::new();
    let mut running = place.start(&RUN);
    reach(&place, &mut running, 5);
    running.signal(Signal::KILL);
    let _ = running.finish();
    // without what the kill left, which the next start removes, and the best weights, which may be on the disk already
    let checkpoints = || {
        let mut names = place.list("runs/tiny/checkpoints");
        names.retain(|name| name.starts_with("step-"));
        names
    };
    let before = checkpoints();
    let size = place.read("runs/tiny/checkpoints/last/model.safetensors").len();

    let full = place.run_with_file_limit((size / 1024) as u32, &RUN).ended(2);
    // that the report does not fit either is a warning at most
    let errors = full
        .stderr
        .lines()
        .filter(|line| !line.starts_with("warning: no report: "));
    assert_eq!(errors.count(), 1, "{full:?}");
    for words in [
        "error: the run stops at step",
        "model.safetensors: cannot be written: File too large",
    ] {
        assert!(full.stderr.contains(words), "{words}: {full:?}");
    }
    assert_eq!(checkpoints(), before);

    let _ = place.run(&RUN).ended(0);
    assert_eq!(place.left("runs/tiny"), expected);
}
