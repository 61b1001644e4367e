//! `fcmae convert` and `inspect` on the files of every program.

use std::path::{Path, PathBuf};

use fcmae_tests::{Place, Ran};

/// Golden checkpoints (see the checkpoint crate's tests).
fn golden(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/checkpoint/tests/golden");
    path.join(name).display().to_string()
}

fn refused(ran: Ran, says: &str) {
    let ran = ran.ended(2);
    assert!(
        ran.stdout.is_empty() && ran.stderr.lines().count() == 1,
        "{ran:?}"
    );
    assert!(ran.stderr.contains(says), "no `{says}` in {}", ran.stderr);
}

/// Names → (type, shape) of a file.
fn tensors(place: &Place, file: &str) -> Vec<(String, String)> {
    let report = place.run(&["inspect", file, "--json"]).ended(0).json();
    let list = report["tensors"].as_array().unwrap().iter();
    list.map(|t| {
        (
            t["name"].as_str().unwrap().to_owned(),
            format!("{} {}", t["dtype"], t["shape"]),
        )
    })
    .collect()
}

#[test]
fn weights_go_around_all_programs_and_come_back_with_the_same_bytes() {
    let place = Place::new();
    let convert = |from: &str, to: &str, out: &str| place.run(&["convert", from, "--to", to, out]).ended(0);
    convert(&golden("official_dense.pth"), "native", "a.safetensors");
    convert("a.safetensors", "timm", "b.pth");
    convert("b.pth", "hf", "c");
    convert("c", "official", "d.pth");
    convert("d.pth", "native", "e.safetensors");
    assert_eq!(place.read("a.safetensors"), place.read("e.safetensors"));
    assert_eq!(
        place.list("c"),
        ["config.json", "model.safetensors", "preprocessor_config.json"]
    );
    assert_eq!(tensors(&place, "b.pth"), tensors(&place, &golden("timm.pth")));
    assert_eq!(tensors(&place, "c"), tensors(&place, &golden("hf")));
    assert_eq!(
        tensors(&place, "d.pth"),
        tensors(&place, &golden("official_dense.pth"))
    );
}

#[test]
fn a_run_is_converted_with_its_decoder_and_back() {
    let place = Place::new();
    let pretrain = ["pretrain", "tiny.toml", "--quiet", "--set", "data.crop_pct=0.75"];
    let _ = place.run(&pretrain).ended(0);
    let report = place
        .run(&["convert", "runs/tiny", "--to", "official", "o.pth", "--json"])
        .ended(0)
        .json();
    assert!(
        report["network"]
            .as_str()
            .unwrap()
            .contains("decoder of 1 block(s) of width 16"),
        "{report}"
    );
    let _ = place
        .run(&["convert", "o.pth", "--to", "native", "back.safetensors"])
        .ended(0);
    assert_eq!(tensors(&place, "back.safetensors"), tensors(&place, "runs/tiny"));
    let ran = place.run(&["convert", "runs/tiny", "--to", "hf", "h"]).ended(0);
    assert!(ran.stdout.contains("hf has no place for the decoder"), "{ran:?}");
    // grey images of 32 px, cut out as the run had them
    let preprocessor: serde_json::Value =
        serde_json::from_str(&place.text("h/preprocessor_config.json")).unwrap();
    assert_eq!(preprocessor["image_mean"], serde_json::json!([0.5]));
    assert_eq!(preprocessor["size"]["shortest_edge"], 32);
    assert_eq!(preprocessor["crop_pct"], 0.75);
    // with its config, a converted file is a run's file still
    let _ = place
        .run(&["convert", "runs/tiny", "--to", "native", "n.safetensors"])
        .ended(0);
    let _ = place
        .run(&["reconstruct", "n.safetensors", "images/00.png"])
        .ended(0);
}

#[test]
fn changes_are_made_and_told() {
    let place = Place::new();
    let train = golden("official_fcmae_train.pth");
    let args = [
        "convert",
        &train,
        "--to",
        "timm",
        "t.safetensors",
        "--in-chans",
        "1",
        "--dtype",
        "bf16",
        "--json",
    ];
    let report = place.run(&args).ended(0).json();
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("args (argparse.Namespace)") && notes.contains("3 input channels were summed"),
        "{notes}"
    );
    assert!(notes.contains("the decoder was dropped"), "{notes}");
    let all = tensors(&place, "t.safetensors");
    assert!(
        all.contains(&("stem.0.weight".to_owned(), "\"BF16\" [8,1,4,4]".to_owned())),
        "{all:?}"
    );
    assert!(all.iter().all(|(_, shape)| shape.starts_with("\"BF16\"")));
    let args = [
        "convert",
        &golden("timm.pth"),
        "--to",
        "native",
        "e.safetensors",
        "--no-head",
    ];
    let _ = place.run(&args).ended(0);
    assert_eq!(tensors(&place, "e.safetensors").len(), 66);
}

#[test]
fn every_file_can_be_inspected() {
    let place = Place::new();
    for (file, network) in [
        ("timm.pth", "10 classes; names: timm"),
        ("hf", "10 classes; names: Hugging Face transformers"),
        (
            "official_dense_legacy.pth",
            "10 classes; names: reference (dense)",
        ),
        (
            "official_fcmae_train.pth",
            "decoder of 1 block(s) of width 16; names: reference (pre-training",
        ),
        ("malicious.pth", "passed over, and not run: args (posix.system)"),
        ("odd_tensors.pth", "state_dict.transposed"),
    ] {
        let ran = place.run(&["inspect", &golden(file)]).ended(0);
        assert!(ran.stdout.contains(network), "{file}: {}", ran.stdout);
    }
}

#[test]
fn what_cannot_be_converted_is_refused_in_one_line_and_nothing_is_written() {
    let place = Place::new();
    place.write("there.pth", "precious");
    place.write("taken/model.safetensors", "weights of somebody");
    place.write("best/checksums", "");
    place.write("run/checkpoints/best/checksums", "");
    let before = place.snapshot();
    let timm = golden("timm.pth");
    let convert = |args: &[&str]| place.run(&[&["convert"], args].concat());
    refused(
        convert(&["no.pth", "--to", "timm", "o.pth"]),
        "no.pth: there is no such file",
    );
    refused(
        convert(&["images", "--to", "timm", "o.pth"]),
        "images: there are no weights in this folder",
    );
    refused(convert(&["images/00.png", "--to", "timm", "o.pth"]), "00.png: ");
    refused(
        convert(&[&golden("malicious.pth"), "--to", "timm", "o.pth"]),
        "not run: args (posix.system)",
    );
    refused(
        convert(&[&golden("odd_tensors.pth"), "--to", "timm", "o.pth"]),
        "is of a ConvNeXt by the names of",
    );
    refused(
        convert(&[&timm, "--to", "native", "o.pth"]),
        "must end in .safetensors",
    );
    refused(
        convert(&[&timm, "--to", "timm", "there.pth"]),
        "is there already; choose another place or give --force",
    );
    for to in ["timm", "hf"] {
        refused(
            convert(&[&timm, "--to", to, "taken"]),
            "taken: is there already; choose another place or give --force",
        );
    }
    refused(
        convert(&[&timm, "--to", "timm", "best", "--force"]),
        "best: weights of a run lie there; choose another place",
    );
    for out in [
        "best/other.safetensors",
        "run/model.safetensors",
        "run/checkpoints",
        "run",
    ] {
        refused(
            convert(&[&timm, "--to", "timm", out, "--force"]),
            "weights of a run lie there",
        );
    }
    refused(
        convert(&[&timm, "--to", "timm", &timm, "--force"]),
        "IN and OUT are the same",
    );
    refused(
        convert(&[&timm, "--to", "timm", "o.pth", "--ema"]),
        "holds no averaged weights",
    );
    refused(
        convert(&[&timm, "--to", "timm", "o.pth", "--in-chans", "0"]),
        "cannot take 0 input channels",
    );
    refused(
        convert(&[&timm, "--to", "timm", "no/such/o.pth"]),
        "o.pth: cannot be written",
    );
    assert_eq!(place.snapshot(), before);
    let _ = convert(&[&timm, "--to", "timm", "there.pth", "--force"]).ended(0);
    assert_eq!(tensors(&place, "there.pth"), tensors(&place, &timm));
}
