//! The `[mix]` section: mixup, CutMix and label smoothing.

use serde::{Deserialize, Serialize};

use crate::config::ensure;
use crate::error::DataError;

/// Mixup, CutMix and label smoothing (`[mix]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixConfig {
    /// α of mixup's λ ~ Beta(α, α); 0: no mixup.
    pub mixup: f64,
    /// α of CutMix's λ ~ Beta(α, α); 0: no CutMix.
    pub cutmix: f64,
    /// Range of the box's sides as shares of the image's, instead of a λ: `[low, high]` with
    /// `0 <= low < high <= 1`. Switches CutMix on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix_minmax: Option<[f64; 2]>,
    /// How a box whose side is odd is cut: `reference` or `exact`.
    pub cutmix_box: CutmixBox,
    /// Probability that anything is mixed.
    pub prob: f64,
    /// Probability of CutMix where both are on.
    pub switch_prob: f64,
    /// What shares one draw: `batch`, `pair` or `elem`.
    pub mode: MixMode,
    /// ε of label smoothing: targets become `(1 − ε) y + ε / K`; each of several labels `(1 − ε) y + ε / 2`.
    pub smoothing: f64,
}

/// Which images share one draw of λ and box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MixMode {
    /// All of the batch.
    #[default]
    Batch,
    /// Two that are mixed with each other.
    Pair,
    /// None: each has its own.
    Elem,
}

/// Where a box of side `c` about the centre `y` lies along one axis, before it is clipped to the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutmixBox {
    /// `y − ⌊c/2⌋ .. y + ⌊c/2⌋`: a row less where `c` is odd, as timm 0.3.2, which the reference uses.
    #[default]
    Reference,
    /// `y − ⌊c/2⌋ .. y + ⌈c/2⌉`, as timm from 0.4 on.
    Exact,
}

impl Default for MixConfig {
    fn default() -> MixConfig {
        MixConfig {
            mixup: 0.0,
            cutmix: 0.0,
            cutmix_minmax: None,
            cutmix_box: CutmixBox::Reference,
            prob: 1.0,
            switch_prob: 0.5,
            mode: MixMode::Batch,
            smoothing: 0.1,
        }
    }
}

impl MixConfig {
    /// Checks ranges; the error names the key.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`].
    pub fn validate(&self) -> Result<(), DataError> {
        for (key, alpha) in [("mix.mixup", self.mixup), ("mix.cutmix", self.cutmix)] {
            ensure((0.0..=1000.0).contains(&alpha), key, alpha.to_string(), || {
                "must be from 0 (off) to 1000".to_owned()
            })?;
        }
        if let Some([low, high]) = self.cutmix_minmax {
            ensure(
                0.0 <= low && low < high && high <= 1.0,
                "mix.cutmix_minmax",
                format!("[{low}, {high}]"),
                || "must be [low, high] with 0 <= low < high <= 1".to_owned(),
            )?;
        }
        for (key, p) in [("mix.prob", self.prob), ("mix.switch_prob", self.switch_prob)] {
            ensure((0.0..=1.0).contains(&p), key, p.to_string(), || {
                "must be a probability from 0 to 1".to_owned()
            })?;
        }
        ensure(
            (0.0..1.0).contains(&self.smoothing),
            "mix.smoothing",
            self.smoothing.to_string(),
            || "must be at least 0 and below 1".to_owned(),
        )
    }

    /// α of CutMix: 1 where only the range of sides is given.
    pub(super) fn cutmix_alpha(&self) -> f64 {
        if self.cutmix_minmax.is_some() {
            1.0
        } else {
            self.cutmix
        }
    }

    /// Whether targets or images are changed at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.smoothing == 0.0 && !self.mixes()
    }

    /// Whether images are mixed.
    #[must_use]
    pub fn mixes(&self) -> bool {
        self.prob > 0.0 && (self.mixup > 0.0 || self.cutmix_alpha() > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MixConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn bad_values_are_named() {
        let cases = [
            ("mixup = -0.1", "mix.mixup"),
            ("cutmix = inf", "mix.cutmix"),
            ("cutmix = nan", "mix.cutmix"),
            ("cutmix_minmax = [0.5, 0.2]", "mix.cutmix_minmax"),
            ("prob = 1.1", "mix.prob"),
            ("switch_prob = -1.0", "mix.switch_prob"),
            ("smoothing = 1.0", "mix.smoothing"),
        ];
        for (text, key) in cases {
            let message = parse(text).validate().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        }
        MixConfig::default().validate().unwrap();
        assert!(toml::from_str::<MixConfig>("mode = 'all'").is_err());
        assert!(toml::from_str::<MixConfig>("alpha = 1.0").is_err());
    }

    #[test]
    fn a_range_of_sides_is_cutmix() {
        assert!(!parse("").mixes() && !parse("").is_off() && parse("smoothing = 0.0").is_off());
        assert!(parse("cutmix_minmax = [0.2, 0.8]").mixes() && parse("mixup = 0.8").mixes());
        assert!(!parse("mixup = 0.8\nprob = 0.0").mixes());
    }
}
