//! `docs/licences.md`: the crates that the programs are made of, and the licence of each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{paths, process};

const FILE: &str = "docs/licences.md";

const ABOVE: &str = "# Licences

The crates that `fcmae` and `xtask` are made of, all features included; crates for tests and benches alone are not listed.
`cargo xtask check` compares this list with the dependencies, and `cargo xtask check --fix` writes it anew; `deny.toml`
says which licences may be in it. libtorch (BSD-3-Clause) is fetched by `cargo xtask setup` and not part of the checkout.

| crate | version | licence |
|---|---|---|
";

/// Compares the list with the dependencies, or writes it anew.
pub(crate) fn check(fix: bool) -> Result<()> {
    let arguments = ["metadata", "--format-version", "1", "--all-features"];
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let text = process::capture(process::cargo().args(arguments).args(platform))?;
    let metadata = serde_json::from_str(&text).context("`cargo metadata` printed no JSON")?;
    let expected = listing(&metadata);
    let file = paths::checkout().join(FILE);
    if fs::read_to_string(&file).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    if !fix {
        bail!("{FILE} does not list the crates that there are; `cargo xtask check --fix` writes it anew");
    }
    fs::write(&file, expected).context(FILE)
}

fn listing(metadata: &Value) -> String {
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or("none given").to_owned();
    let reached = reached(metadata);
    let packages = list(&metadata["packages"]).filter(|package| {
        let is_ours = package["source"].is_null();
        !is_ours && reached.contains(package["id"].as_str().unwrap_or_default())
    });
    let rows: BTreeSet<_> = packages
        .map(|package| ["name", "version", "license"].map(|key| text(package, key)))
        .collect();
    let line = |[name, version, licence]: &[String; 3]| format!("| {name} | {version} | {licence} |\n");
    ABOVE.to_owned() + &rows.iter().map(line).collect::<String>()
}

/// Ids of the packages that the programs need when they are built.
fn reached(metadata: &Value) -> BTreeSet<&str> {
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .map(|node| (node["id"].as_str().unwrap_or_default(), node))
        .collect();
    let is_program = |package: &&Value| package["name"] == "fcmae" || package["name"] == "xtask";
    let programs = list(&metadata["packages"]).filter(is_program);
    let mut open: Vec<&str> = programs.filter_map(|package| package["id"].as_str()).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let needed = list(&nodes[id]["deps"])
                .filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"] != "dev"));
            open.extend(needed.filter_map(|dep| dep["pkg"].as_str()));
        }
    }
    reached
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn crates_of_others_are_listed_unless_only_tests_need_them() {
        let package = |name: &str, source: Option<&str>| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT", "source": source});
        let dep = |name: &str, kind: Option<&str>| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [package("fcmae", None), package("a", Some("registry")), package("b", Some("registry")), package("c", Some("registry"))],
            "resolve": {"nodes": [
                {"id": "fcmae", "deps": [dep("a", None), dep("b", Some("dev"))]},
                {"id": "a", "deps": [dep("c", Some("build"))]},
                {"id": "b", "deps": []},
                {"id": "c", "deps": []},
            ]},
        });
        let expected = format!("{ABOVE}| a | 1.0.0 | MIT |\n| c | 1.0.0 | MIT |\n");
        assert_eq!(listing(&metadata), expected);
    }
}
