//! The first lines of a run: what is trained, on what, for how long, and where to.

use fcmae_encoder::EncoderConfig;

use super::input::Input;
use crate::progress::Progress;
use crate::state::State;

/// Words behind a model's name, where it is neither V1 nor V2.
pub(crate) fn in_place_of_grn(model: &EncoderConfig) -> String {
    let words = |response| format!(" with {response} in GRN's place");
    model.alternative().map(words).unwrap_or_default()
}

/// Shows them.
pub(crate) fn introduce<C>(progress: &Progress, input: &Input<C>, state: &State, lines: &[String; 2]) {
    let settings = &input.settings;
    let [network, images] = lines;
    progress.line(&format!(
        "{network} · {} · {}",
        settings.precision.name(),
        state.machine
    ));
    progress.line(images);
    progress.line(&format!(
        "{} epochs of {} steps of {} images · lr {:.2e} · into {}",
        settings.schedule.epochs,
        state.steps_per_epoch,
        settings.train.images_per_step(),
        settings.peak_lr,
        settings.run_folder().display()
    ));
    if state.step > 0 {
        progress.line(&format!(
            "resumed at step {} (epoch {:.2})",
            state.step,
            state.fractional_epoch()
        ));
    }
}
