//! What the classifier begins with: drawn or imported weights, and what stays as it is.

use anyhow::{Context, Result};
use fcmae_checkpoint::{ReadOptions, Weights, matches_any, read_weights_with};
use fcmae_model::{Allow, load_allowing};
use tch::{nn, no_grad};

use crate::config::FinetuneConfig;
use crate::error::InputError;

const HEAD: [&str; 2] = ["head.weight", "head.bias"];

/// Draws all weights from the seed (fact sheet §1.5), the head's scaled down, and puts those of `init` in their
/// place; `class_names` are the data's. Returns sentences worth telling.
///
/// # Errors
/// Weights that cannot be read, of another network, or of other classes.
pub(super) fn begin(
    config: &FinetuneConfig,
    class_names: &[String],
    vs: &nn::VarStore,
) -> Result<Vec<String>> {
    fcmae_blocks::initialise(vs, config.seed);
    let mut head = vs.variables()[HEAD[0]].shallow_clone();
    let _ = no_grad(|| head.f_mul_scalar_(config.head_init_scale))?;
    let classes = class_names.len();
    let Some(path) = config.init() else {
        return Ok(Vec::new());
    };

    let options = ReadOptions {
        ema: config.init_ema,
        ..ReadOptions::default()
    };
    let mut weights = read_weights_with(path, &options).context("`init`")?;
    weights.adapt_input_channels(config.model.in_chans)?;
    let mut tensors = weights.classifier_tensors();
    let other_classes = weights.architecture.classes.filter(|&found| found != classes);
    if config.new_head || other_classes.is_some() {
        HEAD.iter().for_each(|name| drop(tensors.remove(*name)));
    }
    let mut missing: Vec<&str> = config.init_allow_missing.iter().map(String::as_str).collect();
    if !tensors.contains_key(HEAD[0]) {
        missing.extend(["norm.*", "head.*"]);
    }
    let unexpected: Vec<&str> = config.init_allow_unused.iter().map(String::as_str).collect();
    let allow = Allow {
        missing: &missing,
        unexpected: &unexpected,
        ..Allow::default()
    };
    let imported = load_allowing(vs, &tensors, &allow).with_context(|| {
        format!(
            "`init` = {} ({}), with `init_allow_missing` = {:?} and `init_allow_unused` = {:?}",
            weights.file.display(),
            weights.architecture,
            config.init_allow_missing,
            config.init_allow_unused
        )
    })?;
    if let (Some(found), false) = (other_classes, config.new_head) {
        let message = format!(
            "{} is for {found} classes, the data has {classes}; give a file for {classes}, or set `new_head` = true to \
             begin with a new head",
            weights.file.display()
        );
        return Err(InputError::config("init", message).into());
    }
    let mut news = vec![format!("begins with {}: {imported}", weights.file.display())];
    if tensors.contains_key(HEAD[0]) {
        news.extend(called_otherwise(&weights, class_names));
    }
    news.extend(weights.notes);
    Ok(news)
}

/// A head that is kept keeps its order of the classes, whatever they are called now.
fn called_otherwise(weights: &Weights, class_names: &[String]) -> Option<String> {
    let theirs = weights.class_names()?;
    let at = theirs
        .iter()
        .zip(class_names)
        .position(|(theirs, ours)| theirs != ours)?;
    Some(format!(
        "the head is kept, and its class {at} was called {:?}, which is {:?} now: `labels.classes` gives them in another order, \
         `new_head` = true begins with a new head",
        theirs[at], class_names[at]
    ))
}

/// Lets the parameters that fit one of `patterns` keep their values.
///
/// # Errors
/// A pattern that fits no parameter; patterns that leave nothing to train.
pub(super) fn freeze(patterns: &[String], vs: &nn::VarStore) -> Result<()> {
    let variables = vs.variables();
    let mut trained = variables.len();
    for pattern in patterns {
        let fits = |name: &&String| matches_any(&[pattern], name);
        if !variables.keys().any(|name| fits(&name)) {
            let message = format!(
                "{pattern:?} fits no parameter; they have names such as \"stages.0.0.dwconv.weight\" and \
                 \"head.bias\", and * stands for any characters"
            );
            return Err(InputError::config("freeze", message).into());
        }
    }
    let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
    for (_, parameter) in variables.iter().filter(|(name, _)| matches_any(&patterns, name)) {
        let _ = parameter.shallow_clone().set_requires_grad(false);
        trained -= 1;
    }
    if trained == 0 {
        let message = format!("{patterns:?} leaves nothing to train; let at least \"head.*\" free");
        return Err(InputError::config("freeze", message).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use fcmae_encoder::{Classifier, EncoderConfig};
    use tch::Device;

    use super::*;

    fn classifier(config: &FinetuneConfig) -> nn::VarStore {
        let vs = nn::VarStore::new(Device::Cpu);
        Classifier::new(&vs.root(), &config.model, 3).unwrap();
        vs
    }

    fn tiny() -> FinetuneConfig {
        FinetuneConfig {
            model: EncoderConfig {
                depths: vec![1, 1],
                dims: vec![4, 128],
                ..EncoderConfig::default()
            },
            ..FinetuneConfig::default()
        }
    }

    #[test]
    fn the_head_is_drawn_a_thousand_times_smaller() {
        let config = tiny();
        let vs = classifier(&config);
        assert!(
            begin(&config, &["a", "b", "c"].map(str::to_owned), &vs)
                .unwrap()
                .is_empty()
        );
        let spread = |name: &str| vs.variables()[name].std(true).double_value(&[]);
        assert!((spread("head.weight") / 2e-5 - 1.0).abs() < 0.2);
        assert!((spread("stages.1.0.pwconv1.weight") / 0.02 - 1.0).abs() < 0.1);
        assert_eq!(spread("head.bias"), 0.0);
    }

    #[test]
    fn frozen_parameters_take_no_gradient_and_unknown_patterns_are_refused() {
        let config = tiny();
        let vs = classifier(&config);
        let freeze = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            super::freeze(&patterns, &vs)
        };
        freeze(&[]).unwrap();
        freeze(&["stages.*", "downsample_layers.0.*"]).unwrap();
        for (name, parameter) in vs.variables() {
            let is_frozen = name.starts_with("stages.") || name.starts_with("downsample_layers.0.");
            assert_eq!(parameter.requires_grad(), !is_frozen, "{name}");
        }
        let message = freeze(&["stage.0.*"]).unwrap_err().to_string();
        assert!(
            message.starts_with("`freeze`: \"stage.0.*\" fits no parameter"),
            "{message}"
        );
        let message = freeze(&["*"]).unwrap_err().to_string();
        assert!(message.contains("leaves nothing to train"), "{message}");
    }
}
