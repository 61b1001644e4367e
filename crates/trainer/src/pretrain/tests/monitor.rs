//! Runs that watch their features.

use fcmae_encoder::Site;
use fcmae_kernels::GrnScope;

use super::*;
use crate::config::{MonitorConfig, MonitorKnnConfig};
use crate::inference::{AnalysisOptions, Inference};

/// Watching the features changes no bit of what is learnt, and being stopped inside a measurement changes none of what
/// is measured.
#[test]
fn a_watched_run_is_the_same_run_and_can_be_stopped_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.schedule.epochs = 2;
    config.name = "alone".into();
    run(&config);
    let alone = left(&config);

    let rows: String = (0..14)
        .map(|i| format!("images/{i:03}.png,{}\n", i % 2))
        .collect();
    fs::write(folder.path().join("labelled.csv"), format!("path,label\n{rows}")).unwrap();
    config.monitor = MonitorConfig {
        every_epochs: 1,
        images: 4, // there are two
        knn: Some(MonitorKnnConfig {
            path: Some(folder.path().join("labelled.csv")),
            images: 5,
            k: 2,
            ..MonitorKnnConfig::default()
        }),
        ..MonitorConfig::default()
    };
    config.name = "watched".into();
    run(&config);
    let watched = left(&config);
    assert!((&watched.weights, &watched.moments) == (&alone.weights, &alone.moments));
    let monitors: Vec<_> = watched
        .metrics
        .iter()
        .filter(|line| !line["monitor"].is_null())
        .collect();
    assert_eq!(monitors.len(), 2);
    let monitor = &monitors[1]["monitor"];
    assert_eq!(
        (&monitor["images"], &monitor["knn"]["images"]),
        (&2.into(), &5.into())
    );
    assert!(
        monitor["hidden_distance"].as_f64().unwrap() > 0.0 && monitor["collapsed"] == false,
        "{monitor}"
    );

    let mut stops = 0;
    for poll in 1.. {
        config.name = format!("stopped-{poll}");
        let summary = pretrain(&config, &quiet(Start::Continue, StopFlag::at_poll(poll))).unwrap();
        if summary.ending == Ending::Finished {
            break;
        }
        stops += 1;
        assert_eq!(run(&config).ending, Ending::Finished);
        assert!(
            left(&config) == watched,
            "stopped at poll {poll}, step {}",
            summary.step
        );
    }
    assert_eq!(stops, 6 * 2 + 2 * (1 + 1 + 3)); // batches of steps; of an epoch held-out, watched and labelled ones
}

/// GRN over the batch is a matter of training: features are those of the dense network, image by image.
#[test]
fn what_is_watched_is_what_is_analyzed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.model.grn_scope = GrnScope::Batch;
    config.data.val_fraction = 0.0;
    config.monitor = MonitorConfig {
        every_epochs: 3,
        images: 5,
        ..MonitorConfig::default()
    };
    run(&config);
    let watched = left(&config).metrics.pop().unwrap();
    let watched = &watched["monitor"]["cosine_distance"];
    let inference =
        Inference::open(&config.run_folder(), &["device=cpu".into(), "threads=1".into()]).unwrap();
    let options = AnalysisOptions {
        split: None,
        limit: 5,
        selectivity: false,
        picture: None,
    };
    let analysis = inference
        .with_data(folder.path().join("images").to_str().unwrap())
        .analyze(&options)
        .unwrap();
    for site in Site::ALL {
        let name = serde_json::to_value(site).unwrap();
        let watched = watched[name.as_str().unwrap()].as_array().unwrap();
        assert_eq!(watched.len(), 3);
        for (layer, watched) in analysis.report.at(site).zip(watched) {
            let watched = watched.as_f64().unwrap();
            let place = layer.place();
            assert!(
                (layer.cosine_distance - watched).abs() < 1e-5,
                "{place}: {watched}"
            );
        }
    }
}

#[test]
fn labels_that_cannot_be_used_are_refused_before_a_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.monitor.every_epochs = 1;
    config.monitor.knn = Some(MonitorKnnConfig::default());
    assert!(refusal(&config, Start::Continue).starts_with("`monitor.knn.path`: is missing"));
    let knn = config.monitor.knn.as_mut().unwrap();
    knn.path = Some(folder.path().join("images"));
    let error = pretrain(&config, &quiet(Start::Continue, StopFlag::default())).unwrap_err();
    assert!(error.to_string().contains("label"), "{error}");
    assert!(!config.output_dir.exists());
}
