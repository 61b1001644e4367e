//! Measures of features against the reference's numbers.

use std::fs;
use std::path::Path;

use fcmae_analysis::{ClassResponses, channel_cosine_distance};
use serde::Deserialize;
use tch::{Kind, Tensor};

/// Of a number in f64 between 0 and 1; absolute, because a collapsed map must read 0.
const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    cosine_distance: std::collections::BTreeMap<String, Maps>,
    class_selectivity: Selectivity,
}

#[derive(Deserialize)]
struct Maps {
    /// N, H, W, C.
    shape: Vec<i64>,
    x: Vec<f64>,
    dead_is_uncorrelated: Vec<f64>,
}

#[derive(Deserialize)]
struct Selectivity {
    acts: Vec<Vec<f64>>,
    labels: Vec<u32>,
    classes: usize,
    index: Vec<f64>,
}

fn golden() -> Golden {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/collapse.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn assert_close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= tolerance,
            "{what}: {found}, not {expected}"
        );
    }
}

#[test]
fn cosine_distance() {
    let cases = golden().cosine_distance;
    assert_eq!(cases.len(), 5);
    for (name, case) in cases {
        let maps = Tensor::from_slice(&case.x).view(case.shape.as_slice());
        for (kind, tolerance) in [(Kind::Double, TOLERANCE), (Kind::Float, 1e-6)] {
            let distance: Vec<f64> = channel_cosine_distance(&maps.to_kind(kind)).try_into().unwrap();
            assert_close(
                &format!("{name} {kind:?}"),
                &distance,
                &case.dead_is_uncorrelated,
                tolerance,
            );
        }
    }
}

#[test]
fn class_selectivity() {
    let case = golden().class_selectivity;
    let acts = Tensor::from_slice(&case.acts.concat()).view([case.acts.len() as i64, -1]);
    let mut responses = ClassResponses::new(case.classes, acts.size()[1]);
    responses.add(&acts, &case.labels);
    assert_close("index", &responses.index().unwrap(), &case.index, TOLERANCE);
}
