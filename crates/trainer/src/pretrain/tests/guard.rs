//! Steps that nobody should learn from: they stop a run or are passed over, and can be run again.

use super::*;
use crate::config::{GuardConfig, LossConfig, OnBadStep};
use crate::run::{Replay, replay};
use crate::state::State;

fn attempt(config: &PretrainConfig, stop: StopFlag) -> Result<Summary> {
    pretrain(config, &quiet(Start::Continue, stop))
}

/// Weights jump out of all bounds with the first step.
fn diverging(folder: &Path) -> PretrainConfig {
    let mut config = tiny(folder);
    config.optimizer = OptimizerConfig {
        lr: Some(1e30),
        ..OptimizerConfig::default()
    };
    config.checkpoint.every_steps = 0;
    config.schedule.warmup_epochs = 0.0;
    config
}

/// One image of each epoch is far brighter than all others, so that the loss of its step explodes.
fn exploding(folder: &Path) -> PretrainConfig {
    let mut config = tiny(folder);
    for (i, value) in (0..14).map(|i| (i, if i == 6 { 255 } else { 4 + i as u8 })) {
        let picture = image::GrayImage::from_pixel(40, 36, image::Luma([value]));
        picture.save(folder.join(format!("images/{i:03}.png"))).unwrap();
    }
    config.data.mean = vec![0.0];
    config.loss = LossConfig { norm_pix_loss: false };
    config.guard = GuardConfig {
        on_bad_step: OnBadStep::Skip,
        loss_factor: 5.0,
        ..GuardConfig::default()
    };
    config
}

fn state(config: &PretrainConfig) -> State {
    crate::run::read_state(&config.run_folder().join("checkpoints/last")).unwrap()
}

#[test]
fn a_loss_that_is_not_finite_stops_the_run_and_the_step_can_be_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = diverging(folder.path());
    let message = attempt(&config, StopFlag::default()).unwrap_err().to_string();
    assert!(
        message.starts_with("step 2 (epoch 1, batch 2, 3): the loss is "),
        "{message}"
    );
    for words in [
        "no checkpoint was written yet",
        ".png",
        "fcmae replay ",
        "`guard.on_bad_step` = \"skip\"",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }

    let before = fs::read_dir(config.run_folder()).unwrap().count();
    let replay: Replay = replay(&config.run_folder()).unwrap();
    assert_eq!((replay.step, replay.epoch, replay.batches.len()), (2, 1, 2));
    assert!(message.contains(&replay.problem), "{message}: {replay:?}");
    for batch in &replay.batches {
        assert_eq!((batch.loss, batch.loss_then), (None, None));
        assert_eq!(batch.images.len(), 2);
    }
    assert!(
        replay.weights.is_empty() && replay.differences.is_empty(),
        "{replay:?}"
    );
    assert!(replay.first.unwrap().starts_with("what "));
    assert_eq!(
        replay.features.len(),
        2 * (3 + 1),
        "three blocks of the encoder, one of the decoder"
    );
    assert!(replay.gradients.iter().any(|seen| seen.size.is_none()));
    assert_eq!(fs::read_dir(config.run_folder()).unwrap().count(), before);
}

#[test]
fn a_run_skips_no_more_steps_than_it_may() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = diverging(folder.path());
    config.guard.on_bad_step = OnBadStep::Skip;
    config.guard.max_skipped = 2;
    let message = attempt(&config, StopFlag::default()).unwrap_err().to_string();
    assert!(message.starts_with("step 4 (epoch 2, "), "{message}");
    assert!(
        message.ends_with("or raise `guard.max_skipped`: 2 were skipped before"),
        "{message}"
    );
}

/// The run goes on from the checkpoint before the refused step, and the best weights are those of then.
#[test]
fn a_refused_step_does_not_bring_better_weights_than_the_checkpoint_knows() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = exploding(folder.path());
    config.data.val_fraction = 0.15;
    config.validation.every_epochs = 1;
    config.guard.max_skipped = 1;
    config.checkpoint.every_steps = 0;
    config.checkpoint.every_epochs = 100;
    let message = attempt(&config, StopFlag::default()).unwrap_err().to_string();
    assert!(message.starts_with("step 6 (epoch 2, "), "{message}");
    assert!(message.contains("no checkpoint was written yet"), "{message}");
    let best = config.run_folder().join("checkpoints/best/model.safetensors");
    assert!(!best.exists(), "best weights that no checkpoint knows");
    assert!(crate::run::replay(&config.run_folder()).is_ok());
}

/// The promise holds for runs that pass over steps too: neither they nor the optimizer's count is lost by a stop.
#[test]
fn a_skipped_step_is_skipped_in_every_continuation() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = exploding(folder.path());
    assert_eq!(attempt(&config, StopFlag::default()).unwrap().step, 9);
    let expected = left(&config);
    assert_eq!(
        (state(&config).steps_skipped, state(&config).optimizer_steps()),
        (3, 6)
    );
    let steps = expected.metrics.iter().filter(|line| line["kind"] == "step");
    assert_eq!(steps.count(), 6, "a skipped step has no loss");
    for poll in [3, 6, 11, 16] {
        config.name = format!("stopped-{poll}");
        let stopped = attempt(&config, StopFlag::at_poll(poll)).unwrap();
        assert_eq!(stopped.ending, Ending::Stopped, "{poll}");
        attempt(&config, StopFlag::default()).unwrap();
        assert!(left(&config) == expected, "stopped at poll {poll}");
    }

    // A run that stopped there goes on with another policy, and is the same.
    config.name = "policy".into();
    config.guard.on_bad_step = OnBadStep::Stop;
    let message = attempt(&config, StopFlag::default()).unwrap_err().to_string();
    assert!(
        message.contains("more than `guard.loss_factor` = 5 times"),
        "{message}"
    );
    let again = replay(&config.run_folder()).unwrap();
    assert!(
        again.first.is_none()
            && again
                .batches
                .iter()
                .all(|b| b.loss == b.loss_then && b.loss.is_some())
    );
    config.guard.on_bad_step = OnBadStep::Skip;
    attempt(&config, StopFlag::default()).unwrap();
    assert!(left(&config) == expected);
}

#[test]
fn a_run_without_a_refused_step_has_none_to_replay() {
    let folder = tempfile::tempdir().unwrap();
    let error = replay(folder.path()).unwrap_err();
    assert!(
        error.is::<InputError>() && error.to_string().contains("there is none to replay"),
        "{error}"
    );
}
