//! What the pages say of run folders that are whole, young, old, damaged, or no run folders at all.

mod support;

use std::fs;
use std::path::Path;

use fcmae_report::{LiveReport, Matrix, Pictures, ReportError, Run, compare_page, matrix_page, run_page};
use support::EVIL;

fn page(folder: &Path) -> String {
    let run = Run::read(folder).unwrap();
    run_page(&run, &Pictures::of(folder, run.image_size()))
}

fn contains(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part:?} is not on the page");
    }
}

/// Charts of a page that have a line or dots.
fn charts(page: &str) -> usize {
    let figures = page.split("<figure").skip(1);
    figures
        .filter(|figure| figure.split("</figure>").next().unwrap().contains(" d=\"M"))
        .count()
}

#[test]
fn a_whole_run_is_told_whole() {
    let home = tempfile::tempdir().unwrap();
    let page = page(&support::run(home.path(), "cells"));
    contains(
        &page,
        &[
            "<h1>cells</h1>",
            "Pre-training, 4 of 4 epochs, finished",
            "atto · 3.7 M parameters",
            "90.00 %",   // top-1 of the last epoch
            "50 s</dd>", // four epochs
            "a.toml:7",  // where the learning rate was given
            "All 5 values",
            "--fresh",
            "Hidden distance",
            "Effective rank",
            "after epoch 4",
            "<span class=\"x\" style=\"left:50.00%\">0.1</span>", // the middle one of three blocks
            "[1, 2, 4]",                                          // the slider's epochs
        ],
    );
    // loss; top-1, F1 (AUROC has no number); distance, dead, two profiles; lr, gradients, speed, waiting
    assert_eq!(charts(&page), 1 + 2 + 4 + 4);
    assert_eq!(page.matches("data:image/png;base64,").count(), 2 + 3);
    assert!(!page.contains("<body data-growing"));
}

#[test]
fn nothing_is_fetched_and_no_text_becomes_markup() {
    let home = tempfile::tempdir().unwrap();
    let folder = support::run(home.path(), "a<b>&");
    let runs = [
        Run::read(&folder).unwrap(),
        Run::read(&support::run(home.path(), "other")).unwrap(),
    ];
    let matrix: Matrix = serde_json::from_str(support::MATRIX).unwrap();
    for page in [page(&folder), compare_page(&runs), matrix_page(&matrix)] {
        assert!(!page.contains("<img") && !page.contains(EVIL) && !page.contains("<b>&"));
        assert_eq!(page.matches("</style>").count(), 1);
        assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
        for fetched in ["http:", "https:", "src=\"", "@import", "fetch("] {
            assert!(!page.contains(fetched), "{fetched}");
        }
    }
}

#[test]
fn a_young_run_has_what_there_is() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("young");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.toml"), support::config("young")).unwrap();
    let empty = page(&folder);
    contains(&empty, &["Pre-training, 0 of 4 epochs", "<body data-growing"]);
    assert_eq!(charts(&empty), 0);
    assert!(!empty.contains("<h2>Loss</h2>") && !empty.contains("NaN") && !empty.contains(">inf"));

    fs::write(folder.join("metrics.jsonl"), support::metrics(1)).unwrap();
    let first = page(&folder);
    contains(
        &first,
        &["Pre-training, 1 of 4 epochs", "about 38 s left", "<progress"],
    );
    assert_eq!(charts(&first), 11);
    assert!(!first.contains("NaN"));
}

#[test]
fn an_old_run_shows_what_its_checkpoint_knows() {
    let home = tempfile::tempdir().unwrap();
    let folder = support::run(home.path(), "old");
    fs::remove_file(folder.join("provenance.json")).unwrap();
    fs::create_dir_all(folder.join("checkpoints/last")).unwrap();
    let state = r#"{"machine": {"device": "cuda:1", "threads": 3}, "ended_early": true}"#;
    fs::write(folder.join("checkpoints/last/state.json"), state).unwrap();
    let page = page(&folder);
    contains(
        &page,
        &["cuda:1", "<td>3</td>", "ended early", "was not recorded"],
    );
}

#[test]
fn what_is_no_run_is_refused_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let refused = |folder: &Path| Run::read(folder).unwrap_err();
    let missing = refused(&home.path().join("none"));
    assert!(matches!(missing, ReportError::NoRun { .. }), "{missing}");
    let folder = support::run(home.path(), "damaged");
    assert!(matches!(
        refused(&folder.join("config.toml")),
        ReportError::NoRun { .. }
    ));
    fs::write(folder.join("provenance.json"), "{").unwrap();
    let damaged = refused(&folder).to_string();
    assert!(
        damaged.contains("provenance.json: EOF") && !damaged.contains('\n'),
        "{damaged}"
    );
    fs::write(folder.join("config.toml"), "a = ").unwrap();
    assert!(refused(&folder).to_string().contains("config.toml: "));
}

#[test]
fn runs_are_compared_by_numbers_curves_and_config() {
    let home = tempfile::tempdir().unwrap();
    let first = support::run(&home.path().join("x"), "same");
    let second = support::run(&home.path().join("y"), "same");
    let config = support::config("same").replace("0.001", "0.002");
    fs::write(second.join("config.toml"), config).unwrap();
    fs::write(second.join("metrics.jsonl"), support::metrics(2)).unwrap();
    let page = compare_page(&[Run::read(&first).unwrap(), Run::read(&second).unwrap()]);
    contains(
        &page,
        &[
            "x/same",
            "y/same",
            "optimizer.lr",
            "<code>0.002</code>",
            "Layers, grn",
        ],
    );
    assert!(!page.contains("schedule.epochs"), "equal keys are left out");
    // the held-out loss of the first run is the lower one
    contains(
        &page,
        &["<td class=\"number best\" data-order=\"0.0225\">0.02250</td>"],
    );
    assert_eq!(compare_page(&[]).matches("<tr>").count(), 1);
}

#[test]
fn a_matrix_has_a_table_and_a_plot_for_each_axis() {
    let matrix: Matrix = serde_json::from_str(support::MATRIX).unwrap();
    let page = matrix_page(&matrix);
    contains(
        &page,
        &[
            "Mask &amp; &lt;decoder&gt;",
            "4 cells, 2 seeds",
            "top-1 (%) ↑",
            "0.6000 ± 0.14",
            "<td class=\"number best\" data-order=\"0.4\">0.4000</td>",
            "83.70",
            "published",
            "kind convnext",
        ],
    );
    assert_eq!(charts(&page), 4); // two axes, two measures
}

#[test]
fn a_bad_matrix_is_refused_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("matrix.json");
    let refused = |text: &str| {
        fs::write(&file, text).unwrap();
        Matrix::read(&file).unwrap_err().to_string()
    };
    assert!(refused("{").contains("matrix.json: EOF"));
    assert!(refused(&support::MATRIX.replace("\"title\"", "\"tilte\"")).contains("unknown field `tilte`"));
    let nowhere =
        refused(&support::MATRIX.replace("{\"mask.mask_ratio\": 0.6, \"decoder.kind\": \"unet\"}", "{}"));
    assert!(
        nowhere.ends_with("the cell \"high-unet\" has no value on the axis \"mask.mask_ratio\""),
        "{nowhere}"
    );
    assert!(Matrix::read(&home.path().join("none")).is_err());
}

#[test]
fn the_report_of_a_run_in_training_is_replaced_whole_and_not_too_often() {
    let home = tempfile::tempdir().unwrap();
    let folder = support::run(home.path(), "live");
    let mut report = LiveReport::new(&folder);
    report.refresh().unwrap();
    let first = fs::read_to_string(report.file()).unwrap();
    assert!(first.ends_with("</html>"));
    fs::write(folder.join("metrics.jsonl"), support::metrics(2)).unwrap();
    report.write().unwrap();
    assert_ne!(fs::read_to_string(report.file()).unwrap(), first);
    fs::remove_file(report.file()).unwrap();
    report.refresh().unwrap();
    assert!(!report.file().exists(), "it rests after it was written");
    fs::remove_file(folder.join("config.toml")).unwrap();
    assert!(matches!(report.write(), Err(ReportError::NoRun { .. })));
}
