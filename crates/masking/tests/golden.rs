//! Masks of the reference implementation (`golden/masks.json`, the project's golden set).

use fcmae_masking::{MaskConfig, PatchGrid, PatchMask, VisibleLayout, len_keep};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/masks.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

#[test]
fn len_keep_truncates_as_the_reference_does() {
    let golden = golden();
    let table = golden["len_keep"].as_array().unwrap();
    assert_eq!(table.len(), 252);
    for row in table {
        let (patches, ratio) = (
            row["len"].as_u64().unwrap() as usize,
            row["ratio"].as_f64().unwrap(),
        );
        let expected = row["len_keep"].as_u64().unwrap() as usize;
        assert_eq!(
            len_keep(patches, ratio),
            expected,
            "L = {patches}, ratio = {ratio}"
        );

        let valid = MaskConfig::random(ratio)
            .validate(&PatchGrid {
                rows: 1,
                cols: patches,
            })
            .is_ok();
        assert_eq!(
            valid,
            0 < expected && expected < patches,
            "L = {patches}, ratio = {ratio}"
        );
    }
}

#[test]
fn noise_becomes_the_reference_mask() {
    for case in golden()["noise_to_mask"].as_array().unwrap() {
        let noise = rows(&case["noise"]);
        let patches = noise[0].len();
        let grid = PatchGrid {
            rows: 1,
            cols: patches,
        };
        let mask = PatchMask::from_noise(grid, &noise.concat(), case["ratio"].as_f64().unwrap()).unwrap();
        let expected: Vec<f32> = rows(&case["mask"]).concat().iter().map(|&v| v as f32).collect();
        assert_eq!(mask.to_f32(), expected);

        let layout = VisibleLayout::from(&mask);
        let expected: Vec<u32> = rows(&case["visible"])
            .iter()
            .enumerate()
            .flat_map(|(n, visible)| visible.iter().map(move |&p| (n * patches) as u32 + p as u32))
            .collect();
        assert_eq!(layout.visible(), expected);
    }
}

#[test]
fn upsampling_repeats_on_both_axes() {
    let case = &golden()["upsample"];
    let flags = rows(&case["mask"]).concat().iter().map(|&v| v == 1.0).collect();
    let grid = PatchGrid { rows: 2, cols: 3 };
    let mask = PatchMask::from_hidden(grid, vec![flags]).unwrap();
    let fine = mask.upsample(case["factor"].as_u64().unwrap() as usize);
    let expected: Vec<bool> = rows(&case["result"]).concat().iter().map(|&v| v == 1.0).collect();
    assert_eq!(fine, expected);
}
