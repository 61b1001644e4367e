//! Bad input: exit code 2, one line that says where, what and what to do, and nothing is written or lost.

use std::fs;

use fcmae_checkpoint::{read_safetensors, write_safetensors};
use fcmae_tests::{Place, Ran, Signal, TINY};

/// Something that is wrong, and what the program says to it.
struct Case {
    what: &'static str,
    /// Makes it wrong.
    setup: fn(&Place),
    args: &'static [&'static str],
    /// Parts of the message.
    says: &'static [&'static str],
}

const RUN: &[&str] = &["pretrain", "tiny.toml"];

/// Runs every case in a place of its own.
fn check(cases: &[Case]) {
    for case in cases {
        let place = Place::new();
        (case.setup)(&place);
        let before = place.snapshot();
        let ran = place.run(case.args);
        assert_refused(case.what, &ran, case.says);
        assert_eq!(place.snapshot(), before, "{}: nothing is written", case.what);
    }
}

/// Exit code 2 and one line on stderr.
fn assert_refused(what: &str, ran: &Ran, says: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{what}: {ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [line] = lines[..] else {
        panic!("{what}: not one line: {ran:?}")
    };
    assert!(line.starts_with("error: "), "{what}: {line}");
    for part in says {
        assert!(line.contains(part), "{what}: no `{part}` in: {line}");
    }
}

/// Replaces a piece of the tiny config.
fn edit(place: &Place, from: &str, to: &str) {
    assert!(TINY.contains(from), "the tiny config has no `{from}`");
    place.write("tiny.toml", TINY.replace(from, to));
}

fn nothing(_: &Place) {}

fn trained(place: &Place) {
    let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
}

#[test]
fn keys_and_values_of_a_config() {
    check(&[
        Case {
            what: "a mistyped key",
            setup: |place| edit(place, "lr = 3e-3", "lrr = 3e-3"),
            args: RUN,
            says: &["tiny.toml:27: unknown key `optimizer.lrr`; did you mean `optimizer.lr`?"],
        },
        Case {
            what: "a mistyped section",
            setup: |place| edit(place, "[schedule]", "[shedule]"),
            args: RUN,
            says: &["tiny.toml:", "unknown key `shedule`; did you mean `schedule`?"],
        },
        Case {
            what: "a mistyped --set",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "train.batchsize=8"],
            says: &[
                "--set train.batchsize=8: unknown key `train.batchsize`; did you mean `train.batch_size`?",
            ],
        },
        Case {
            what: "a --set without a value",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "seed"],
            says: &["--set seed: ", "write --set key.path=value"],
        },
        Case {
            what: "a wrong type",
            setup: |place| edit(place, "epochs = 3", "epochs = \"three\""),
            args: RUN,
            says: &[
                "tiny.toml:30: `schedule.epochs` = \"three\": expected an integer of 0 or more, got a string",
            ],
        },
        Case {
            what: "a wrong type in a list",
            setup: |place| edit(place, "mean = [0.5]", "mean = [true]"),
            args: RUN,
            says: &["tiny.toml:", "`data.mean[0]` = ", "expected a number"],
        },
        Case {
            what: "a wrong type in a --set",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "loss.norm_pix_loss=maybe"],
            says: &[
                "--set loss.norm_pix_loss=maybe",
                "expected true or false, got a string",
            ],
        },
        Case {
            what: "a value out of range",
            setup: |place| edit(place, "lr = 3e-3", "lr = -1.0"),
            args: RUN,
            says: &["tiny.toml:27: `optimizer.lr`: -1.0 is out of range; use a number above 0"],
        },
        Case {
            what: "a --set out of range",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "checkpoint.keep=0"],
            says: &["--set checkpoint.keep=0: `checkpoint.keep`: 0 is out of range; use at least 1"],
        },
        Case {
            what: "a warm-up longer than the run",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "schedule.warmup_epochs=9"],
            says: &[
                "`schedule.warmup_epochs`: 9",
                "`schedule.epochs` = 3",
                "lower it or train longer",
            ],
        },
        Case {
            what: "channels that do not fit",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "model.in_chans=3"],
            says: &["`model.in_chans`: 3, but `data.color` = \"grey\" gives 1 channel(s)"],
        },
        Case {
            what: "stages that do not fit",
            setup: |place| edit(place, "depths = [1, 1, 1, 1]", "depths = [1, 1, 1]"),
            args: RUN,
            says: &["`model.depths` has 3 stages and `model.dims` has 4"],
        },
        Case {
            what: "an unknown device",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "device=tpu"],
            says: &["`device`: \"tpu\" is unknown; use \"auto\", \"cpu\" or \"cuda:0\""],
        },
        Case {
            what: "a name with a slash",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--name", "../tiny"],
            says: &["`name`: \"../tiny\"", "one folder, without slashes"],
        },
    ]);
}

#[test]
fn sizes_and_masks() {
    check(&[
        Case {
            what: "an image size between two multiples of the stride",
            setup: |place| edit(place, "image_size = 32", "image_size = 36"),
            args: RUN,
            says: &[
                "tiny.toml:19: `data.image_size`",
                "height 36",
                "patch size 8",
                "try 32 or 40",
            ],
        },
        Case {
            what: "a width between two multiples of the stride",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "data.image_size=[32, 30]"],
            says: &["width 30", "patch size 8", "try 24 or 32"],
        },
        Case {
            what: "an image size to be verified",
            setup: nothing,
            args: &["verify", "tiny.toml", "--set", "data.image_size=36"],
            says: &["image height 36", "patch size 8", "try 32 or 40"],
        },
        Case {
            what: "an image of a single patch",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "data.image_size=8"],
            says: &[
                "1 patch(es) cannot be masked",
                "use larger images or a smaller patch size",
            ],
        },
        Case {
            what: "a mask that hides everything",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "mask.mask_ratio=0.95"],
            says: &[
                "`mask.mask_ratio` = 0.95 would hide 16 of the 16 patches",
                "at most 0.9375",
            ],
        },
        Case {
            what: "a mask that hides nothing",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "mask.mask_ratio=0"],
            says: &[
                "`mask.mask_ratio` = 0 would hide 0 of the 16 patches",
                "use a value above 0",
            ],
        },
        Case {
            what: "a batch larger than the data set",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "train.batch_size=64"],
            says: &[
                "`train.batch_size`",
                "larger than the 20 training images",
                "lower `train.batch_size`",
            ],
        },
    ]);
}

#[test]
fn files_of_a_config() {
    check(&[
        Case {
            what: "no config",
            setup: nothing,
            args: &["pretrain"],
            says: &["pretrain needs a config file, e.g. `fcmae pretrain configs/pretrain/quickstart.toml`"],
        },
        Case {
            what: "a config that is not there",
            setup: nothing,
            args: &["pretrain", "tinny.toml"],
            says: &["tinny.toml: cannot be read: ", "did you mean tiny.toml?"],
        },
        Case {
            what: "broken TOML",
            setup: |place| place.write("tiny.toml", "seed = 0\nname = \"open\n"),
            args: RUN,
            says: &["tiny.toml:2: "],
        },
        Case {
            what: "a key given twice",
            setup: |place| place.write("tiny.toml", "seed = 0\n\nseed = 1\n"),
            args: RUN,
            says: &["tiny.toml:3: ", "seed"],
        },
        Case {
            what: "a file to extend that is not there",
            setup: |place| place.write("tiny.toml", "extends = \"base.toml\"\n"),
            args: RUN,
            says: &["tiny.toml:1: `extends` names base.toml, which cannot be read"],
        },
        Case {
            what: "files that extend each other",
            setup: |place| {
                place.write("tiny.toml", "extends = \"base.toml\"\n");
                place.write("base.toml", "extends = \"tiny.toml\"\n");
            },
            args: RUN,
            says: &["base.toml:1: `extends` goes in a circle: "],
        },
    ]);
}

#[test]
fn folders_of_images() {
    check(&[
        Case {
            what: "no images given",
            setup: |place| edit(place, "path = \"images\"\n", ""),
            args: RUN,
            says: &["tiny.toml: no images given: set `data.path`"],
        },
        Case {
            what: "a folder that is not there",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "data.path=nowhere"],
            says: &[
                "nowhere: does not exist",
                "`data.path` is an image folder or a manifest",
            ],
        },
        Case {
            what: "a data set that was not fetched",
            setup: |place| edit(place, "path = \"images\"\n", "dataset = \"no-such-set\"\n"),
            args: RUN,
            says: &["data set `no-such-set`", "cargo xtask data"],
        },
        Case {
            what: "an empty folder",
            setup: |place| place.empty("images"),
            args: RUN,
            says: &["images: no images found (files ending in ", "`png`"],
        },
        Case {
            what: "a folder without images",
            setup: |place| {
                place.empty("images");
                place.write("images/notes.txt", "no picture");
            },
            args: RUN,
            says: &["images: no images found (files ending in ", "`png`"],
        },
        Case {
            what: "a file that is neither folder nor manifest",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "data.path=tiny.toml"],
            says: &["tiny.toml: is neither a folder nor a `.csv` file"],
        },
    ]);
}

#[test]
fn places_to_write() {
    check(&[
        Case {
            what: "a file where the output folder should be",
            setup: |place| place.write("runs", "in the way"),
            args: RUN,
            says: &[
                "run folder runs/tiny: Not a directory",
                "choose another `output_dir`",
            ],
        },
        Case {
            what: "a file where the run folder should be",
            setup: |place| place.write("runs/tiny", "in the way"),
            args: RUN,
            says: &[
                "run folder runs/tiny: ",
                "choose another `output_dir` or free the place",
            ],
        },
        Case {
            what: "--resume without a run",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--resume"],
            says: &["run folder runs/tiny holds no checkpoint to resume from; leave out --resume"],
        },
        Case {
            what: "a picture for a folder that is not there",
            setup: trained,
            args: &["reconstruct", "runs/tiny", "images", "-o", "nowhere/all.png"],
            says: &["--output nowhere/all.png: No such file or directory"],
        },
    ]);
}

#[test]
fn checkpoints() {
    check(&[
        Case {
            what: "weights that are not there",
            setup: nothing,
            args: &["reconstruct", "runs/tiny", "images"],
            says: &["runs/tiny: there is no such path; give a run folder"],
        },
        Case {
            what: "a folder without weights",
            setup: nothing,
            args: &["inspect", "images"],
            says: &["images: there are no weights in this folder; give a run folder"],
        },
        Case {
            what: "a file that is no checkpoint",
            setup: |place| place.write("model.safetensors", "these are words and no weights"),
            args: &["inspect", "model.safetensors"],
            says: &["model.safetensors: not a readable safetensors file"],
        },
        Case {
            what: "an empty file",
            setup: |place| place.write("model.safetensors", ""),
            args: &["reconstruct", "model.safetensors", "images"],
            says: &["model.safetensors: the file is empty"],
        },
        Case {
            what: "a truncated checkpoint",
            setup: cut_weights,
            args: &["reconstruct", "cut.safetensors", "images"],
            says: &[
                "cut.safetensors: the file is truncated: it has ",
                " bytes and should have ",
            ],
        },
        Case {
            what: "a truncated checkpoint to inspect",
            setup: cut_weights,
            args: &["inspect", "cut.safetensors"],
            says: &[
                "cut.safetensors: the file is truncated: it has ",
                " bytes and should have ",
            ],
        },
        Case {
            what: "weights of another model",
            setup: |place| foreign_weights(place, "model.dims=[4, 8, 8, 12]"),
            args: &["reconstruct", "foreign.safetensors", "images"],
            says: &[
                "foreign.safetensors: the tensors do not fit the network: ",
                "`encoder.",
                "another model size",
            ],
        },
        Case {
            what: "weights of another decoder",
            setup: |place| foreign_weights(place, "decoder.depth=2"),
            args: &["reconstruct", "foreign.safetensors", "images"],
            says: &[
                "foreign.safetensors: the tensors do not fit the network: ",
                "unexpected (`decoder.1.",
            ],
        },
        Case {
            what: "weights that no run has written",
            setup: |place| {
                trained(place);
                let moments = place.read("runs/tiny/checkpoints/last/optimizer.safetensors");
                place.write("moments.safetensors", moments);
            },
            args: &["reconstruct", "moments.safetensors", "images"],
            says: &["moments.safetensors: these weights do not carry the config of their run"],
        },
        Case {
            what: "a run whose checkpoints are all damaged",
            setup: |place| {
                trained(place);
                for name in place
                    .list("runs/tiny/checkpoints")
                    .iter()
                    .filter(|name| *name != "last")
                {
                    place.truncate(&format!("runs/tiny/checkpoints/{name}/model.safetensors"), 5000);
                }
            },
            args: RUN,
            says: &[
                "runs/tiny/checkpoints: none of the 3 checkpoints can be used; the newest: ",
                "step-00000015/model.safetensors: the file is damaged",
            ],
        },
        Case {
            what: "a patch that is not there",
            setup: trained,
            args: &["reconstruct", "runs/tiny", "images/00.png", "--hide", "3,16"],
            says: &["there is no patch 16 to hide; the grid of 4×4 has the patches 0 to 15"],
        },
        Case {
            what: "a reconstruction from nothing",
            setup: trained,
            args: &["reconstruct", "runs/tiny", "images/00.png", "--mask-ratio", "1"],
            says: &["hide 16 of the 16 patches", "at most 0.9375"],
        },
    ]);
}

fn cut_weights(place: &Place) {
    trained(place);
    let weights = place.read("runs/tiny/checkpoints/last/model.safetensors");
    place.write("cut.safetensors", &weights[..weights.len() - 100]);
}

/// The weights of a changed model under the tiny model's config.
fn foreign_weights(place: &Place, change: &str) {
    trained(place);
    let other = [
        "pretrain",
        "tiny.toml",
        "--quiet",
        "--name",
        "other",
        "--set",
        change,
    ];
    let _ = place.run(&other).ended(0);
    let weights = |run: &str| {
        read_safetensors(place.path(&format!("runs/{run}/checkpoints/last/model.safetensors"))).unwrap()
    };
    let ((_, metadata), (tensors, _)) = (weights("tiny"), weights("other"));
    write_safetensors(place.path("foreign.safetensors"), &tensors, &metadata).unwrap();
}

#[test]
fn a_changed_config_lists_what_differs() {
    check(&[
        Case {
            what: "two other values",
            setup: trained,
            args: &[
                "pretrain",
                "tiny.toml",
                "--set",
                "optimizer.lr=1e-2",
                "--set",
                "seed=1",
            ],
            says: &[
                "run folder runs/tiny was made with another config: ",
                "`optimizer.lr` was 0.003, is 0.01; `seed` was 3, is 1; ",
                "put these back, choose another `name`, or start over with --fresh",
            ],
        },
        Case {
            what: "a key that was not set before",
            setup: trained,
            args: &["pretrain", "tiny.toml", "--set", "data.dataset=elpv"],
            says: &["`data.dataset` was not set, is \"elpv\""],
        },
        Case {
            what: "fewer epochs",
            setup: trained,
            args: &["pretrain", "tiny.toml", "--set", "schedule.epochs=2"],
            says: &["`schedule.epochs` was 3, is 2"],
        },
        Case {
            what: "other images",
            setup: |place| {
                trained(place);
                for i in 0..6 {
                    fs::remove_file(place.path(&format!("images/{i:02}.png"))).unwrap();
                }
            },
            args: RUN,
            says: &["the training images: were 20 (", "), are 15 ("],
        },
    ]);
}

/// Breaks two images: one ends early, the other is none.
fn break_images(place: &Place) {
    place.truncate("images/05.png", 60);
    place.write("images/11.png", "no image");
}

#[test]
fn a_broken_image_is_named_and_costs_no_step() {
    let undisturbed = Place::new();
    trained(&undisturbed);
    for name in ["images/05.png", "images/11.png"] {
        let place = Place::new();
        let whole = place.read(name);
        place.truncate(name, 60);
        let ran = place.run(&["pretrain", "tiny.toml", "--quiet"]);
        assert_refused(name, &ran, &[&format!("{name}: cannot decode: ")]);
        place.write(name, whole);
        let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
        assert_eq!(
            place.left("runs/tiny").model,
            undisturbed.left("runs/tiny").model,
            "{name}"
        );
    }
}

#[test]
fn a_broken_image_to_reconstruct_is_named() {
    check(&[
        Case {
            what: "a file that ends early",
            setup: |place| {
                trained(place);
                break_images(place);
            },
            args: &["reconstruct", "runs/tiny", "images/05.png"],
            says: &["images/05.png: cannot decode: "],
        },
        Case {
            what: "a file that is no image",
            setup: |place| {
                trained(place);
                break_images(place);
            },
            args: &["reconstruct", "runs/tiny", "images/11.png"],
            says: &["images/11.png: ", "understood are JPEG, PNG"],
        },
        Case {
            what: "a file that is not there",
            setup: trained,
            args: &["reconstruct", "runs/tiny", "nowhere.png"],
            says: &["nowhere.png: does not exist"],
        },
    ]);
}

#[test]
fn broken_images_are_skipped_and_counted_where_that_is_asked_for() {
    let place = Place::new();
    break_images(&place);
    let skip = [
        "pretrain",
        "tiny.toml",
        "--set",
        "data.on_error=skip",
        "--set",
        "data.val_fraction=0",
    ];
    let ran = place.run(&skip).ended(0);
    for name in ["images/05.png", "images/11.png"] {
        let warning = format!("warning: image left out: {name}: ");
        let count = ran
            .stderr
            .lines()
            .filter(|line| line.starts_with(&warning))
            .count();
        assert_eq!(count, 1, "{name}: {ran:?}");
    }
    assert!(ran.stderr.contains(" · 2 images skipped"), "{ran:?}");
    let metrics = place.metrics("runs/tiny");
    let epochs = metrics.iter().filter(|line| line["kind"] == "epoch");
    let skipped: Vec<_> = epochs.map(|line| line["skipped"].as_u64()).collect();
    assert_eq!(skipped, [Some(2); 3]);
}

#[test]
fn nothing_but_broken_images_cannot_be_skipped() {
    let place = Place::new();
    for name in place.list("images") {
        place.write(&format!("images/{name}"), "no image");
    }
    let ran = place.run(&["pretrain", "tiny.toml", "--quiet", "--set", "data.on_error=skip"]);
    let last = ran.stderr.lines().last().unwrap_or_default();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        last.starts_with(
            "error: none of the 20 images can be used (`data.on_error` = \"skip\"); one of them: images/"
        ),
        "{ran:?}"
    );
}

#[test]
fn a_run_folder_belongs_to_one_process() {
    let place = Place::new();
    let long = [
        "pretrain",
        "tiny.toml",
        "--quiet",
        "--set",
        "schedule.epochs=100000",
    ];
    let mut first = place.start(&long);
    assert!(first.wait_until(|| place.steps("runs/tiny") > 0));
    let second = place.run(&long);
    let process = first.id();
    assert_refused(
        "in use",
        &second,
        &[&format!(
            "run folder runs/tiny is in use by process {process}; wait for it, stop it, or choose another `name`"
        )],
    );
    let before = place.steps("runs/tiny");
    assert!(
        first.wait_until(|| place.steps("runs/tiny") > before),
        "the first one goes on"
    );
    first.signal(Signal::KILL);
    let _ = first.finish();
    // a dead process holds nothing
    let mut third = place.start(&long);
    let before = place.steps("runs/tiny");
    assert!(third.wait_until(|| place.steps("runs/tiny") > before));
    third.signal(Signal::TERM);
    let _ = third.finish().ended(75);
}
