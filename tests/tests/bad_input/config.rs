//! Configs: keys, values, sizes, masks, files.

use fcmae_tests::Place;

use super::{Case, Group, RUN, edit, nothing};

pub(super) const KEYS_AND_VALUES_OF_A_CONFIG: Group = Group {
    title: "Keys and values of a config",
    place: Place::new,
    cases: &[
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
    ],
};

#[test]
fn keys_and_values_of_a_config() {
    KEYS_AND_VALUES_OF_A_CONFIG.check();
}

pub(super) const SIZES_AND_MASKS: Group = Group {
    title: "Sizes and masks",
    place: Place::new,
    cases: &[
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
            says: &[
                "`data.image_size`: image height 36",
                "patch size 8",
                "try 32 or 40",
            ],
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
    ],
};

#[test]
fn sizes_and_masks() {
    SIZES_AND_MASKS.check();
}

pub(super) const FILES_OF_A_CONFIG: Group = Group {
    title: "Files of a config",
    place: Place::new,
    cases: &[
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
    ],
};

#[test]
fn files_of_a_config() {
    FILES_OF_A_CONFIG.check();
}
