//! Checkpoints and run folders: damaged, foreign, changed, in use, in the way.

use std::fs;

use fcmae_checkpoint::{read_safetensors, write_safetensors};
use fcmae_tests::{Place, Signal};

use super::{Case, Group, RUN, assert_refused, nothing, trained};

pub(super) const PLACES_TO_WRITE: Group = Group {
    title: "Places to write to",
    place: Place::new,
    cases: &[
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
            what: "a place where nobody may write",
            setup: nothing,
            args: &["pretrain", "tiny.toml", "--set", "output_dir=/proc/runs"],
            says: &[
                "run folder /proc/runs/tiny: ",
                "choose another `output_dir` or free the place",
            ],
        },
        Case {
            what: "a replay of a run that refused no step",
            setup: trained,
            args: &["replay", "runs/tiny"],
            says: &["runs/tiny: no step of this run was refused, so there is none to replay"],
        },
        Case {
            what: "a folder where a config should be",
            setup: nothing,
            args: &["pretrain", "images"],
            says: &["images: a folder without a config.toml; give a config file or the folder of a run"],
        },
        Case {
            what: "more checkpoints than the disk holds, planned",
            setup: nothing,
            args: &[
                "plan",
                "tiny.toml",
                "--set",
                "checkpoint.keep=1000000",
                "--set",
                "model.dims=[64, 128, 256, 512]",
            ],
            says: &[
                "run folder runs/tiny: the disk has ",
                " free and this run needs about ",
                "lower `checkpoint.keep`",
            ],
        },
        Case {
            what: "a batch that does not fit, planned",
            setup: nothing,
            args: &[
                "plan",
                "tiny.toml",
                "--set",
                "train.batch_size=16",
                "--memory",
                "20",
            ],
            says: &[
                "`train.batch_size`: 16 images would take about ",
                " MiB of the 20 there are; ",
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
    ],
};

#[test]
fn places_to_write() {
    PLACES_TO_WRITE.check();
}

pub(super) const CHECKPOINTS: Group = Group {
    title: "Checkpoints",
    place: Place::new,
    cases: &[
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
            what: "damaged weights, to be used",
            setup: |place| {
                trained(place);
                place.truncate("runs/tiny/checkpoints/last/model.safetensors", 5000);
            },
            args: &["reconstruct", "runs/tiny", "images"],
            says: &[
                "step-00000015/model.safetensors: the file is damaged: its SHA-256 is not the one recorded",
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
            says: &["--mask-ratio 1: ", "hide 16 of the 16 patches", "at most 0.9375"],
        },
    ],
};

#[test]
fn checkpoints() {
    CHECKPOINTS.check();
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

pub(super) const A_CHANGED_CONFIG_LISTS_WHAT_DIFFERS: Group = Group {
    title: "A run with another config or other images",
    place: Place::new,
    cases: &[
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
                "`optimizer.lr` was 0.003, is 0.01 (--retune goes on with it); `seed` was 3, is 1; ",
                "put these back, choose another `name`, or start over with --fresh",
            ],
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
    ],
};

#[test]
fn a_changed_config_lists_what_differs() {
    A_CHANGED_CONFIG_LISTS_WHAT_DIFFERS.check();
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
