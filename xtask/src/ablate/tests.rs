//! A matrix from its file to what is run, without the program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::cell::{self, fits};
use super::job::{Job, of_cell, weights_of};
use super::matrix::{Matrix, Which};
use super::measure::Kind;
use super::plan::Plan;
use super::results::Results;
use super::store::{Done, Record, Store};
use crate::{paths, process};

/// A matrix in a folder of its own, with the configs `pre.toml` and `fine.toml`.
fn folder(matrix: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("pre.toml"),
        "[mask]\nmask_ratio = 0.6\n[schedule]\nepochs = 3\n",
    )
    .unwrap();
    fs::write(folder.path().join("fine.toml"), "[data]\ndataset = \"elpv\"\n").unwrap();
    let file = folder.path().join("mini.toml");
    fs::write(&file, format!("title = \"Mini\"\n{matrix}")).unwrap();
    (folder, file)
}

const PROFILE: &str = "[quick]\npretrain = \"pre.toml\"\nfinetune = \"fine.toml\"\nseeds = 2\n";

fn plan(matrix: &str) -> (tempfile::TempDir, Plan) {
    let (folder, file) = folder(matrix);
    let plan = Plan::new(&file, &folder.path().join("runs"), Which::Quick, None, &[]).unwrap();
    (folder, plan)
}

fn problem(matrix: &str) -> String {
    let (_folder, file) = folder(matrix);
    let error = Plan::new(&file, Path::new("runs"), Which::Quick, None, &[]).unwrap_err();
    assert!(error.is::<process::BadInput>(), "{error:#}");
    format!("{error:#}")
}

fn kinds(jobs: &[Job]) -> Vec<Kind> {
    jobs.iter().map(|job| job.kind).collect()
}

#[test]
fn the_matrices_of_the_paper_have_its_rows() {
    let rows = BTreeMap::from([
        ("fig4", 8),
        ("fig8", 9),
        ("sparse", 2),
        ("table1a", 4),
        ("table1b", 5),
        ("table1c", 5),
        ("table2a", 3),
        ("table2b", 3),
        ("table2c", 2),
        ("table2d", 5),
        ("table2e", 4),
        ("table2f", 4),
        ("table3", 8),
        ("table16", 5),
    ]);
    let folder = paths::checkout().join("configs/ablations");
    let mut found = BTreeMap::new();
    for file in fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
    {
        let plans = [Which::Full, Which::Quick]
            .map(|which| Plan::new(&file, Path::new("runs"), which, None, &[]).unwrap());
        assert_eq!(plans[0].cells.len(), plans[1].cells.len());
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        found.insert(stem, plans[0].cells.len());
    }
    let rows: BTreeMap<String, usize> = rows
        .into_iter()
        .map(|(name, rows)| (name.to_owned(), rows))
        .collect();
    assert_eq!(found, rows);
}

/// The paper's best cell stands in eight of its tables.
#[test]
fn matrices_share_their_equal_runs() {
    let hash = |file: &str, cell: &str| {
        let file = paths::checkout().join("configs/ablations").join(file);
        let plan = Plan::new(&file, Path::new("runs"), Which::Quick, None, &[cell.to_owned()]).unwrap();
        plan.chosen().next().unwrap().jobs[0].hash.clone()
    };
    let v2 = hash("table2a.toml", "l2-norm");
    for (file, cell) in [
        ("table2b.toml", "divisive*"),
        ("table2c.toml", "with"),
        ("table2d.toml", "grn"),
        ("table2f.toml", "dropped*"),
        ("table16.toml", "all*"),
        ("fig8.toml", "mask-ratio-0.6"),
        ("table3.toml", "v2-base_fcmae"),
    ] {
        assert_eq!(hash(file, cell), v2, "{file}");
    }
    let v1 = hash("table2d.toml", "baseline");
    for (file, cell) in [
        ("table1a.toml", "convnext-block"),
        ("table1b.toml", "blocks-1"),
        ("table1c.toml", "width-256"),
        ("table2f.toml", "only*"),
        ("sparse.toml", "sparse"),
        ("fig4.toml", "v1_as*"),
    ] {
        assert_eq!(hash(file, cell), v1, "{file}");
    }
    assert_ne!(v1, v2);
}

#[test]
fn cells_are_all_combinations_with_settings_of_both_axes() {
    let (_folder, plan) = plan(&format!(
        "published = [\"top-1\", \"hours\"]\nsettings.both.model.block = \"v1\"\n{PROFILE}measures = [\"top1\"]\n\
         [[axes]]\nname = \"ratio\"\nkey = \"pretrain.mask.mask_ratio\"\n\
         values = [{{ value = 0.5, published = {{ \"From zero\" = 1.5, FCMAE = [2.5, 9.0] }} }}, 0.75]\n\
         [[axes]]\nname = \"training\"\n\
         values = [{{ label = \"From zero\", from_scratch = true, quick = {{ finetune = {{ schedule.epochs = 9 }} }} }},\n\
         {{ label = \"FCMAE\", full.pretrain.seed = 7 }}]\n"
    ));
    let names: Vec<&str> = plan.cells.iter().map(|cell| cell.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ratio-0.5_from-zero",
            "ratio-0.5_fcmae",
            "ratio-0.75_from-zero",
            "ratio-0.75_fcmae"
        ]
    );
    let [scratch, fcmae] = [&plan.cells[0], &plan.cells[1]];
    assert_eq!(scratch.values, [json!(0.5), json!("From zero")]);
    assert_eq!(
        scratch.settings.finetune(),
        ["model.block=\"v1\"", "schedule.epochs=9"]
    );
    assert_eq!(
        fcmae.settings.pretrain(),
        ["mask.mask_ratio=0.5", "model.block=\"v1\""]
    );
    assert_eq!(scratch.published, BTreeMap::from([("top-1".into(), 1.5)]));
    assert_eq!(
        fcmae.published,
        BTreeMap::from([("top-1".into(), 2.5), ("hours".into(), 9.0)])
    );
    assert!(plan.cells[3].published.is_empty());

    let order: Vec<&str> = plan.works.iter().map(|work| work.name.as_str()).collect();
    assert_eq!(
        order[3..5],
        ["ratio-0.75_fcmae/seed-0", "ratio-0.5_from-zero/seed-1"]
    );
    assert_eq!(kinds(&plan.works[0].jobs), [Kind::Finetune, Kind::Evaluate]);
    assert_eq!(
        kinds(&plan.works[1].jobs),
        [Kind::Pretrain, Kind::Finetune, Kind::Evaluate]
    );
}

#[test]
fn a_cell_runs_what_its_measures_need() {
    let check = |measures: &str, expected: &[Kind]| {
        let (_folder, plan) = plan(&format!(
            "{PROFILE}measures = {measures}\n[[axes]]\nname = \"a\"\nvalues = [{{ label = \"b\" }}]\n"
        ));
        let jobs = of_cell(plan.profile().unwrap(), &plan.cells[0], 0).unwrap();
        assert_eq!(kinds(&jobs), expected, "{measures}");
    };
    use Kind::{Analyze, Evaluate, Finetune, Pretrain, Probe};
    check("[\"loss\"]", &[Pretrain]);
    check("[\"knn_top1\", \"collapse\"]", &[Pretrain, Probe, Analyze]);
    check("[\"auroc\"]", &[Pretrain, Finetune, Evaluate]);
}

#[test]
fn the_commands_can_be_typed() {
    let (folder, plan) = plan(&format!(
        "{PROFILE}measures = [\"top1\", \"knn_top1\"]\nsettings.inference.knn.k = [3]\n\
         [[axes]]\nname = \"ratio\"\nkey = \"pretrain.mask.mask_ratio\"\nvalues = [0.5]\n"
    ));
    let jobs = &plan.works[1].jobs;
    let line = |job: &Job, weights: Option<&Path>| {
        let line = process::line(&job.command(Path::new("fcmae"), Path::new("runs/m/c/seed-1/x"), weights));
        line.replace(folder.path().to_str().unwrap(), "")
    };
    assert_eq!(
        line(&jobs[0], None),
        "fcmae pretrain /pre.toml --set 'output_dir=\"runs/m/c/seed-1\"' --set 'name=\"x\"' --set mask.mask_ratio=0.5 --set \
         seed=1 --json"
    );
    let weights = Some(Path::new("runs/m/c/seed-1/pretrain"));
    assert_eq!(
        line(&jobs[1], weights),
        "fcmae probe runs/m/c/seed-1/pretrain --output runs/m/c/seed-1/x --set 'knn.k=[3]' --json"
    );
    assert!(
        line(&jobs[2], weights)
            .starts_with("fcmae finetune /fine.toml --set 'init=\"runs/m/c/seed-1/pretrain\"' ")
    );
    assert_eq!(jobs[2].dataset(), Some("elpv"));
    let check = jobs[0].check(Path::new("fcmae")).unwrap();
    assert!(process::line(&check).ends_with("/pre.toml --set mask.mask_ratio=0.5 --set seed=1 --dry-run"));
    assert!(jobs[1].check(Path::new("fcmae")).is_none());
}

#[test]
fn averaged_weights_are_evaluated_where_there_are_some() {
    let of = |output| weights_of(Kind::Finetune, &output).display().to_string();
    assert!(of(json!({"finetuned": {"best": {}, "best_ema": {}}})).starts_with("checkpoints/best-ema/"));
    assert!(of(json!({"finetuned": {"best": {}}})).starts_with("checkpoints/best/"));
    assert!(of(json!({})).starts_with("checkpoints/last/"));
    assert_eq!(weights_of(Kind::Pretrain, &json!({})), Path::new(""));
}

#[test]
fn slips_are_named() {
    let check = |text: &str, words: &[&str]| {
        let message = problem(text);
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
    };
    let axis =
        |values: &str| format!("{PROFILE}measures = [\"loss\"]\n[[axes]]\nname = \"a\"\nvalues = {values}\n");
    check(&axis("[1]"), &["no `key` that 1 could be a value of"]);
    check(&axis("[]"), &["the axis `a` has no values"]);
    check(
        &axis("[{ label = \"x\", pretrian = {} }]"),
        &["mini.toml:7", "did you mean `axes.pretrain`?"],
    );
    check(
        &axis("[{ label = \"x y\" }, { label = \"X, y\" }]"),
        &["two cells would be called `x-y`"],
    );
    check(
        &axis("[{ label = \"x\", published = 1.5 }]"),
        &["`published` names 0 column(s)"],
    );
    check(&axis("[{ label = \"–\" }]"), &["a letter or a digit"]);
    check(&axis("[{}]"), &["needs a `label`"]);
    check(
        &axis("[{ label = \"x\" }]").replace("loss", "los"),
        &["did you mean \"loss\"?"],
    );
    check(
        &axis("[{ label = \"x\" }]").replace("[quick]", "[full]"),
        &["no profile [quick]"],
    );
    check(
        &axis("[{ label = \"x\" }]").replace("pre.toml", "pro.toml"),
        &["pro.toml", "cannot be read"],
    );
    check(
        &axis("[{ label = \"x\" }]").replace("seeds = 2", "seeds = 0"),
        &["`seeds` above 0"],
    );
    check(
        &axis("[{ label = \"x\", from_scratch = true }]").replace("finetune = \"fine.toml\"\n", ""),
        &["needs `finetune`"],
    );
}

#[test]
fn stars_stand_for_any_characters() {
    for (pattern, name, expected) in [
        ("grn", "grn", true),
        ("grn", "grn/seed-0", false),
        ("*", "", true),
        ("l*/seed-1", "l2-norm/seed-1", true),
        ("*norm*", "l2-norm/seed-1", true),
        ("a*b*c", "a-c-b", false),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}

/// A job in the store, done or begun.
fn write(store: &mut Store, job: &Job, stem: &Path, loss: Option<f64>) {
    let done = loss.map(|loss| Done {
        seconds: 2.0,
        measures: BTreeMap::from([("loss".to_owned(), loss)]),
        weights: PathBuf::new(),
    });
    let record = Record {
        hash: job.hash.clone(),
        kind: job.kind,
        command: String::new(),
        done,
        failed: None,
    };
    store.write(stem, record).unwrap();
}

#[test]
fn a_job_is_found_again_by_its_settings() {
    let (folder, plan) = plan(&format!(
        "{PROFILE}measures = [\"loss\"]\n\
         [[axes]]\nname = \"ratio\"\nkey = \"pretrain.mask.mask_ratio\"\nvalues = [0.5, 0.6]\n"
    ));
    let root = folder.path().join("runs");
    let [half, rest] = [&plan.works[0].jobs[0], &plan.works[1].jobs[0]];
    let open = |store: &Store| {
        plan.open(store)
            .iter()
            .map(|(work, _)| work.name.clone())
            .collect::<Vec<_>>()
    };
    let mut store = Store::open(&root, &plan.folder).unwrap();
    assert_eq!(open(&store).len(), 4);
    let own = plan.folder.join(&plan.works[0].name);
    let stem = store.place(half, &own);
    assert_eq!(stem, own.join("pretrain"));

    // begun here and done in another matrix: that counts
    write(&mut store, half, &stem, None);
    assert_eq!(open(&store).len(), 4);
    let other = root.join("other/cell/seed-0/pretrain");
    write(&mut store, half, &other, Some(0.5));
    let mut store = Store::open(&root, &plan.folder).unwrap();
    assert_eq!(store.place(half, &own), other);
    assert_eq!(
        open(&store),
        ["ratio-0.6/seed-0", "ratio-0.5/seed-1", "ratio-0.6/seed-1"]
    );

    // other settings find the place taken
    assert_eq!(store.place(rest, &own), own.join("pretrain-2"));

    write(
        &mut store,
        &plan.works[2].jobs[0],
        &plan.folder.join("ratio-0.5/seed-1/pretrain"),
        Some(0.7),
    );
    let text = Results::collect(&plan, &store).unwrap().text();
    assert!(text.contains("0.5        2  0.6000 ± 0.1414"), "{text}");
    assert!(text.contains("0.6        0                –"), "{text}");
}

#[test]
fn a_matrix_reads_its_files_where_they_are_named() {
    let (folder, file) =
        folder("extends = \"base/all.toml\"\n[[axes]]\nname = \"a\"\nvalues = [{ label = \"b\" }]\n");
    fs::create_dir(folder.path().join("base")).unwrap();
    fs::write(
        folder.path().join("base/all.toml"),
        format!("{PROFILE}measures = [\"loss\"]\n"),
    )
    .unwrap();
    let matrix = Matrix::load(&file).unwrap();
    let profile = matrix.profile(Which::Quick).unwrap();
    assert_eq!(
        profile.pretrain.as_deref(),
        Some(folder.path().join("base/pre.toml").as_path())
    );
    assert_eq!(cell::all(&matrix, Which::Quick).unwrap().len(), 1);
}
