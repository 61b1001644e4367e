//! From a file and `--set` overrides to a checked config.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae_config::Resolved;
use serde::Serialize;

use super::settings::RunConfig;
use super::{FinetuneConfig, PretrainConfig};
use crate::error::InputError;

/// Reads a config file with the files it extends, applies `overrides`, and checks the result.
///
/// Where no `name` is given, the file's own name (without `.toml`) becomes the run's.
pub(super) fn load<C: RunConfig>(file: &Path, overrides: &[String]) -> Result<C> {
    let (resolved, config) = read::<C>(file, overrides)?;
    config.validate().map_err(|error| {
        let place = place(&resolved, &error).unwrap_or_else(|| file.display().to_string());
        anyhow::Error::new(error).context(place)
    })?;
    Ok(config)
}

/// As [`load`], without the checks.
pub(super) fn read<C: RunConfig>(file: &Path, overrides: &[String]) -> Result<(Resolved, C)> {
    let file = config_file(file)?;
    let resolved = fcmae_config::load(&file, overrides)?;
    let mut config: C = resolved.parse()?;
    if resolved.origin("name").is_none()
        && let Some(stem) = file.file_stem()
    {
        config.rename(stem.to_string_lossy().into_owned());
    }
    Ok((resolved, config))
}

/// Where each value of such a config is given, by its full key; what is not in it is a default.
///
/// # Errors
/// As reading the config: the file, those it extends, the overrides.
pub fn origins(file: &Path, overrides: &[String]) -> Result<BTreeMap<String, String>> {
    let resolved = fcmae_config::load(config_file(file)?, overrides)?;
    let given = resolved.origins();
    Ok(given
        .map(|(key, origin)| (key.to_owned(), origin.to_string()))
        .collect())
}

/// Whether a config describes a fine-tuning: whether it gives anything that pre-training does not take. What says no
/// more than both kinds have in common is pre-training.
///
/// # Errors
/// As reading the config: the file, those it extends, the overrides.
pub fn is_finetuning(file: &Path, overrides: &[String]) -> Result<bool> {
    let resolved = fcmae_config::load(config_file(file)?, overrides)?;
    match (
        resolved.parse::<PretrainConfig>(),
        resolved.parse::<FinetuneConfig>(),
    ) {
        (Ok(_), _) => return Ok(false),
        (Err(_), Ok(_)) => return Ok(true),
        (Err(_), Err(_)) => {} // which of the two messages helps is told by the sections
    }
    let (pretrain, finetune) = (
        sections(&PretrainConfig::default())?,
        sections(&FinetuneConfig::default())?,
    );
    let mut own = finetune.keys().filter(|key| !pretrain.contains_key(*key));
    Ok(own.any(|key| resolved.table().contains_key(key)))
}

/// What stands at the top of a config.
fn sections(config: &impl Serialize) -> Result<serde_json::Map<String, serde_json::Value>> {
    let value = serde_json::to_value(config)?;
    Ok(value.as_object().cloned().unwrap_or_default())
}

/// A run folder stands for its resolved config.
fn config_file(path: &Path) -> Result<PathBuf, InputError> {
    let inside = path.join("config.toml");
    match (inside.is_file(), path.is_dir()) {
        (true, _) => Ok(inside),
        (false, false) => Ok(path.to_owned()),
        (false, true) => Err(InputError::Argument {
            message: format!(
                "{}: a folder without a config.toml; give a config file or the folder of a run",
                path.display()
            ),
        }),
    }
}

/// Where the key was given that the message names first.
fn place(resolved: &Resolved, error: &InputError) -> Option<String> {
    let message = error.to_string();
    let key = message.strip_prefix('`')?.split('`').next()?;
    resolved.origin(key).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(folder: &Path, text: &str) -> PathBuf {
        let file = folder.join("first-try.toml");
        fs::write(&file, text).unwrap();
        file
    }

    #[test]
    fn the_run_is_named_after_its_file_unless_it_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "[data]\npath = \"x\"");
        assert_eq!(PretrainConfig::load(&file, &[]).unwrap().name, "first-try");
        let named = PretrainConfig::load(&file, &["name=other".into()]).unwrap();
        assert_eq!(named.name, "other");
    }

    #[test]
    fn a_run_folder_stands_for_its_config() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("config.toml"),
            "name = \"a\"\n[data]\npath = \"x\"",
        )
        .unwrap();
        assert_eq!(PretrainConfig::load(folder.path(), &[]).unwrap().name, "a");
    }

    #[test]
    fn a_refused_value_is_shown_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "[data]\npath = \"x\"\nimage_size = 225\n");
        let error = PretrainConfig::load(&file, &[]).unwrap_err();
        let shown = format!("{error:#}");
        assert!(
            shown.contains("first-try.toml:3: `data.image_size`: image height 225"),
            "{shown}"
        );
        let error = PretrainConfig::load(&file, &["data.image_size=7".into()]).unwrap_err();
        assert!(
            format!("{error:#}").starts_with("--set data.image_size=7: `data.image_size`:"),
            "{error:#}"
        );
    }

    #[test]
    fn each_value_has_its_origin() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "[data]\npath = \"x\"\n");
        let origins = origins(&file, &["seed=3".into()]).unwrap();
        assert_eq!(origins["seed"], "--set seed=3");
        assert!(origins["data.path"].ends_with("first-try.toml:2"), "{origins:?}");
        assert_eq!(origins.get("threads"), None);
    }

    #[test]
    fn a_fine_tuning_is_known_by_what_pre_training_does_not_have() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(folder.path(), "[data]\npath = \"x\"\n");
        assert!(!is_finetuning(&file, &[]).unwrap());
        assert!(is_finetuning(&file, &["ema.decay=0.9".into()]).unwrap());
        assert!(is_finetuning(&file, &["init=runs/a".into()]).unwrap());
        assert!(is_finetuning(&file, &["optimizer.layer_decay=0.8".into()]).unwrap());
        assert!(is_finetuning(&file, &["ema.decay=0.9".into(), "no.such=1".into()]).unwrap());
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        for (kind, expected) in [("pretrain", false), ("finetune", true)] {
            for entry in fs::read_dir(configs.join(kind)).unwrap() {
                let file = entry.unwrap().path();
                assert_eq!(is_finetuning(&file, &[]).unwrap(), expected, "{}", file.display());
            }
        }
    }

    #[test]
    fn a_problem_without_a_place_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = PretrainConfig::load(&file(folder.path(), "seed = 1"), &[]).unwrap_err();
        let shown = format!("{error:#}");
        assert!(shown.contains("first-try.toml: no images given"), "{shown}");
    }
}
