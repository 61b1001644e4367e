//! The first lines of a run: what is trained, on what, for how long, and where to.

use fcmae_data::Dataset;

use crate::input::Input;
use crate::progress::Progress;
use crate::state::State;

/// Shows them.
pub(crate) fn introduce(progress: &Progress, input: &Input, state: &State, parameters: usize) {
    let config = &input.config;
    let (model, decoder) = (&config.model, &config.decoder);
    progress.line(&format!(
        "{} · decoder {}×{} · {:.2} M parameters · {} · {}",
        model.name,
        decoder.depth,
        decoder.dim,
        parameters as f64 / 1e6,
        config.precision.name(),
        state.machine
    ));
    let [height, width] = config.data.image_size;
    progress.line(&format!(
        "{} images of {height}×{width} {} from {}, {} held out · patches of {} px, {} of them hidden",
        input.dataset.len(),
        config.data.color.name(),
        input.dataset.origin().display(),
        input.held_out.as_ref().map_or(0, Dataset::len),
        model.total_stride(),
        config.mask.mask_ratio
    ));
    progress.line(&format!(
        "{} epochs of {} steps of {} images · lr {:.2e} · into {}",
        config.schedule.epochs,
        state.steps_per_epoch,
        config.train.images_per_step(),
        config.peak_lr(),
        config.run_folder().display()
    ));
    if state.step > 0 {
        progress.line(&format!(
            "resumed at step {} (epoch {:.2})",
            state.step,
            state.fractional_epoch()
        ));
    }
}
