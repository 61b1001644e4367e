//! The verbs beside `pretrain`.

use fcmae_tests::Place;
use serde_json::Value;

fn trained() -> Place {
    let place = Place::new();
    let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
    place
}

fn array<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key}: {object}"))
}

#[test]
fn verify_prints_a_table_of_checks() {
    let ran = Place::new().run(&["verify", "tiny.toml"]).ended(0);
    let header = ran.stdout.lines().next().unwrap();
    for column in ["check", "size", "scope", "deviation", "allowed"] {
        assert!(header.contains(column), "{column}: {header}");
    }
    for check in [
        "sparse = masked-dense, forward",
        "sparse = masked-dense, gradients",
        "hidden pixels change nothing",
        "images are independent",
    ] {
        for (size, precision) in [("32×32", "f64"), ("24×32", "f32")] {
            let is_it = |line: &str| {
                line.starts_with(check)
                    && line.contains(size)
                    && line.contains(precision)
                    && line.contains("ok")
            };
            assert!(
                ran.stdout.lines().any(is_it),
                "{check}, {size}, {precision}: {}",
                ran.stdout
            );
        }
    }
    assert!(
        ran.stdout.trim_end().ends_with("every check passed"),
        "{}",
        ran.stdout
    );
}

#[test]
fn verify_as_json_gives_each_deviation_and_its_tolerance() {
    let args = ["verify", "tiny.toml", "--json", "--set", "model.grn_scope=batch"];
    let report = Place::new().run(&args).ended(0).json();
    assert_eq!(report["passed"], true);
    let checks = array(&report, "checks");
    for scope in ["sample", "batch"] {
        assert!(
            checks.iter().any(|check| check["scope"] == scope),
            "{scope}: {report}"
        );
    }
    for check in checks {
        let (deviation, tolerance) = (check["deviation"].as_f64(), check["tolerance"].as_f64());
        assert!(deviation.is_some() && deviation <= tolerance, "{check}");
    }
}

#[test]
fn reconstruct_hides_the_patches_that_are_given() {
    let place = trained();
    let hide = |patches: &str, picture: &str| {
        let args = [
            "reconstruct",
            "runs/tiny",
            "images/03.png",
            "--hide",
            patches,
            "-o",
            picture,
            "--json",
        ];
        place.run(&args).ended(0).json()
    };
    let some = hide("0,3,7", "some.png");
    assert_eq!(
        (&some["picture"], &some["step"]),
        (&"some.png".into(), &15.into())
    );
    let [image] = array(&some, "images") else {
        panic!("{some}")
    };
    assert_eq!(image["file"], "images/03.png");
    assert!(image["loss"].as_f64().is_some_and(|loss| loss > 0.0), "{some}");
    assert_eq!(image["loss"], some["loss"]);

    let picture = image::open(place.path("some.png")).unwrap();
    assert!(picture.width() >= 3 * 32 && picture.height() >= 32);
    assert_eq!(hide("0,3,7", "again.png")["loss"], some["loss"]);
    assert_eq!(place.read("again.png"), place.read("some.png"));
    assert_ne!(hide("1,2,3", "others.png")["loss"], some["loss"]);
}

#[test]
fn reconstruct_draws_a_folder_under_random_masks() {
    let place = trained();
    let random = |seed: &str, picture: &str| {
        let args = [
            "reconstruct",
            "runs/tiny",
            "images",
            "--mask-ratio",
            "0.5",
            "--seed",
            seed,
            "--count",
            "4",
            "-o",
            picture,
            "--json",
        ];
        place.run(&args).ended(0).json()
    };
    let first = random("3", "all.png");
    let losses: Vec<f64> = array(&first, "images")
        .iter()
        .map(|image| image["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), 4, "{first}");
    let mean = losses.iter().sum::<f64>() / 4.0;
    assert!((first["loss"].as_f64().unwrap() - mean).abs() < 1e-12, "{first}");
    assert!(image::open(place.path("all.png")).unwrap().height() >= 4 * 32);
    assert_eq!(random("3", "again.png")["images"], first["images"]);
    assert_ne!(random("4", "others.png")["images"], first["images"]);
}

#[test]
fn reconstruct_takes_a_run_a_checkpoint_or_a_file() {
    let place = trained();
    let loss = |weights: &str| {
        let args = ["reconstruct", weights, "images/00.png", "--json"];
        place.run(&args).ended(0).json()["loss"].clone()
    };
    let last = loss("runs/tiny");
    assert_eq!(loss("runs/tiny/checkpoints/last"), last);
    assert_eq!(
        loss("runs/tiny/checkpoints/step-00000015/model.safetensors"),
        last
    );
    assert_ne!(loss("runs/tiny/checkpoints/step-00000012"), last);
}

#[test]
fn reconstruct_for_people_names_the_picture() {
    let place = trained();
    let ran = place.run(&["reconstruct", "runs/tiny", "images/00.png"]).ended(0);
    assert!(
        ran.stdout.contains("images/00.png") && ran.stdout.contains("picture: reconstruction.png"),
        "{ran:?}"
    );
    assert!(place.path("reconstruction.png").is_file());
}

#[test]
fn inspect_lists_names_types_shapes_and_counts() {
    let place = trained();
    let ran = place.run(&["inspect", "runs/tiny"]).ended(0);
    let row = |name: &str| {
        let row = ran
            .stdout
            .lines()
            .find(|line| line.split_whitespace().next() == Some(name));
        row.unwrap_or_else(|| panic!("{name}: {}", ran.stdout))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    // dims [4, 8, 8, 16]: GRN stands on 4 times as many channels
    assert_eq!(
        row("encoder.stages.1.0.grn.gamma"),
        "encoder.stages.1.0.grn.gamma F32 [1, 1, 1, 32] 32"
    );
    assert_eq!(row("mask_token"), "mask_token F32 [1, 16, 1, 1] 16");
    assert_eq!(row("pred.weight"), "pred.weight F32 [64, 16, 1, 1] 1024");
    assert!(ran.stdout.ends_with("fcmae.step: 15\n"), "{}", ran.stdout);
}

#[test]
fn inspect_as_json_counts_every_element() {
    let place = trained();
    let report = place.run(&["inspect", "runs/tiny", "--json"]).ended(0).json();
    let tensors = array(&report, "tensors");
    let elements: u64 = tensors
        .iter()
        .map(|tensor| tensor["elements"].as_u64().unwrap())
        .sum();
    assert_eq!(report["elements"], elements);
    let config = report["metadata"]["fcmae.config"].as_str().unwrap();
    // what decided the weights, and nothing that only says where and how the run was done
    let resolved = place.text("runs/tiny/config.toml");
    assert!(
        config.contains("depths") && config.lines().all(|line| resolved.contains(line)),
        "{config}"
    );
    assert!(
        !config.contains("output_dir") && !config.contains("workers"),
        "{config}"
    );
    let moments = [
        "inspect",
        "runs/tiny/checkpoints/last/optimizer.safetensors",
        "--json",
    ];
    let moments = place.run(&moments).ended(0).json();
    assert_eq!(moments["elements"], 2 * elements);
}

#[test]
fn pack_names_and_leaves_out_what_cannot_be_read() {
    let place = Place::new();
    place.write("images/07.png", "no picture");
    let args = ["data", "pack", "images", "shards", "--on-error", "skip", "--json"];
    let ran = place.run(&args).ended(1);
    for line in [
        "left out: images/07.png: not an image of a known format",
        "1 of 24 pictures could not be read; the others are packed",
    ] {
        assert!(ran.stderr.contains(line), "{line}: {ran:?}");
    }
    let report = ran.json();
    assert_eq!(report["images"], 23);
    assert_eq!(array(&report, "left_out").len(), 1);
    assert!(place.path("shards/000000.tar").is_file());
}

#[test]
fn every_verb_explains_itself() {
    let place = Place::new();
    for verb in [
        "pretrain",
        "verify",
        "reconstruct",
        "analyze",
        "inspect",
        "convert",
    ] {
        let help = place.run(&[verb, "--help"]).ended(0).stdout;
        assert!(help.contains(&format!("Usage: fcmae {verb}")), "{help}");
        assert!(
            place
                .run(&["--help"])
                .ended(0)
                .stdout
                .contains(&format!("  {verb} "))
        );
    }
    let version = place.run(&["--version"]).ended(0).stdout;
    assert!(version.starts_with("fcmae "), "{version}");
}
