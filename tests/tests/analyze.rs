//! `analyze`, and the monitor of pre-training.

use fcmae_tests::Place;
use serde_json::Value;

/// A place with a V1 and a V2 network of one epoch, and weights of another program: `model.pth`.
fn with_networks() -> Place {
    let place = Place::new();
    for block in ["v1", "v2"] {
        let (block, name) = (format!("model.block={block}"), format!("name={block}"));
        let args = [
            "pretrain",
            "tiny.toml",
            "--quiet",
            "--set",
            "schedule.epochs=1",
            "--set",
            &block,
            "--set",
            &name,
        ];
        let _ = place.run(&args).ended(0);
    }
    place.and_classifier()
}

/// Labels for the pictures: every third is of class `b`.
fn label(place: &Place) {
    let row = |i: u32| {
        format!(
            "images/{i:02}.png,{}\n",
            if i.is_multiple_of(3) { "b" } else { "a" }
        )
    };
    let rows: String = (0..24).map(row).collect();
    place.write("labelled.csv", format!("path,label\n{rows}"));
}

fn numbers(layers: &[Value], key: &str) -> Vec<f64> {
    layers.iter().filter_map(|layer| layer[key].as_f64()).collect()
}

#[test]
fn networks_are_compared_in_numbers_and_pictures() {
    let place = with_networks();
    let args = [
        "analyze", "runs/v1", "runs/v2", "--data", "images", "--limit", "7", "--json",
    ];
    let found = place.run(&args).ended(0).json();
    let networks = found["networks"].as_array().unwrap();
    assert_eq!(
        (&networks[0]["name"], &networks[1]["name"]),
        (&"v1".into(), &"v2".into())
    );
    for (network, sites) in networks.iter().zip([3, 4]) {
        let layers = network["layers"].as_array().unwrap();
        assert_eq!((layers.len(), &network["images"]), (4 * sites, &7.into()));
        assert!(
            numbers(layers, "cosine_distance")
                .iter()
                .all(|value| (0.0..0.6).contains(value))
        );
        let cosines = numbers(layers, "rms_cosine");
        assert!(
            cosines.iter().all(|value| (0.1..=1.0).contains(value)),
            "{cosines:?}"
        );
        assert!(
            numbers(layers, "dead")
                .iter()
                .all(|value| (0.0..=1.0).contains(value))
        );
        let ranks = numbers(layers, "effective_rank");
        assert_eq!(ranks.len(), 4);
        assert!(ranks.iter().all(|rank| (1.0..=7.0).contains(rank)), "{ranks:?}");
        let maps = image::open(place.path(network["activation_maps"].as_str().unwrap())).unwrap();
        assert!(maps.width() > maps.height() && maps.height() > 300);
    }
    let names = [
        "analysis.json",
        "channels.svg",
        "collapse.svg",
        "layers.csv",
        "maps-v1.png",
        "maps-v2.png",
        "rank.svg",
        "redundancy.svg",
    ];
    assert_eq!(place.list("analysis"), names);
    assert_eq!(place.text("analysis/layers.csv").lines().count(), 1 + 12 + 16);
    let plot = place.text("analysis/collapse.svg");
    assert!(
        plot.starts_with("<svg ") && plot.contains(">v1<") && plot.contains(">after GRN<"),
        "{plot}"
    );
    let written: Value = serde_json::from_str(&place.text("analysis/analysis.json")).unwrap();
    assert_eq!(&written, &found["networks"]);

    let table = place.run(&args[..7]).ended(0);
    assert!(
        table.stdout.contains("v2: 7 images of images") && table.stdout.contains("stages.3.0"),
        "{}",
        table.stdout
    );
}

/// The number of images that are in memory at once is no part of the result.
#[test]
fn weights_of_another_program_are_measured_with_labels() {
    let place = with_networks();
    label(&place);
    let analyze = |batch: &str| {
        let batch = format!("batch_size={batch}");
        let settings = [
            "--set",
            "data.image_size=32",
            "--set",
            "device=cpu",
            "--set",
            &batch,
        ];
        let args = [
            "analyze",
            "model.pth",
            "--data",
            "labelled.csv",
            "--selectivity",
            "--json",
        ];
        place.run(&[&args[..], &settings].concat()).ended(0).json()
    };
    let (all, few) = (analyze("24"), analyze("5"));
    let layers = |found: &Value| found["networks"][0]["layers"].as_array().unwrap().clone();
    for (a, b) in layers(&all).iter().zip(layers(&few)) {
        let (a, b) = (
            a["cosine_distance"].as_f64().unwrap(),
            b["cosine_distance"].as_f64().unwrap(),
        );
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let outputs: Vec<Value> = layers(&all)
        .into_iter()
        .filter(|layer| layer["site"] == "output")
        .collect();
    assert_eq!(outputs.len(), 5); // of the golden weights' blocks
    for layer in outputs {
        let index = layer["selectivity"].as_array().unwrap();
        assert_eq!(index.len() as u64, layer["channels"].as_u64().unwrap());
        assert!(
            index
                .iter()
                .all(|value| (0.0..=1.0).contains(&value.as_f64().unwrap()))
        );
    }
    assert!(place.text("analysis/selectivity.svg").contains("end of stage 3"));
}

#[test]
fn what_cannot_be_measured_is_one_line() {
    let place = with_networks();
    let refused = |args: &[&str], words: &[&str]| {
        let ran = place.run(args).ended(2);
        let error = ran.stderr.lines().last().unwrap();
        assert!(
            error.starts_with("error: ") && words.iter().all(|word| error.contains(word)),
            "{}",
            ran.stderr
        );
    };
    refused(
        &["analyze", "runs/v2", "--data", "images", "--selectivity"],
        &["images", "label"],
    );
    place.write("one.csv", "path,label\nimages/00.png,a\nimages/01.png,a\n");
    refused(
        &["analyze", "runs/v2", "--data", "one.csv", "--selectivity"],
        &["compares classes", "have 1"],
    );
    refused(&["analyze", "nowhere.pth", "--data", "images"], &["nowhere.pth"]);
    refused(
        &["analyze", "runs/v2", "--data", "images", "--picture", "no.png"],
        &["no.png"],
    );
    place.write("broken/a.png", "no picture");
    refused(
        &["analyze", "runs/v2", "--data", "broken"],
        &["none of the 1 pictures", "a.png"],
    );

    place.truncate("images/07.png", 20);
    let ran = place
        .run(&["analyze", "runs/v2", "--data", "images", "--json"])
        .ended(1);
    let network = &ran.json()["networks"][0];
    assert_eq!(
        (
            &network["images"],
            network["unreadable"].as_array().unwrap().len()
        ),
        (&23.into(), 1)
    );
    assert!(ran.stderr.contains("07.png"), "{}", ran.stderr);
}

#[test]
fn a_monitored_run_tells_of_a_collapse_once_and_has_the_same_weights() {
    let place = Place::new();
    label(&place);
    let _ = place
        .run(&["pretrain", "tiny.toml", "--quiet", "--set", "name=alone"])
        .ended(0);
    let set = [
        "name=watched",
        "monitor.every_epochs=1",
        "monitor.images=3",
        "monitor.collapse_below=0.5", // above any distance that there is
        "monitor.knn.path=labelled.csv",
        "monitor.knn.k=3",
    ];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let watched = place
        .run(&[&["pretrain", "tiny.toml", "--quiet"], &set[..]].concat())
        .ended(0);
    let warnings: Vec<&str> = watched.stderr.lines().collect();
    assert_eq!(warnings.len(), 1, "{}", watched.stderr);
    assert!(
        warnings[0].starts_with("warning: epoch 1: features collapse: "),
        "{}",
        warnings[0]
    );

    let (alone, watched) = (place.left("runs/alone"), place.left("runs/watched"));
    assert_eq!((alone.model, alone.optimizer), (watched.model, watched.optimizer));
    let epochs: Vec<&Value> = watched
        .metrics
        .iter()
        .filter(|line| line["kind"] == "epoch")
        .collect();
    assert_eq!(epochs.len(), 3);
    for epoch in epochs {
        let monitor = &epoch["monitor"];
        assert_eq!(
            (&monitor["collapsed"], &monitor["images"]),
            (&true.into(), &3.into())
        );
        let distances = monitor["cosine_distance"].as_object().unwrap();
        assert_eq!(distances.len(), 4);
        assert!(
            distances
                .values()
                .all(|blocks| blocks.as_array().unwrap().len() == 4)
        );
        assert_eq!(monitor["effective_rank"].as_array().unwrap().len(), 4);
        assert_eq!(monitor["knn"]["images"], 24);
        let accuracy = monitor["knn"]["accuracy"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&accuracy));
    }
    let refused = place
        .run(&[
            "pretrain",
            "tiny.toml",
            "--set",
            "name=no",
            "--set",
            "monitor.every_epochs=1",
            "--set",
            "monitor.knn.path=images",
        ])
        .ended(2);
    assert!(
        refused.stderr.contains("label") && !place.path("runs/no").exists(),
        "{}",
        refused.stderr
    );
}
