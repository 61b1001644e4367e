//! Which crate may depend on which: a crate depends only on crates on lower floors, and some never see libtorch.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// Floor of each crate, and whether libtorch may be below it (see ARCHITECTURE.md).
const FLOORS: [(&str, u32, Libtorch); 20] = [
    ("fcmae-config", 0, Libtorch::Never),
    ("fcmae-random", 0, Libtorch::Never),
    ("fcmae-checkpoint", 0, Libtorch::Never),
    ("fcmae-plot", 0, Libtorch::Never),
    ("fcmae-torch-ext", 0, Libtorch::Allowed),
    // for the tests of the floors above
    ("fcmae-testing", 0, Libtorch::Allowed),
    ("fcmae-masking", 1, Libtorch::Never),
    ("fcmae-data", 1, Libtorch::Never),
    ("fcmae-report", 1, Libtorch::Never),
    ("fcmae-kernels", 2, Libtorch::Allowed),
    ("fcmae-blocks", 3, Libtorch::Allowed),
    ("fcmae-encoder", 4, Libtorch::Allowed),
    ("fcmae-decoder", 4, Libtorch::Allowed),
    ("fcmae-model", 5, Libtorch::Allowed),
    ("fcmae-analysis", 6, Libtorch::Allowed),
    ("fcmae-trainer", 7, Libtorch::Allowed),
    ("fcmae", 8, Libtorch::Allowed),
    // damaged files for the readers of all floors below
    ("fcmae-fuzz", 8, Libtorch::Allowed),
    ("fcmae-tests", 9, Libtorch::Allowed),
    // beside the house: a fresh machine builds it before there is a libtorch
    ("xtask", 9, Libtorch::Never),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Libtorch {
    Allowed,
    Never,
}

/// Crates through which libtorch comes in.
const BINDINGS: [&str; 2] = ["tch", "torch-sys"];

/// What `cargo metadata` says of this workspace; no network, no lock file needed.
pub(crate) fn metadata() -> Result<Value> {
    let text = process::capture(process::cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    serde_json::from_str(&text).context("`cargo metadata` printed no JSON")
}

/// Each broken rule as one line; empty when all arrows point down.
pub(crate) fn broken_rules(metadata: &Value) -> Vec<String> {
    let arrows = arrows(metadata);
    let floors: BTreeMap<_, _> = FLOORS
        .iter()
        .map(|(name, floor, torch)| (*name, (*floor, *torch)))
        .collect();
    let mut broken = Vec::new();
    for (from, all) in &arrows {
        let Some((floor, torch)) = floors.get(from.as_str()) else {
            broken.push(format!(
                "{from}: has no floor; give it one in xtask/src/layering.rs and ARCHITECTURE.md"
            ));
            continue;
        };
        for to in all {
            match floors.get(to.as_str()) {
                Some((below, _)) if below >= floor => {
                    broken.push(format!(
                        "{from} (floor {floor}) -> {to} (floor {below}): arrows must point down"
                    ));
                }
                _ => {}
            }
        }
        if let (Libtorch::Never, Some(way)) = (torch, way_to_libtorch(from, &arrows)) {
            broken.push(format!("{from}: must build without libtorch, but {way}"));
        }
    }
    let gone = floors.keys().filter(|name| !arrows.contains_key(**name));
    broken.extend(gone.map(|name| format!("{name}: has a floor in xtask/src/layering.rs but is no crate")));
    broken
}

/// Crate → what it names as dependency of any kind (normal, build, dev).
fn arrows(metadata: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            (
                name(package),
                list(&package["dependencies"]).iter().map(name).collect(),
            )
        })
        .collect()
}

/// `a -> b -> tch` if there is such a way over crates of the workspace.
fn way_to_libtorch(from: &str, arrows: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![(from, from.to_owned())];
    while let Some((name, way)) = open.pop() {
        for to in arrows.get(name).into_iter().flatten() {
            let longer = format!("{way} -> {to}");
            if BINDINGS.contains(&to.as_str()) {
                return Some(longer);
            }
            if seen.insert(to) {
                open.push((to, longer));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The real crates without arrows, then the given ones.
    fn house(extra: &[(&str, &[&str])]) -> Value {
        let mut packages: BTreeMap<&str, Vec<&str>> =
            FLOORS.iter().map(|(name, ..)| (*name, vec![])).collect();
        for (name, dependencies) in extra {
            packages.entry(name).or_default().extend(*dependencies);
        }
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, to)| json!({"name": name, "dependencies": to.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()}))
            .collect();
        json!({ "packages": packages })
    }

    fn check(extra: &[(&str, &[&str])], expected: &[&str]) {
        let broken = broken_rules(&house(extra));
        assert_eq!(broken.len(), expected.len(), "{broken:?}");
        for (line, part) in broken.iter().zip(expected) {
            assert!(line.contains(part), "{line:?} does not contain {part:?}");
        }
    }

    #[test]
    fn arrows_down_are_fine() {
        check(
            &[
                ("fcmae-blocks", &["fcmae-kernels", "tch", "serde"]),
                ("fcmae-data", &["fcmae-random"]),
            ],
            &[],
        );
    }

    #[test]
    fn arrows_up_and_sideways_are_named() {
        check(
            &[("fcmae-blocks", &["fcmae-model"])],
            &["fcmae-blocks (floor 3) -> fcmae-model (floor 5)"],
        );
        check(
            &[("fcmae-encoder", &["fcmae-decoder"])],
            &["fcmae-encoder (floor 4) -> fcmae-decoder (floor 4)"],
        );
    }

    #[test]
    fn libtorch_is_found_also_behind_another_crate() {
        check(
            &[("fcmae-random", &["tch"])],
            &["fcmae-random: must build without libtorch, but fcmae-random -> tch"],
        );
        let roundabout: [(&str, &[&str]); 2] = [
            ("fcmae-torch-ext", &["torch-sys"]),
            ("fcmae-data", &["fcmae-torch-ext"]),
        ];
        check(&roundabout, &["but fcmae-data -> fcmae-torch-ext -> torch-sys"]);
    }

    #[test]
    fn each_crate_has_a_floor_and_each_floor_a_crate() {
        check(&[("fcmae-new", &[])], &["fcmae-new: has no floor"]);
        let mut metadata = house(&[]);
        metadata["packages"].as_array_mut().unwrap().remove(0);
        assert!(broken_rules(&metadata)[0].ends_with("is no crate"));
    }

    #[test]
    fn the_real_house_keeps_its_floors() {
        assert_eq!(broken_rules(&metadata().unwrap()), [""; 0]);
    }
}
