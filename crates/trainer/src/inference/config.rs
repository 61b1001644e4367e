//! How trained weights are used: images, labels, batches, the settings of measures and probes.

use fcmae_analysis::Bootstrap;
use fcmae_data::{DataConfig, LabelConfig};
use serde::{Deserialize, Serialize};

use crate::config::{Precision, not_negative, positive};
use crate::error::InputError;
use crate::machine::Machine;

/// The settings of `predict`, `evaluate`, `embed`, `probe` and `analyze`. What the weights' file says of its images and labels
/// stands where nothing else is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InferenceConfig {
    /// Decides the probe's splits and orders.
    pub seed: u64,
    /// `"auto"`, `"cpu"`, or `"cuda:0"`, `"cuda:1"`, …
    pub device: String,
    /// Kind of the activations and matrix products.
    pub precision: Precision,
    /// Threads of libtorch; 0 = one per core.
    pub threads: usize,
    /// Images that go through the network at once, at least 1.
    pub batch_size: usize,
    /// The part of the data set that `evaluate`, `probe` and `analyze` measure on.
    pub test_split: String,
    /// Where the images come from and how they become numbers.
    pub data: DataConfig,
    /// What they are labelled with.
    pub labels: LabelConfig,
    /// Confidence intervals.
    pub bootstrap: Bootstrap,
    /// The linear probe.
    pub linear: LinearProbeConfig,
    /// The nearest neighbours' probe.
    pub knn: KnnConfig,
}

/// Logistic regression on frozen features (`[linear]`): AdamW with a cosine, on standardised features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearProbeConfig {
    /// Learning rates that are tried, each above 0.
    pub lr: Vec<f64>,
    /// Decoupled weight decays that are tried, each at least 0.
    pub weight_decay: Vec<f64>,
    /// Passes over the training images, at least 1.
    pub epochs: u64,
    /// Images of a step, at least 1.
    pub batch_size: usize,
    /// Share of the training images on which learning rate, decay and layer are chosen, in `(0, 1)`.
    pub val_fraction: f64,
}

/// The vote of the nearest training images (`[knn]`): cosine similarity `s`, weight `exp(s / temperature)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KnnConfig {
    /// Numbers of neighbours that are tried, each at least 1.
    pub k: Vec<usize>,
    /// Above 0; 0.07 as in DINO.
    pub temperature: f64,
}

impl Default for InferenceConfig {
    fn default() -> InferenceConfig {
        InferenceConfig {
            seed: 0,
            device: "auto".to_owned(),
            precision: Precision::default(),
            threads: 0,
            batch_size: 32,
            test_split: "test".to_owned(),
            data: DataConfig::default(),
            labels: LabelConfig::default(),
            bootstrap: Bootstrap::default(),
            linear: LinearProbeConfig::default(),
            knn: KnnConfig::default(),
        }
    }
}

impl Default for LinearProbeConfig {
    fn default() -> LinearProbeConfig {
        LinearProbeConfig {
            lr: vec![1e-4, 3e-4, 1e-3, 3e-3, 1e-2],
            weight_decay: vec![0.0, 0.1, 1.0],
            epochs: 50,
            batch_size: 256,
            val_fraction: 0.2,
        }
    }
}

impl Default for KnnConfig {
    fn default() -> KnnConfig {
        KnnConfig {
            k: vec![1, 5, 10, 20, 50, 100],
            temperature: 0.07,
        }
    }
}

impl InferenceConfig {
    /// Checks ranges; sections of lower crates check themselves where they are used.
    ///
    /// # Errors
    /// Names the key, what was found, and what to change.
    pub fn validate(&self) -> Result<(), InputError> {
        let (linear, knn) = (&self.linear, &self.knn);
        self.data.validate_reading().map_err(InputError::section)?;
        Machine::check_threads(self.threads)?;
        check(self.batch_size > 0, "batch_size", &self.batch_size, "at least 1")?;
        let level = self.bootstrap.level;
        check(
            level > 0.0 && level < 1.0,
            "bootstrap.level",
            &level,
            "above 0 and below 1",
        )?;
        let fits =
            |values: &[f64], fits: fn(f64) -> bool| !values.is_empty() && values.iter().all(|&v| fits(v));
        check(
            fits(&linear.lr, positive),
            "linear.lr",
            &linear.lr,
            "numbers above 0, at least one",
        )?;
        let decays = &linear.weight_decay;
        check(
            fits(decays, not_negative),
            "linear.weight_decay",
            decays,
            "numbers of at least 0, at least one",
        )?;
        check(linear.epochs > 0, "linear.epochs", &linear.epochs, "at least 1")?;
        check(
            linear.batch_size > 0,
            "linear.batch_size",
            &linear.batch_size,
            "at least 1",
        )?;
        let share = linear.val_fraction;
        check(
            share > 0.0 && share < 1.0,
            "linear.val_fraction",
            &share,
            "above 0 and below 1",
        )?;
        check(
            !knn.k.is_empty() && !knn.k.contains(&0),
            "knn.k",
            &knn.k,
            "numbers of at least 1, at least one",
        )?;
        check(
            positive(knn.temperature),
            "knn.temperature",
            &knn.temperature,
            "above 0",
        )
    }
}

fn check(ok: bool, key: &'static str, got: &impl std::fmt::Debug, expected: &str) -> Result<(), InputError> {
    if ok {
        return Ok(());
    }
    Err(InputError::config(key, format!("is {got:?}; use {expected}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bad_value_is_named() {
        type Change = fn(&mut InferenceConfig);
        let cases: [(&str, Change); 13] = [
            ("data.image_size", |c| c.data.image_size = [0, 32]),
            ("data.mean", |c| c.data.mean = vec![0.5]),
            ("batch_size", |c| c.batch_size = 0),
            ("data.crop_pct", |c| c.data.crop_pct = f64::NAN),
            ("data.crop_pct", |c| c.data.crop_pct = 1e-9),
            ("threads", |c| c.threads = 3_000_000_000),
            ("bootstrap.level", |c| c.bootstrap.level = 1.0),
            ("linear.lr", |c| c.linear.lr = vec![0.1, -0.1]),
            ("linear.weight_decay", |c| c.linear.weight_decay.clear()),
            ("linear.epochs", |c| c.linear.epochs = 0),
            ("linear.val_fraction", |c| c.linear.val_fraction = 0.0),
            ("knn.k", |c| c.knn.k = vec![0]),
            ("knn.temperature", |c| c.knn.temperature = 0.0),
        ];
        for (key, change) in cases {
            let mut config = InferenceConfig::default();
            config.validate().unwrap();
            change(&mut config);
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(&format!("`{key}`")), "{message}");
        }
    }

    #[test]
    fn writing_and_reading_changes_nothing() {
        let config = InferenceConfig::default();
        let text = fcmae_config::to_toml(&config).unwrap();
        let back: InferenceConfig = fcmae_config::from_str(&text, &[]).unwrap().parse().unwrap();
        assert_eq!(back, config);
    }
}
