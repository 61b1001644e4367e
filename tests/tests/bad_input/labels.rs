//! Labels: folders and manifests that do not give them, classes that do not fit, settings of fine-tuning.

use fcmae_tests::Place;

use super::{Case, Group, nothing};

/// Two labelled images in a manifest that is not as it should be.
fn manifest(place: &Place, text: &str) {
    let text = text
        .replace("A.png", "bars/level/00.png")
        .replace("B.png", "bars/upright/00.png");
    place.write("labels.csv", text);
}

const FROM_MANIFEST: &[&str] = &["finetune", "bars.toml", "--set", "data.path=labels.csv"];

pub(super) const MANIFESTS: Group = Group {
    title: "Manifests",
    place: Place::with_bars,
    cases: &[
        Case {
            what: "no column of labels",
            setup: |place| manifest(place, "path,kind\nA.png,a\nB.png,b\n"),
            args: FROM_MANIFEST,
            says: &["error: labels.csv: no column `label`; the header has `path` and `kind`"],
        },
        Case {
            what: "a mistyped column",
            setup: |place| manifest(place, "path,kind\nA.png,a\nB.png,b\n"),
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "data.path=labels.csv",
                "--set",
                "labels.columns=['kin']",
            ],
            says: &["labels.csv: no column `kin` (did you mean `kind`?); the header has"],
        },
        Case {
            what: "an image without a label",
            setup: |place| manifest(place, "path,label\nA.png,a\nB.png,\n"),
            args: FROM_MANIFEST,
            says: &[
                "labels.csv: line 3: no label: the column `label` is empty; label the image or take it out",
            ],
        },
        Case {
            what: "a label that is no class",
            setup: |place| manifest(place, "path,label\nA.png,good\nB.png,god\n"),
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "data.path=labels.csv",
                "--set",
                "labels.classes=['good', 'bad']",
            ],
            says: &[
                "line 3: label `god` is not a class (did you mean `good`?); the classes are `good` and `bad`",
            ],
        },
        Case {
            what: "an image with two labels",
            setup: |place| manifest(place, "path,label\nA.png,a\nB.png,b\nA.png,b\n"),
            args: FROM_MANIFEST,
            says: &["line 4: `bars/level/00.png` has another label on line 2; keep one"],
        },
        Case {
            what: "one class alone",
            setup: |place| manifest(place, "path,label\nA.png,a\nB.png,a\n"),
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "data.path=labels.csv",
                "--set",
                "data.val_fraction=0",
                "--set",
                "train.batch_size=2",
            ],
            says: &["there is only one class in labels.csv; there must be two to tell apart"],
        },
        Case {
            what: "another encoding",
            setup: |place| place.write("labels.csv", b"path,label\na.png,\xe9t\xe9\n"),
            args: FROM_MANIFEST,
            says: &["labels.csv: line 2: not valid UTF-8; save the table in that encoding"],
        },
        Case {
            what: "semicolons",
            setup: |place| manifest(place, "path;label\nA.png;a\nB.png;b\n"),
            args: FROM_MANIFEST,
            says: &["labels.csv: line 1: the columns are separated by ';'; separate them by commas"],
        },
    ],
};

#[test]
fn manifests() {
    MANIFESTS.check();
}

const SOFT: &[&str] = &[
    "finetune",
    "bars.toml",
    "--set",
    "data.path=labels.csv",
    "--set",
    "labels.kind=soft",
    "--set",
    "labels.columns=['p', 'q']",
];

pub(super) const NUMBERS_AS_LABELS: Group = Group {
    title: "Numbers as labels",
    place: Place::with_bars,
    cases: &[
        Case {
            what: "a probability above 1",
            setup: |place| manifest(place, "path,p,q\nA.png,0,1\nB.png,1.5,0\n"),
            args: SOFT,
            says: &["labels.csv: line 3: `p` = 1.5 is no number from 0 to 1"],
        },
        Case {
            what: "a negative probability",
            setup: |place| manifest(place, "path,p,q\nA.png,0,1\nB.png,1,-0.5\n"),
            args: SOFT,
            says: &["line 3: `q` = -0.5 is no number from 0 to 1"],
        },
        Case {
            what: "a probability that is no number",
            setup: |place| manifest(place, "path,p,q\nA.png,0,1\nB.png,nan,0\n"),
            args: SOFT,
            says: &["line 3: `p` = nan is no number from 0 to 1"],
        },
        Case {
            what: "probabilities that do not sum to 1",
            setup: |place| manifest(place, "path,p,q\nA.png,0.2,0.7\nB.png,0,1\n"),
            args: SOFT,
            says: &["line 2: the probabilities of the classes sum to 0.9000, not to 1"],
        },
        Case {
            what: "probabilities of a folder",
            setup: nothing,
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "labels.kind=soft",
                "--set",
                "labels.columns=['p', 'q']",
            ],
            says: &[
                "bars: an image folder gives classes by its sub-folders;",
                "need a manifest `.csv`",
            ],
        },
        Case {
            what: "several labels without their columns",
            setup: |place| manifest(place, "path,p,q\nA.png,0,1\nB.png,1,1\n"),
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "data.path=labels.csv",
                "--set",
                "labels.kind=multi_label",
            ],
            says: &["`labels.columns` = []: soft and multi-label targets need the names of their columns"],
        },
        Case {
            what: "a column of several labels that is not there",
            setup: |place| manifest(place, "path,p,q\nA.png,0,1\nB.png,1,1\n"),
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "data.path=labels.csv",
                "--set",
                "labels.kind=multi_label",
                "--set",
                "labels.columns=['p', 'r']",
            ],
            says: &["labels.csv: no column `r`; the header has `path`, `p` and `q`"],
        },
    ],
};

#[test]
fn numbers_as_labels() {
    NUMBERS_AS_LABELS.check();
}

pub(super) const FOLDERS_OF_CLASSES: Group = Group {
    title: "Folders of classes",
    place: Place::with_bars,
    cases: &[
        Case {
            what: "a class without images",
            setup: |place| {
                place.write("bars/none/notes.txt", "");
            },
            args: &["finetune", "bars.toml"],
            says: &["error: bars/none: a class folder without images; fill or remove it"],
        },
        Case {
            what: "images that lie in no class",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "data.path=images"],
            says: &[
                "images: no labels: no image lies in a sub-folder;",
                "a column `label`",
            ],
        },
        Case {
            what: "a folder that is no class",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "labels.classes=['level', 'up']"],
            says: &["bars/upright: not a class; the classes are `level` and `up`"],
        },
    ],
};

#[test]
fn folders_of_classes() {
    FOLDERS_OF_CLASSES.check();
}

pub(super) const SETTINGS_OF_FINE_TUNING: Group = Group {
    title: "Settings of fine-tuning",
    place: Place::with_bars,
    cases: &[
        Case {
            what: "labels.fraction=0",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "labels.fraction=0"],
            says: &["`labels.fraction` = 0: must be above 0 and at most 1"],
        },
        Case {
            what: "labels.fraction=0.001",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "labels.fraction=0.001"],
            says: &["larger than the 2 training images; lower `train.batch_size`"],
        },
        Case {
            what: "loss.class_weights=[1.0]",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "loss.class_weights=[1.0]"],
            says: &["`loss.class_weights`: 1 weights for 2 classes (level, upright); give one for each"],
        },
        Case {
            what: "loss.class_weights=[1.0, -2.0]",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "loss.class_weights=[1.0, -2.0]"],
            says: &[
                "`loss.class_weights`: [1.0, -2.0] is out of range; use \"none\", \"balanced\" or numbers above 0",
            ],
        },
        Case {
            what: "optimizer.layer_decay=1.5",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "optimizer.layer_decay=1.5"],
            says: &[
                "`optimizer.layer_decay`: 1.5 is out of range; use a number above 0 and at most 1 (1 = off)",
            ],
        },
        Case {
            what: "optimizer.layer_decai=0.5",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "optimizer.layer_decai=0.5"],
            says: &["did you mean `optimizer.layer_decay`?"],
        },
        Case {
            what: "freeze=['stage.0.*']",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "freeze=['stage.0.*']"],
            says: &["`freeze`: \"stage.0.*\" fits no parameter; they have names such as"],
        },
        Case {
            what: "freeze=['*']",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "freeze=['*']"],
            says: &["`freeze`: [\"*\"] leaves nothing to train; let at least \"head.*\" free"],
        },
        Case {
            what: "augment.rand_augment=rand-x",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "augment.rand_augment=rand-x"],
            says: &["augment.rand_augment"],
        },
        Case {
            what: "mix.smoothing=1.0",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "mix.smoothing=1.0"],
            says: &["`mix.smoothing` = 1: must be at least 0 and below 1"],
        },
        Case {
            what: "data.image_size=33",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "data.image_size=33"],
            says: &["`data.image_size`: image height 33 is not a multiple of the patch size 8"],
        },
        Case {
            what: "selection.metric=f1",
            setup: nothing,
            args: &["finetune", "bars.toml", "--set", "selection.metric=f1"],
            says: &["expected one of `top1`, `loss`, `macro_f1`, `auroc`, `map`"],
        },
        Case {
            what: "nothing to mix with",
            setup: nothing,
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "mix.mixup=0.8",
                "--set",
                "train.batch_size=1",
            ],
            says: &[
                "`train.batch_size`: 1 leaves no other image to mix with; use at least 2, or set `mix.mixup`",
            ],
        },
        Case {
            what: "patience without measures",
            setup: nothing,
            args: &[
                "finetune",
                "bars.toml",
                "--set",
                "selection.patience=3",
                "--set",
                "data.val_fraction=0.0",
            ],
            says: &["`selection.patience`: 3, but nothing is measured"],
        },
    ],
};

#[test]
fn settings_of_fine_tuning() {
    SETTINGS_OF_FINE_TUNING.check();
}
