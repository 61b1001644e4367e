//! Images: folders without any, broken files, the policies `error` and `skip`.

use fcmae_tests::Place;

use super::{Case, Group, RUN, assert_refused, edit, nothing, trained};

pub(super) const FOLDERS_OF_IMAGES: Group = Group {
    title: "Folders of images",
    place: Place::new,
    cases: &[
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
                "`data.path` is an image folder, a manifest `.csv`, or tar shards",
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
            says: &["tiny.toml: is neither a folder nor a `.csv`, `.tar` or `.txt` file"],
        },
    ],
};

#[test]
fn folders_of_images() {
    FOLDERS_OF_IMAGES.check();
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
        let advice = "; mend or remove the image, or go on with `data.on_error` = \"skip\"";
        assert_refused(name, &ran, &[&format!("{name}: cannot decode: "), advice]);
        place.write(name, whole);
        let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
        assert_eq!(
            place.left("runs/tiny").model,
            undisturbed.left("runs/tiny").model,
            "{name}"
        );
    }
}

pub(super) const A_BROKEN_IMAGE_TO_RECONSTRUCT_IS_NAMED: Group = Group {
    title: "Images to reconstruct",
    place: Place::new,
    cases: &[
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
    ],
};

#[test]
fn a_broken_image_to_reconstruct_is_named() {
    A_BROKEN_IMAGE_TO_RECONSTRUCT_IS_NAMED.check();
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
fn a_run_goes_on_without_a_broken_image_once_that_is_asked_for() {
    let place = Place::new();
    for i in (0..24).step_by(3) {
        place.truncate(&format!("images/{i:02}.png"), 60);
    }
    let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(2);
    let ran = place
        .run(&["pretrain", "tiny.toml", "--set", "data.on_error=skip"])
        .ended(0);
    let warned = |name: &str| ran.stderr.matches(&format!("image left out: {name}: ")).count();
    for i in (0..24).step_by(3) {
        assert_eq!(warned(&format!("images/{i:02}.png")), 1, "{i}: {ran:?}");
    }
    // some of the eight are held out, and every epoch looks at those
    let metrics = place.metrics("runs/tiny");
    let skipped = metrics.iter().find(|line| line["kind"] == "epoch").unwrap()["skipped"].as_u64();
    assert!(skipped < Some(8), "{skipped:?}");
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
        last.starts_with("error: none of the 20 images can be used; one of them: images/"),
        "{ran:?}"
    );
}
