//! Weights to begin with and to use: files that hold none or others, pictures and results that have no place.

use fcmae_tests::Place;

use super::{Case, Group, nothing, trained};

pub(super) const WEIGHTS_TO_BEGIN_WITH: Group = Group {
    title: "Weights to begin with",
    place: || Place::with_bars().and_classifier(),
    cases: &[
        Case {
            what: "a file that is not there",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "init=gone.pth"],
            says: &["error: `init`: gone.pth: there is no such file"],
        },
        Case {
            what: "a folder without weights",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "init=bars"],
            says: &["`init`: bars: there are no weights in this folder; give a run folder"],
        },
        Case {
            what: "words",
            setup: |place| place.write("words.pth", "these are words and no weights"),
            args: &["finetune", "bars.toml", "--set", "init=words.pth"],
            says: &[
                "words.pth: not a readable safetensors file: it begins neither as one nor as a PyTorch checkpoint",
            ],
        },
        Case {
            what: "a web page",
            setup: |place| place.write("page.pth", "<!DOCTYPE html><html>log in</html>"),
            args: &["finetune", "bars.toml", "--set", "init=page.pth"],
            says: &[
                "page.pth: this is a web page, not a safetensors file; its download has failed; fetch it again",
            ],
        },
        Case {
            what: "a picture",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "init=images/00.png"],
            says: &["images/00.png: this is a PNG image, not a safetensors file"],
        },
        Case {
            what: "a file that was cut off",
            setup: |place| place.truncate("model.pth", 20_000),
            args: &["finetune", "bars.toml", "--set", "init=model.pth"],
            says: &["model.pth: not a readable PyTorch checkpoint: the archive is damaged or cut off"],
        },
        Case {
            what: "another size, and other classes",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "init=model.pth"],
            says: &[
                "`init` = model.pth (ConvNeXt V2 of its own size: depths [1, 1, 2, 1], dims [8, 16, 24, 32], ",
                "the tensors do not fit the network: ",
            ],
        },
        Case {
            what: "other classes",
            setup: nothing,
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "init=model.pth",
                "--set",
                "model.depths=[1, 1, 2, 1]",
                "--set",
                "model.dims=[8, 16, 24, 32]",
                "--set",
                "model.stem_stride=4",
            ],
            says: &[
                "`init`: model.pth is for 10 classes, the data has 2; give a file for 2, or set `new_head` = true",
            ],
        },
    ],
};

#[test]
fn weights_to_begin_with() {
    WEIGHTS_TO_BEGIN_WITH.check();
}

pub(super) const WEIGHTS_TO_USE: Group = Group {
    title: "Weights to use",
    place: || Place::with_bars().and_classifier(),
    cases: &[
        Case {
            what: "a list without pictures",
            setup: nothing,
            args: &["predict", "model.pth", "-"],
            says: &["there are no pictures; give a picture, a folder, a manifest `.csv`, or a list on stdin"],
        },
        Case {
            what: "a folder without pictures",
            setup: |place| place.empty("images"),
            args: &["predict", "model.pth", "images"],
            says: &["images: no images found (files ending in "],
        },
        Case {
            what: "a size between two multiples of the stride",
            setup: nothing,
            args: &["predict", "model.pth", "images", "--set", "data.image_size=225"],
            says: &[
                "`data.image_size`: image height 225 is not a multiple of the patch size 32",
                "try 224 or 256",
            ],
        },
        Case {
            what: "pictures without pixels",
            setup: nothing,
            args: &["embed", "model.pth", "images", "--set", "data.image_size=0"],
            says: &["`data.image_size` = [0, 0]: sides must be from 1 to 65536 pixels"],
        },
        Case {
            what: "a mean for one channel of three",
            setup: nothing,
            args: &["predict", "model.pth", "images", "--set", "data.mean=[0.5]"],
            says: &["`data.mean` = [0.5]: `data.color` = \"rgb\" needs 3 finite number(s)"],
        },
        Case {
            what: "weights without a head",
            setup: trained,
            args: &["predict", "runs/tiny", "images"],
            says: &["these weights have no head, so they name no classes; fine-tune them first"],
        },
        Case {
            what: "a config to inspect",
            setup: nothing,
            args: &["inspect", "bars.toml"],
            says: &[
                "bars.toml: not a readable safetensors file: it begins neither as one nor as a PyTorch checkpoint",
            ],
        },
    ],
};

#[test]
fn weights_to_use() {
    WEIGHTS_TO_USE.check();
}

pub(super) const LABELLED_PICTURES_TO_MEASURE_ON: Group = Group {
    title: "Labelled pictures to measure on",
    place: || Place::with_bars().and_classifier(),
    cases: &[
        Case {
            what: "no data",
            setup: nothing,
            args: &["evaluate", "model.pth"],
            says: &["no images given: set `data.path` to an image folder, a manifest `.csv` or tar shards"],
        },
        Case {
            what: "pictures without labels",
            setup: nothing,
            args: &["evaluate", "model.pth", "--data", "images"],
            says: &["images: no labels: no image lies in a sub-folder"],
        },
        Case {
            what: "other classes than the weights have",
            setup: nothing,
            args: &["evaluate", "model.pth", "--data", "bars"],
            says: &["model.pth has 10 classes and bars has 2; name the classes of the weights"],
        },
        Case {
            what: "a part that is not there",
            setup: |place| {
                for part in ["train", "test"] {
                    let picture = place.read("bars/level/00.png");
                    place.write(&format!("parts/{part}/level/00.png"), picture);
                }
            },
            args: &["evaluate", "model.pth", "--data", "parts", "--split", "val"],
            says: &["parts: no split `val` (`data.split`); found `test` and `train`"],
        },
        Case {
            what: "a probe of one class",
            setup: |place| {
                for i in 0..4 {
                    let part = if i < 2 { "train" } else { "test" };
                    let picture = place.read(&format!("bars/level/0{i}.png"));
                    place.write(&format!("parts/{part}/level/0{i}.png"), picture);
                }
            },
            args: &["probe", "model.pth", "--data", "parts"],
            says: &["`labels.classes`: there is only one class, \"level\", in parts"],
        },
        Case {
            what: "a probe of the pictures it was trained on",
            setup: nothing,
            args: &["probe", "model.pth", "--data", "bars"],
            says: &["`test_split`: \"test\" gives images that are trained on, such as bars/level/00.png"],
        },
    ],
};

#[test]
fn labelled_pictures_to_measure_on() {
    LABELLED_PICTURES_TO_MEASURE_ON.check();
}

pub(super) const PLACES_FOR_RESULTS: Group = Group {
    title: "Places for results",
    place: || Place::with_bars().and_classifier(),
    cases: &[
        Case {
            what: "features in a format that is not written",
            setup: nothing,
            args: &["embed", "model.pth", "images", "-o", "a.txt"],
            says: &["--output a.txt: features are written as .safetensors or .npy"],
        },
        Case {
            what: "stages in a file of one tensor",
            setup: nothing,
            args: &["embed", "model.pth", "images", "--stages", "-o", "a.npy"],
            says: &["--output a.npy: a .npy holds one tensor; write the stages to a .safetensors"],
        },
        Case {
            what: "features in a folder that is not there",
            setup: nothing,
            args: &["embed", "model.pth", "images", "-o", "no/a.npy"],
            says: &["--output no/a.npy: there is no such folder; make it first"],
        },
        Case {
            what: "a report in a file's place",
            setup: |place| {
                ten(place);
                place.write("report", "in the way");
            },
            args: &["evaluate", "model.pth", "--data", "ten.csv", "-o", "report"],
            says: &["--output report: File exists (os error 17); choose another folder"],
        },
        Case {
            what: "a part of data that has none",
            setup: ten,
            args: &["evaluate", "model.pth", "--data", "ten.csv", "--split", "val"],
            says: &["--split val: ten.csv has no parts; leave it out to measure all of its images"],
        },
    ],
};

/// One picture of each of the ten classes of `model.pth`.
fn ten(place: &Place) {
    let pictures = (0..10).map(|i| format!("bars/level/{i:02}.png,{i}\n"));
    place.write("ten.csv", format!("path,label\n{}", pictures.collect::<String>()));
}

#[test]
fn places_for_results() {
    PLACES_FOR_RESULTS.check();
}

/// Neither a line nor a file is left of pictures none of which can be read.
#[test]
fn pictures_none_of_which_can_be_read() {
    let place = Place::with_bars().and_classifier();
    place.write("words.png", "no picture");
    for verb in ["predict", "embed"] {
        let ran = place.run(&[verb, "model.pth", "words.png", "gone.png"]).ended(2);
        let last = ran.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(
                "error: none of the 2 pictures can be read: words.png: not an image of a known format"
            ),
            "{ran:?}"
        );
        assert_eq!(ran.stdout, "");
    }
    let blank = place
        .run_reading("\n  \n\n", &["predict", "model.pth", "-"])
        .ended(2);
    assert!(
        blank.stderr.starts_with("error: there are no pictures; "),
        "{blank:?}"
    );
}
