//! The report of a run: written while it trains, made again from its folder, beside that of another run.

use fcmae_tests::Place;

#[test]
fn a_run_reports_itself_and_where_it_comes_from() {
    let place = Place::new();
    let command = ["pretrain", "tiny.toml", "--set", "optimizer.lr=1e-3"];
    let _ = place.run(&command).ended(0);
    let page = place.text("runs/tiny/report.html");
    for part in [
        "<h1>tiny</h1>",
        "3 of 3 epochs, finished",
        "--set optimizer.lr=1e-3",
        "tiny.toml:14",
        "fcmae pretrain tiny.toml --set optimizer.lr=1e-3",
        "libtorch",
        "data:image/png",
        "Held-out loss",
    ] {
        assert!(page.contains(part), "{part:?} is not in the report");
    }
    // the same from the folder alone
    place.write("runs/tiny/report.html", "");
    let _ = place.run(&["report", "runs/tiny"]).ended(0);
    assert_eq!(place.text("runs/tiny/report.html"), page);

    // who continues from the run folder finds the same origins
    let longer = ["pretrain", "runs/tiny", "--set", "schedule.epochs=4", "--quiet"];
    let _ = place.run(&longer).ended(0);
    let page = place.text("runs/tiny/report.html");
    assert!(page.contains("tiny.toml:14") && page.contains("--set schedule.epochs=4"));
}

#[test]
fn runs_are_compared_and_nothing_is_written_into_them() {
    let place = Place::new();
    let _ = place
        .run(&[
            "pretrain",
            "tiny.toml",
            "--name",
            "a",
            "--set",
            "log.report=false",
        ])
        .ended(0);
    let _ = place
        .run(&["pretrain", "tiny.toml", "--name", "b", "--set", "seed=4"])
        .ended(0);
    assert!(
        !place.list("runs/a").contains(&"report.html".to_owned()),
        "log.report = false"
    );
    let before = place.snapshot();
    let ran = place
        .run(&["report", "runs/a", "runs/b", "--out", "both.html", "--json"])
        .ended(0);
    assert_eq!(ran.json()["report"], "both.html");
    let page = place.text("both.html");
    assert!(page.contains("2 runs") && page.contains("<code>seed</code>") && page.contains("log.report"));
    std::fs::remove_file(place.path("both.html")).unwrap();
    assert_eq!(place.snapshot(), before);
}

#[test]
fn what_cannot_be_reported_is_said_in_one_line() {
    let place = Place::new();
    for (args, says) in [
        (
            &["report", "images"][..],
            "images: not the folder of a run: there is no config.toml in it",
        ),
        (
            &["report", "images", "images"],
            "a report of several runs needs a file, e.g. `--out report.html`",
        ),
        (
            &["report", "--matrix", "tiny.toml", "--out", "m.html"],
            "tiny.toml: expected value at line 1 column 1",
        ),
        (
            &["report", "--matrix", "none.json", "--out", "m.html"],
            "none.json: No such file",
        ),
        (&["pretrain", "tiny.toml", "--tui"], "--tui"),
    ] {
        let ran = place.run(args).ended(2);
        assert!(
            ran.stderr.contains(says) && ran.stderr.lines().count() == 1,
            "{args:?}: {ran:?}"
        );
    }
}

#[test]
fn an_ablation_is_a_table() {
    let place = Place::new();
    let matrix = r#"{"title": "t", "axes": ["a"], "measures": [{"key": "m", "label": "m", "better": "lower"}],
        "cells": [{"name": "one", "values": {"a": 1}, "seeds": [{"seed": 0, "measures": {"m": 0.5}}]}]}"#;
    place.write("matrix.json", matrix);
    let _ = place
        .run(&["report", "--matrix", "matrix.json", "--out", "matrix.html"])
        .ended(0);
    assert!(place.text("matrix.html").contains("0.5000"));
}
