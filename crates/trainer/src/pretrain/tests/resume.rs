//! Runs that are stopped, killed, damaged, extended or begun anew.

use super::*;

/// The promise: wherever it is stopped, inside an accumulation window and a measurement too, a resumed run
/// leaves the same bits.
#[test]
fn a_run_stopped_anywhere_and_resumed_leaves_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.name = "undisturbed".into();
    run(&config);
    let undisturbed = left(&config);

    let mut stops = 0;
    for poll in 1.. {
        config.name = format!("stopped-{poll}");
        let stop = StopFlag::at_poll(poll);
        let summary = pretrain(&config, &quiet(Start::Continue, stop)).unwrap();
        if summary.ending == Ending::Finished {
            break;
        }
        stops += 1;
        assert_eq!(summary.ending, Ending::Stopped);
        let resumed = run(&config);
        assert_eq!(resumed.ending, Ending::Finished);
        assert_eq!(resumed.resumed_from, (summary.step > 0).then_some(summary.step));
        assert!(
            left(&config) == undisturbed,
            "stopped at poll {poll}, step {}",
            summary.step
        );
    }
    assert_eq!(stops, 9 * 2 + 3); // each batch of a step, each held-out batch
}

/// What is kept for the backward pass is no part of the result: a run may go on with less memory.
#[test]
fn a_run_goes_on_with_another_activation_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.name = "undisturbed".into();
    run(&config);
    let undisturbed = left(&config);

    config.name = "changed".into();
    let stopped = pretrain(&config, &quiet(Start::Continue, StopFlag::at_poll(8))).unwrap();
    assert_eq!((stopped.ending, stopped.step), (Ending::Stopped, 3));
    config.activation = Activation::Recompute;
    assert_eq!(run(&config).resumed_from, Some(3));
    assert!(left(&config) == undisturbed);
}

/// What a kill leaves: metrics beyond the newest checkpoint, and a checkpoint half written.
#[test]
fn a_killed_run_goes_on_from_its_newest_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    run(&config);
    let undisturbed = left(&config);
    let checkpoints = config.run_folder().join("checkpoints");
    for step in [6, 8, 9] {
        fs::remove_dir_all(checkpoints.join(format!("step-{step:08}"))).unwrap();
    }
    fs::create_dir(checkpoints.join(".staging-step-00000006-1")).unwrap();
    let resumed = run(&config);
    assert_eq!(
        (resumed.resumed_from, resumed.ending),
        (Some(4), Ending::Finished)
    );
    assert!(left(&config) == undisturbed);
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    run(&config);
    let undisturbed = left(&config);
    let checkpoints = config.run_folder().join("checkpoints");
    let file = checkpoints.join("step-00000009/model.safetensors");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(run(&config).resumed_from, Some(8));
    assert!(left(&config) == undisturbed);

    // Without their lists none can be trusted; beginning anew in their place would lose them.
    for entry in fs::read_dir(&checkpoints).unwrap() {
        let _ = fs::remove_file(entry.unwrap().path().join("checksums"));
    }
    let error = pretrain(&config, &quiet(Start::Continue, StopFlag::default())).unwrap_err();
    assert!(error.to_string().contains("can be used"), "{error:#}");
}

/// A disk that goes away or becomes read-only; permissions alone would not stop a test that runs as root.
#[test]
fn a_folder_that_refuses_checkpoints_ends_the_run_and_keeps_those_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.schedule.epochs = 300; // it does not come to that
    let checkpoints = config.run_folder().join("checkpoints");
    let aside = folder.path().join("aside");
    let (watcher, news) = std::sync::mpsc::channel();
    let options = RunOptions {
        watcher: Some(watcher),
        ..quiet(Start::Continue, StopFlag::default())
    };
    let error = std::thread::scope(|scope| {
        let (checkpoints, aside) = (&checkpoints, &aside);
        scope.spawn(move || {
            let far = |news: News| matches!(news, News::Step(shown) if shown.step >= 5);
            assert!(news.iter().any(far));
            fs::rename(checkpoints, aside).unwrap();
            while fs::write(checkpoints, "nothing can be made in here").is_err() {
                let _ = fs::remove_dir_all(checkpoints); // the run was faster, and has made it anew
            }
        });
        let error = pretrain(&config, &options).unwrap_err();
        drop(options);
        error
    });
    let message = format!("{error:#}");
    assert!(message.contains("run/checkpoints"), "{message}"); // best weights or a step, whichever was next

    fs::remove_file(&checkpoints).unwrap();
    fs::rename(&aside, &checkpoints).unwrap();
    let newest = CheckpointFolder::view(&checkpoints)
        .latest_valid()
        .unwrap()
        .unwrap();
    let resumed = pretrain(&config, &quiet(Start::Continue, StopFlag::at_poll(2))).unwrap();
    assert_eq!(
        (resumed.resumed_from, newest.warnings.len()),
        (Some(newest.step), 0)
    );
    assert!(newest.step >= 3); // the one of step 4 may have been on its way
}

#[test]
fn a_finished_run_does_nothing_until_it_is_extended() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    run(&config);
    let before = left(&config);
    let again = run(&config);
    assert_eq!((again.ending, again.step), (Ending::AlreadyFinished, 9));
    assert!(again.parameters > 0 && again.train_loss.is_some());
    assert!(left(&config) == before);

    config.schedule.epochs = 4;
    let extended = run(&config);
    assert_eq!(
        (extended.ending, extended.step, extended.resumed_from),
        (Ending::Finished, 12, Some(9))
    );
    assert_eq!(left(&config).metrics[..12], before.metrics);
}

#[test]
fn a_changed_config_is_refused_and_what_differs_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    run(&config);
    let before = left(&config);
    let mut changed = config.clone();
    changed.optimizer.lr = Some(0.1);
    changed.schedule.epochs = 2;
    changed.log.every_steps = 3; // free to change
    let message = refusal(&changed, Start::Continue);
    assert!(
        message.contains("optimizer.lr") && message.contains("schedule.epochs"),
        "{message}"
    );
    assert!(
        message.contains("(--retune goes on with it); `schedule.epochs` was 3, is 2;"),
        "{message}"
    );
    assert!(!message.contains("log.every_steps"), "{message}");
    assert!(left(&config) == before);

    pictures(folder.path(), 15);
    let message = refusal(&config, Start::Continue);
    assert!(message.contains("the training images: were 12 ("), "{message}");
}

/// The same images lie somewhere else, or in shards, and other workers read them: nothing of it is seen in the weights.
#[test]
fn a_run_goes_on_inside_an_epoch_where_its_images_were_moved_or_packed() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.name = "undisturbed".into();
    run(&config);
    let undisturbed = left(&config);
    let source = config.data.clone();
    let moved = pictures(&folder.path().join("elsewhere"), 14);
    let packed = folder.path().join("packed");
    fcmae_data::pack(&source, &packed, &fcmae_data::PackOptions::default(), &mut |_| {}).unwrap();
    for (name, place, workers) in [("moved", moved, 3), ("packed", packed, 2)] {
        config.name = name.into();
        config.data = source.clone();
        let stopped = pretrain(&config, &quiet(Start::Continue, StopFlag::at_poll(11))).unwrap();
        assert_eq!((stopped.ending, stopped.step), (Ending::Stopped, 4)); // of 9, three an epoch
        config.data.path = Some(place);
        config.data.workers = workers;
        let (watcher, news) = std::sync::mpsc::channel();
        let options = RunOptions {
            watcher: Some(watcher),
            ..quiet(Start::Continue, StopFlag::default())
        };
        assert_eq!(pretrain(&config, &options).unwrap().resumed_from, Some(4));
        drop(options);
        let told = |news: News| matches!(news, News::Line(line) if line.starts_with("the same images, elsewhere: `data.path` was "));
        assert!(news.iter().any(told), "{name}");
        let left = left(&config);
        assert!(
            left.weights == undisturbed.weights && left.moments == undisturbed.moments,
            "{name}"
        );
        assert!(
            left.metrics == undisturbed.metrics && left.pictures == undisturbed.pictures,
            "{name}"
        );
    }
}

#[test]
fn other_files_under_the_same_names_are_told_of_and_elsewhere_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    pretrain(&config, &quiet(Start::Continue, StopFlag::at_poll(8))).unwrap();
    let elsewhere = pictures(&folder.path().join("elsewhere"), 14);
    let larger = image::GrayImage::from_pixel(64, 64, image::Luma([7]));
    larger.save(elsewhere.join("003.png")).unwrap();
    let here = config.data.path.replace(elsewhere).unwrap();
    let message = refusal(&config, Start::Continue);
    assert!(message.contains("`data.path` was "), "{message}");

    config.data.path = Some(here.clone());
    larger.save(here.join("003.png")).unwrap(); // it was repaired, say
    let told = |news: News| matches!(news, News::Warning(line) if line.starts_with("some of the images are other files"));
    assert!(news_of(&config).into_iter().any(told));
}

/// What is told while a run goes on to its end.
fn news_of(config: &PretrainConfig) -> Vec<News> {
    let (watcher, news) = std::sync::mpsc::channel();
    let options = RunOptions {
        watcher: Some(watcher),
        ..quiet(Start::Continue, StopFlag::default())
    };
    assert_eq!(pretrain(config, &options).unwrap().ending, Ending::Finished);
    drop(options);
    news.iter().collect()
}

/// What a run has left out so far it must go on leaving out.
#[test]
fn the_limit_of_pixels_is_free_while_it_leaves_nothing_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    for (on_error, is_free) in [(OnError::Error, true), (OnError::Skip, false)] {
        config.data.max_pixels = DataConfig::default().max_pixels;
        config.data.on_error = on_error;
        config.name = format!("{on_error:?}");
        pretrain(&config, &quiet(Start::Continue, StopFlag::at_poll(8))).unwrap();
        config.data.max_pixels = 4000;
        if is_free {
            let told = |news: News| matches!(news, News::Line(line) if line.starts_with("from here on: `data.max_pixels` was "));
            assert!(news_of(&config).into_iter().any(told));
        } else {
            let message = refusal(&config, Start::Continue);
            assert!(message.contains("`data.max_pixels` was "), "{message}");
        }
    }
}

#[test]
fn a_run_goes_on_with_another_rate_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    run(&config);
    config.schedule.epochs = 4;
    config.optimizer.lr = Some(1e-3);
    let (watcher, news) = std::sync::mpsc::channel();
    let options = RunOptions {
        retune: true,
        watcher: Some(watcher),
        ..RunOptions::default()
    };
    let summary = pretrain(&config, &options).unwrap();
    drop(options);
    assert_eq!((summary.resumed_from, summary.step), (Some(9), 12));
    let told = |news: News| matches!(news, News::Line(line) if line == "from here on: `optimizer.lr` was 0.003, is 0.001");
    assert!(news.iter().any(told));
    let rates = metrics(&config.run_folder());
    assert!(rates.last().unwrap()["lr"].as_f64().unwrap() < 1e-3);
    assert_eq!(run(&config).ending, Ending::AlreadyFinished); // that is its config now
}

#[test]
fn fresh_takes_a_new_name_and_resume_wants_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    let message = refusal(&config, Start::Resume);
    assert!(
        message.contains("holds no checkpoint to resume from"),
        "{message}"
    );
    run(&config);
    let fresh = pretrain(&config, &quiet(Start::Fresh, StopFlag::default())).unwrap();
    assert!(fresh.run.ends_with("run-2"));
    let second = PretrainConfig {
        name: "run-2".into(),
        ..config.clone()
    };
    assert!(left(&config) == left(&second));
}
