//! What beats what, where values came from, and that a resolved configuration resolves to itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use fcmae_config::{Origin, Resolved, from_str, load, to_toml};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    optimizer: Optimizer,
    name: String,
    seed: i64,
    path: Option<PathBuf>,
    note: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Optimizer {
    lr: f64,
    betas: [f64; 2],
    scales: Vec<f32>,
    steps: Option<u32>,
    fused: bool,
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    folder
}

fn set(text: &str, overrides: &[&str]) -> Resolved {
    from_str(text, &overrides.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn run(text: &str, overrides: &[&str]) -> Run {
    set(text, overrides).parse().unwrap()
}

#[test]
fn integers_serve_as_floats() {
    let run = run(
        "[optimizer]\nlr = 1\nbetas = [0, 1.5]\nscales = [2, 0.5]",
        &["optimizer.lr=3"],
    );
    assert_eq!((run.optimizer.lr, run.optimizer.betas), (3.0, [0.0, 1.5]));
    assert_eq!(run.optimizer.scales, [2.0, 0.5]);
}

#[test]
fn override_values_are_toml_or_text() {
    for (argument, expected) in [
        ("name=foo", "foo"),
        ("name=/x y", "/x y"),
        ("name=a=b", "a=b"),
        ("name=\"12\"", "12"),
        ("name='  padded '", "  padded "),
        ("name=2026-11-24 10:00", "2026-11-24 10:00"),
        ("name=", ""),
        ("name=1e-3x", "1e-3x"),
        ("name = spaced", " spaced"),
    ] {
        assert_eq!(run("", &[argument]).name, expected, "{argument}");
    }
    let run = run(
        "",
        &[
            "optimizer.betas=[1, 2]",
            "optimizer.lr=1e-3",
            "optimizer.fused=true",
            "path=/x y",
            "seed=-4",
        ],
    );
    assert_eq!(
        (run.optimizer.betas, run.optimizer.lr, run.optimizer.fused),
        ([1.0, 2.0], 1e-3, true)
    );
    assert_eq!((run.path, run.seed), (Some(PathBuf::from("/x y")), -4));
}

#[test]
fn later_beats_earlier() {
    let folder = folder(&[
        (
            "runs/a.toml",
            "extends = [\"../one.toml\", \"../two.toml\"]\nname = \"a\"\n[optimizer]\nbetas = [7, 8]",
        ),
        (
            "one.toml",
            "extends = \"base/zero.toml\"\nname = \"one\"\nseed = 1\n[optimizer]\nlr = 1\nsteps = 1",
        ),
        (
            "two.toml",
            "extends = \"base/zero.toml\"\nname = \"two\"\n[optimizer]\nlr = 2",
        ),
        (
            "base/zero.toml",
            "seed = 0\npath = \"zero\"\n[optimizer]\nlr = 0\nbetas = [1, 2]\nfused = true",
        ),
    ]);
    let overrides = [
        "optimizer.steps=5".to_owned(),
        "seed=6".to_owned(),
        "seed=7".to_owned(),
    ];
    let config = load(folder.path().join("runs/a.toml"), &overrides).unwrap();
    let expected = Run {
        optimizer: Optimizer {
            lr: 2.0,
            betas: [7.0, 8.0],
            scales: vec![],
            steps: Some(5),
            fused: true,
        },
        name: "a".into(),
        seed: 7,
        path: Some("zero".into()),
        note: None,
    };
    assert_eq!(config.parse::<Run>().unwrap(), expected);
    assert!(!config.table().contains_key("extends"));

    let origin = |key: &str| {
        let shown = config.origin(key).map(ToString::to_string).unwrap_or_default();
        shown.replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(origin("name"), "runs/a.toml:2");
    assert_eq!(origin("optimizer.lr"), "two.toml:4");
    assert_eq!(origin("optimizer.betas"), "runs/a.toml:4");
    assert_eq!(origin("optimizer.fused"), "base/zero.toml:6");
    assert_eq!(origin("seed"), "--set seed=7");
    assert_eq!(origin("note"), "");
}

#[test]
fn tables_merge_and_lists_are_replaced() {
    let run = run(
        "[optimizer]\nlr = 1\nscales = [1, 2, 3]",
        &["optimizer={scales=[9], fused=true}"],
    );
    assert_eq!((run.optimizer.lr, run.optimizer.fused), (1.0, true));
    assert_eq!(run.optimizer.scales, [9.0]);
}

#[test]
fn a_replaced_section_takes_its_origins_along() {
    let config = set("[optimizer]\nlr = 1", &["optimizer=3"]);
    assert_eq!(config.origin("optimizer.lr"), None);
    assert_eq!(
        config.origin("optimizer"),
        Some(&Origin::Override {
            argument: "optimizer=3".into()
        })
    );
}

#[test]
fn lines_are_found_in_every_notation() {
    let text = "a.b = 1 # dotted\n\n[c]\nd = { e = 2,\nf = [\n1] }\n[c.g]\n\"h\" = '''x\ny'''\ni = 3";
    let config = set(text, &[]);
    let line = |key| match config.origin(key) {
        Some(Origin::Text { line }) => *line,
        other => panic!("{key}: {other:?}"),
    };
    for (key, expected) in [
        ("a", 1),
        ("a.b", 1),
        ("c", 3),
        ("c.d", 4),
        ("c.d.e", 4),
        ("c.d.f", 5),
        ("c.g.h", 8),
        ("c.g.i", 10),
    ] {
        assert_eq!(line(key), expected, "{key}");
    }
}

#[test]
fn options_and_order_of_fields_do_not_trouble_writing() {
    let text = to_toml(&Run {
        note: Some("with \"quotes\" and\nlines".into()),
        ..Run::default()
    })
    .unwrap();
    assert!(!text.contains("path"), "{text}");
    assert_eq!(run(&text, &[]).note.unwrap(), "with \"quotes\" and\nlines");
    // What was merged can be written, too.
    let config = set("seed = 3", &["optimizer.lr=0.1", "optimizer.betas=[1,2]"]);
    assert_eq!(
        config.to_toml(),
        "seed = 3\n\n[optimizer]\nbetas = [1, 2]\nlr = 0.1\n"
    );
    assert_eq!(set(&config.to_toml(), &[]).table(), config.table());
}

#[test]
fn what_toml_cannot_hold_is_an_error() {
    let error = to_toml(&BTreeMap::from([("seed", u64::MAX)]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the configuration cannot be written as TOML: "),
        "{error}"
    );
    let error = from_str("a = 1\nseed = 18446744073709551615", &[])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "line 2 of the configuration: an integer is above 9223372036854775807"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn resolving_a_resolved_configuration_changes_nothing(
        lr: f64, betas: [f64; 2], scales in prop::collection::vec(any::<f32>(), 0..4),
        steps: Option<u32>, fused: bool, name: String, seed: i64, note: Option<String>,
    ) {
        let optimizer = Optimizer { lr, betas, scales, steps, fused };
        let before = Run { optimizer, name, seed, path: None, note };
        let text = to_toml(&before).unwrap();
        let after: Run = from_str(&text, &[]).unwrap().parse().unwrap();
        prop_assert_eq!(&to_toml(&after).unwrap(), &text);
        // NaN is the one value that is not equal to itself.
        if !text.contains("nan") {
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn no_text_panics(text in "[a-c.=\\[\\]{}\"'\n 0-9,#]{0,40}", argument in "[a-c.=\\[\\]{}\" 0-9,]{0,20}") {
        if let Ok(config) = from_str(&text, &[argument]) {
            let _ = config.parse::<Run>().map_err(|error| error.to_string());
            prop_assert!(from_str(&config.to_toml(), &[]).is_ok());
        }
    }
}
