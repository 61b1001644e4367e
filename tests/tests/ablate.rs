//! `cargo xtask ablate`: it survives kills, runs what is shared once, goes on after a failure, and its files are valid.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fcmae::trainer::{FinetuneConfig, PretrainConfig};
use fcmae_tests::{Place, Ran, Signal, TINY, program};

/// Two cells, each with two seeds: pre-trained, fine-tuned, measured.
const MATRIX: &str = r#"title = "Mini"
published = ["ImageNet, paper"]

[quick]
pretrain = "configs/tiny.toml"
finetune = "configs/bars.toml"
seeds = 2
measures = ["loss", "top1", "auroc"]

[[axes]]
name = "mask ratio"
key = "pretrain.mask.mask_ratio"
values = [{ value = 0.5, published = 83.7 }, 0.75]
"#;

const CLASSIFIER: &str = r#"device = "cpu"
threads = 1
head_init_scale = 1.0
[model]
name = "tiny test"
depths = [1, 1, 1, 1]
dims = [4, 8, 8, 16]
stem_stride = 1
in_chans = 1
[data]
path = "bars"
image_size = 32
color = "grey"
mean = [0.2]
std = [0.3]
val_fraction = 0.25
workers = 1
[augment]
rand_augment = ""
[schedule]
epochs = 2
warmup_epochs = 1
[train]
batch_size = 8
"#;

/// A place with labelled images in `bars/`, the configs of [`MATRIX`], and that itself in `mini.toml`.
fn place() -> Place {
    let place = Place::new();
    for class in ["level", "upright"] {
        for i in 0..16u32 {
            let picture = image::GrayImage::from_fn(32, 32, |x, y| {
                let along = if class == "level" { y } else { x };
                image::Luma([if (i..i + 6).contains(&along) { 230 } else { 9 }])
            });
            let mut png = std::io::Cursor::new(Vec::new());
            picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
            place.write(&format!("bars/{class}/{i:02}.png"), png.into_inner());
        }
    }
    place.write("configs/tiny.toml", TINY);
    place.write("configs/bars.toml", CLASSIFIER);
    place.write("mini.toml", MATRIX);
    place
}

fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let program = program().to_str().expect("a path in UTF-8");
    [&["ablate", "mini.toml", "--quick", "--program", program], more].concat()
}

/// The table, on the screen and as CSV.
fn table(place: &Place, ran: &Ran) -> (String, String) {
    (
        ran.stdout.clone(),
        place.text("runs/ablations/mini-quick/results.csv"),
    )
}

/// How often the program was started for a verb.
fn started(ran: &Ran, verb: &str) -> usize {
    let commands = ran.stderr.lines().filter(|line| line.starts_with("$ "));
    commands
        .filter(|line| line.contains(&format!("fcmae {verb} ")))
        .count()
}

#[test]
fn killed_at_random_it_ends_with_the_same_table() {
    let undisturbed = place();
    let began = Instant::now();
    let ran = undisturbed.run_xtask(&args(&[])).ended(0);
    let whole = began.elapsed();
    assert_eq!(started(&ran, "pretrain"), 4, "{ran:?}");
    let expected = table(&undisturbed, &ran);
    assert!(
        expected.0.contains("mask ratio") && expected.0.contains("83.7"),
        "{ran:?}"
    );

    let place = place();
    let random = RandomState::new();
    for kill in 0..4_u64 {
        let share = (random.hash_one(kill) % 1000) as f64 / 1000.0;
        let mut running = place.start_xtask(&args(&[]));
        let until = Instant::now() + Duration::from_secs_f64(whole.as_secs_f64() * 0.5 * share);
        if !running.wait_until(|| Instant::now() >= until) {
            break; // it was done before
        }
        // with what it has started, and alone: then its last run goes on, and the next `ablate` waits for it
        if kill % 2 == 0 {
            running.kill_group();
        } else {
            running.signal(Signal::KILL);
        }
        let _ = running.finish();
    }
    let ran = place.run_xtask(&args(&[])).ended(0);
    assert_eq!(table(&place, &ran), expected, "{ran:?}");

    let again = place.run_xtask(&args(&[])).ended(0);
    for verb in ["pretrain", "finetune", "evaluate"] {
        assert_eq!(started(&again, verb), 0, "nothing is left to run: {again:?}");
    }
    assert_eq!(table(&place, &again), expected);
}

#[test]
fn sigterm_is_handed_on_and_exits_with_75() {
    let place = place();
    let longer = TINY.replace("\nepochs = 3", "\nepochs = 60");
    place.write("configs/tiny.toml", longer);
    let mut running = place.start_xtask(&args(&["--only", "*0.5", "--seeds", "1"]));
    let run = "runs/ablations/mini-quick/mask-ratio-0.5/seed-0/pretrain";
    assert!(running.wait_until(|| place.steps(run) >= 2));
    running.signal(Signal::TERM);
    let ran = running.finish().ended(75);
    assert!(
        ran.stderr.ends_with("stopped; the same command continues\n"),
        "{ran:?}"
    );
    assert!(place.path(&format!("{run}/checkpoints/last/state.json")).exists());
    let ran = place
        .run_xtask(&args(&["--only", "*0.5", "--seeds", "1"]))
        .ended(0);
    assert_eq!(
        (started(&ran, "pretrain"), started(&ran, "evaluate")),
        (1, 1),
        "{ran:?}"
    );
}

/// Equal settings are one run, in whichever cell and matrix; other settings are another one, and it is said.
#[test]
fn what_is_shared_runs_once_and_what_changed_runs_again() {
    let place = place();
    let two =
        "values = [{ label = \"plain\" }, { label = \"smoothed\", finetune = { mix.smoothing = 0.1 } }]\n";
    let head = MATRIX.split("key = ").next().unwrap();
    place.write("mini.toml", format!("{head}{two}"));
    let only = |more: &[&'static str]| args(&[&["--seeds", "1"], more].concat());
    let ran = place.run_xtask(&only(&["--dry-run"])).ended(0);
    assert!(
        ran.stdout
            .contains("pretrain shared, finetune to do, evaluate to do"),
        "{ran:?}"
    );
    let ran = place.run_xtask(&only(&[])).ended(0);
    assert_eq!(
        (started(&ran, "pretrain"), started(&ran, "finetune")),
        (1, 2),
        "{ran:?}"
    );

    let other = format!("{head}{two}").replace("\"configs/", "\"../configs/");
    place.write("other/other.toml", other);
    let mut of_other = only(&[]);
    of_other[1] = "other/other.toml";
    let ran = place.run_xtask(&of_other).ended(0);
    assert_eq!(
        (started(&ran, "pretrain"), started(&ran, "finetune")),
        (0, 0),
        "{ran:?}"
    );
    assert!(
        place
            .text("runs/ablations/other-quick/results.csv")
            .contains("smoothed")
    );
    assert!(!place.path("runs/ablations/other-quick/smoothed").exists());

    place.write(
        "configs/bars.toml",
        CLASSIFIER.replace("batch_size = 8", "batch_size = 4"),
    );
    let ran = place.run_xtask(&only(&["--only", "plain"])).ended(0);
    assert_eq!(
        (started(&ran, "pretrain"), started(&ran, "finetune")),
        (0, 1),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("the settings have changed since the last finetune"),
        "{ran:?}"
    );
    assert!(
        place
            .path("runs/ablations/mini-quick/plain/seed-0/finetune-2/config.toml")
            .exists()
    );
}

#[test]
fn a_cell_that_diverges_is_told_and_the_others_go_on() {
    let place = place();
    let head = MATRIX.split("key = ").next().unwrap();
    let values = "values = [{ label = \"mad\", pretrain.optimizer.lr = 1e30 }, { label = \"sane\" }]\n";
    place.write(
        "mini.toml",
        format!("{head}{values}").replace(", \"top1\", \"auroc\"", ""),
    );
    let ran = place.run_xtask(&args(&["--seeds", "1"])).ended(1);
    assert!(
        ran.stderr.contains("error: failed: mad/seed-0: pretrain"),
        "{ran:?}"
    );
    let rows: Vec<&str> = ran.stdout.lines().skip(2).collect();
    assert!(rows[0].contains("failed") && rows[1].contains("0."), "{ran:?}");
}

#[test]
fn what_cannot_be_used_is_named_in_one_line() {
    let place = place();
    let before = place.snapshot();
    let check = |text: &str, more: &[&str], words: &[&str]| {
        place.write("mini.toml", text);
        let ran = place.run_xtask(&args(more)).ended(2);
        assert_eq!(
            (ran.stderr.lines().count(), ran.stdout.as_str()),
            (1, ""),
            "{ran:?}"
        );
        for word in words {
            assert!(ran.stderr.contains(word), "{word}: {ran:?}");
        }
    };
    check(
        &MATRIX.replace("seeds", "seed"),
        &[],
        &["mini.toml:7", "did you mean `quick.seeds`?"],
    );
    check(
        &MATRIX.replace("auroc", "aurok"),
        &[],
        &["`quick.measures`", "did you mean \"auroc\"?"],
    );
    check(
        &MATRIX.replace("0.75", "{ valeu = 3 }"),
        &[],
        &["mini.toml:10", "did you mean `axes.value`?"],
    );
    check(
        &MATRIX.replace("mask_ratio\"", "mask_ration\""),
        &[],
        &["mask-ratio-0.5", "did you mean `mask.mask_ratio`?"],
    );
    check(
        &MATRIX.replace("0.75", "1.75"),
        &[],
        &["mask-ratio-1.75", "mask.mask_ratio"],
    );
    check(
        &MATRIX.replace("tiny.toml", "tini.toml"),
        &[],
        &["tini.toml", "did you mean configs/tiny.toml?"],
    );
    check(
        &MATRIX.replace("[quick]", "[full]"),
        &[],
        &["mini.toml", "no profile [quick]"],
    );
    check(
        MATRIX,
        &["--only", "nothing"],
        &["--only nothing", "mask-ratio-0.5, mask-ratio-0.75"],
    );
    place.write("mini.toml", MATRIX);
    assert_eq!(place.snapshot(), before, "nothing is left behind");
}

/// Matrix files of the checkout.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/ablations");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

/// Every config that a matrix of the checkout would train is one that the program takes. A stand-in for the program
/// notes what it is asked to check: each check by the program itself would load libtorch anew.
#[test]
fn every_cell_of_every_matrix_validates() {
    let place = Place::new();
    let log = "printf '%s\\t' \"$@\" >> log; printf '\\n' >> log\n";
    let script =
        format!("#!/bin/sh\n{log}[ \"$1\" != bench-step ] || echo '{{\"images_per_second\": 100}}'\n");
    place.write("program", script);
    fs::set_permissions(place.path("program"), fs::Permissions::from_mode(0o755)).unwrap();
    for file in files() {
        let file = file.to_str().unwrap();
        for profile in [&["--quick"][..], &[]] {
            let args = [&["ablate", file, "--dry-run", "--program", "./program"], profile].concat();
            let ran = place.run_xtask(&args).ended(0);
            assert!(ran.stdout.contains(" to go ("), "{ran:?}");
        }
    }
    let (text, mut checked) = (place.text("log"), 0);
    for line in text.lines().filter(|line| line.contains("--dry-run")) {
        let words: Vec<&str> = line.split('\t').collect();
        let set = words.windows(2).filter(|pair| pair[0] == "--set");
        let set: Vec<String> = set.map(|pair| pair[1].to_owned()).collect();
        let file = Path::new(words[1]);
        let result = match words[0] {
            "pretrain" => PretrainConfig::load(file, &set).map(drop),
            "finetune" => FinetuneConfig::load(file, &set).map(drop),
            verb => panic!("{verb} is not checked"),
        };
        result.unwrap_or_else(|error| panic!("{line}: {error:#}"));
        checked += 1;
    }
    assert!(checked > 100, "{checked}");
}
