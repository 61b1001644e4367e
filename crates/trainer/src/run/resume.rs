//! Whether a run may go on from a checkpoint, and what changed since.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fcmae_data::OnError;

use crate::config::RunConfig;
use crate::data_stamp::DataStamp;
use crate::error::{InputError, List};
use crate::state::State;

/// Keys that never change a weight (`name` and `output_dir` only find the folder), or whose effect is warned of
/// by [`Machine`](crate::Machine): a run may go on with other values of these.
const FREE: [&str; 18] = [
    "name",
    "output_dir",
    "device",
    "threads",
    "activation",
    "data.workers",
    "data.prefetch",
    MAX_PIXELS,
    "data.on_error", // it decides nothing until an image cannot be read
    "data.cache",
    "data.cache_mib",
    "data.http_timeout_s",
    "data.http_attempts",
    "guard.", // as `on_error`
    PATIENCE, // it decides when the run ends
    "checkpoint.",
    "log.",
    "monitor.",
];

const PATIENCE: &str = "selection.patience";

/// Keys that say where the images are: a run may go on with other values when they lead to the same images.
const PLACE: [&str; 2] = ["data.path", "data.dataset"];

/// Decides nothing while an image beyond it ends the run; what it left out of the steps so far it must go on leaving out.
const MAX_PIXELS: &str = "data.max_pixels";

/// Keys that steer the optimizer: a run may go on with other values when it is told to (`retune`).
const STEERING: [&str; 5] = [
    "optimizer.lr",
    "optimizer.blr",
    "optimizer.clip_grad",
    "schedule.warmup_epochs",
    "schedule.min_lr",
];

/// What changed since a checkpoint, and may.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// A sentence about each change worth knowing: a longer schedule, and with `retune` what steers the optimizer.
    pub(crate) news: Vec<String>,
    /// What the run goes on in spite of.
    pub(crate) warning: Option<String>,
    /// Whether a run that ended early, for want of better weights, has another patience now.
    pub(crate) patience: bool,
}

/// Checks that the checkpoint's run is the one that `config` describes, and on the same images.
///
/// # Errors
/// [`InputError::Changed`] lists what differs; a state file of another version.
pub(crate) fn check<C: RunConfig>(
    folder: &Path,
    before: &State,
    config: &C,
    data: &DataStamp,
    retune: bool,
) -> Result<Changes> {
    ensure!(
        before.version == State::VERSION,
        "run folder {}: its state is of version {}, this program reads version {}; use another `name`",
        folder.display(),
        before.version,
        State::VERSION
    );
    let now = fcmae_config::to_toml(config)?;
    let earlier: C = fcmae_config::from_str(&before.config, &[])
        .and_then(|resolved| resolved.parse())
        .context("the config of a checkpoint")?;
    let written_today = fcmae_config::to_toml(&earlier)?; // with the keys that did not exist when it was written
    let all = differences(&written_today, &now)?;
    let mut changes = Changes {
        patience: all.iter().any(|difference| difference.key == PATIENCE),
        warning: before.data.warning(data),
        ..Changes::default()
    };
    let leaves_out = earlier.settings().data.on_error == OnError::Skip;
    let (mut differing, news) = (Vec::new(), &mut changes.news);
    for difference in all {
        if difference.key == "schedule.epochs" {
            let epochs = |config: &C| config.settings().schedule.epochs;
            let (earlier, later) = (epochs(&earlier), epochs(config));
            if later > earlier {
                news.push(if before.ended_early && !changes.patience {
                    "the run ended early, as nothing got better; with more `selection.patience` it goes on".to_owned()
                } else {
                    format!(
                        "the run is extended from {earlier} to {later} epochs: from here on the learning rate follows \
                         the longer schedule"
                    )
                });
                continue;
            }
        }
        let key = difference.key.as_str();
        let is_steering = STEERING.contains(&key);
        if is_steering && retune {
            news.push(format!("from here on: {difference}"));
        } else if PLACE.contains(&key) && before.data.has_bytes_of(data) {
            news.push(format!("the same images, elsewhere: {difference}"));
        } else if PLACE.contains(&key) {
            differing.push(format!("{difference}, where images have other names or lengths"));
        } else if key == MAX_PIXELS && leaves_out {
            differing.push(difference.to_string());
        } else if key == MAX_PIXELS {
            news.push(format!("from here on: {difference}"));
        } else if is_steering {
            differing.push(format!("{difference} (--retune goes on with it)"));
        } else if !FREE.iter().any(|free| is_free(free, key)) {
            differing.push(difference.to_string());
        }
    }
    differing.extend(before.data.differences(data));
    if differing.is_empty() {
        return Ok(changes);
    }
    Err(InputError::Changed {
        folder: folder.to_owned(),
        differences: List(differing),
    }
    .into())
}

/// The part of a resolved config that decides the weights: without the keys that a run may change on its way, so that
/// equal weights are equal files, whatever the run was called and wherever it lay.
pub(crate) fn decisive(config: &str) -> Result<String> {
    let resolved = fcmae_config::from_str(config, &[]).context("the config of a run")?;
    let mut table = resolved.table().clone();
    for free in FREE {
        match free.split_once('.') {
            None => drop(table.remove(free)),
            Some((section, "")) => drop(table.remove(section)),
            Some((section, key)) => {
                if let Some(section) = table.get_mut(section).and_then(|value| value.as_table_mut()) {
                    section.remove(key);
                }
            }
        }
    }
    Ok(fcmae_config::to_toml(&table)?)
}

fn is_free(free: &str, key: &str) -> bool {
    if free.ends_with('.') {
        key.starts_with(free)
    } else {
        key == free
    }
}

fn differences(before: &str, after: &str) -> Result<Vec<fcmae_config::Difference>> {
    let table = |text: &str| fcmae_config::from_str(text, &[]).context("the config of a checkpoint");
    Ok(fcmae_config::differences(
        table(before)?.table(),
        table(after)?.table(),
    ))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::config::PretrainConfig;
    use crate::machine::Machine;

    /// A key that is new in this version has its default in runs that are older.
    #[test]
    fn a_run_from_before_a_key_existed_goes_on() {
        let config = PretrainConfig::default();
        let text = fcmae_config::to_toml(&config).unwrap();
        let mut table = fcmae_config::from_str(&text, &[]).unwrap().table().clone();
        for (section, key) in [
            ("model", "response"),
            ("model", "encoder"),
            ("mask", "kind"),
            ("decoder", "kind"),
        ] {
            let section = table[section].as_table_mut().unwrap();
            assert!(section.remove(key).is_some(), "{key}");
        }
        let older = fcmae_config::to_toml(&table).unwrap();
        let images = DataStamp {
            images: 1,
            ..DataStamp::default()
        };
        let machine = Machine::set_up(Device::Cpu, 1, Kind::Float);
        let state = State::new(0, 1, images.clone(), machine, older);
        assert!(check(Path::new("run"), &state, &config, &images, false).unwrap() == Changes::default());
        let mut other = config;
        other.decoder.depth = 2;
        let message = check(Path::new("run"), &state, &other, &images, false)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("decoder.depth") && !message.contains("kind"),
            "{message}"
        );
    }
}
