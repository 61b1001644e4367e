//! The `[augment]` section of fine-tuning.

use serde::{Deserialize, Serialize};

use crate::augment::AugmentConfig;
use crate::config::ensure;
use crate::erase::{EraseMode, RandomErasing};
use crate::error::DataError;
use crate::rand_augment::RandAugment;

/// How a training image is augmented when labels are learned from (`[augment]`); the defaults are the
/// reference's. In order: crop, quarter turn, mirroring, RandAugment, colour jitter; after normalisation
/// erasing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FinetuneAugmentConfig {
    /// `auto`, `resized` or `padded`.
    pub crop: CropMode,
    /// Range of a resized crop's share of the image's area, in `(0, 1]`.
    pub scale: [f64; 2],
    /// Range of a resized crop's width / height; drawn uniformly in the logarithm.
    pub ratio: [f64; 2],
    /// Probability of mirroring left and right.
    pub hflip: f64,
    /// Probability of mirroring top and bottom. The reference: never.
    pub vflip: f64,
    /// Whether images are turned by 0, 90, 180 or 270 degrees, each as likely: for what has no upright
    /// position. The reference: no.
    pub rotate90: bool,
    /// RandAugment as timm writes it ([`RandAugment::parse`]); empty: none.
    pub rand_augment: String,
    /// Brightness, contrast and saturation, in random order, each by a factor from `[max(0, 1 − x), 1 + x]`;
    /// 0: none. The reference leaves it out where RandAugment is on.
    pub color_jitter: f64,
    /// Probability of random erasing.
    pub reprob: f64,
    /// What erased boxes are filled with: `pixel`, `rand` or `const`.
    pub remode: EraseMode,
    /// Most erased boxes of an image.
    pub recount: u32,
}

/// What the crop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CropMode {
    /// As the reference: `padded` up to 32 pixels, `resized` above.
    #[default]
    Auto,
    /// A part of random area and aspect, resized.
    Resized,
    /// A part of the size the network sees, out of the image with 4 black pixels around it; nothing is
    /// resized.
    Padded,
}

impl Default for FinetuneAugmentConfig {
    fn default() -> FinetuneAugmentConfig {
        FinetuneAugmentConfig {
            crop: CropMode::Auto,
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
            hflip: 0.5,
            vflip: 0.0,
            rotate90: false,
            rand_augment: "rand-m9-mstd0.5-inc1".to_owned(),
            color_jitter: 0.0,
            reprob: 0.25,
            remode: EraseMode::Pixel,
            recount: 1,
        }
    }
}

impl FinetuneAugmentConfig {
    /// Checks ranges; the error names the key.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`].
    pub fn validate(&self) -> Result<(), DataError> {
        self.geometry().validate()?;
        self.policy()?;
        ensure(
            (0.0..=10.0).contains(&self.color_jitter),
            "augment.color_jitter",
            self.color_jitter.to_string(),
            || "must be from 0 (off) to 10".to_owned(),
        )?;
        ensure(
            (0.0..=1.0).contains(&self.reprob),
            "augment.reprob",
            self.reprob.to_string(),
            || "must be a probability from 0 to 1".to_owned(),
        )?;
        ensure(
            (1..=100).contains(&self.recount),
            "augment.recount",
            self.recount.to_string(),
            || "must be from 1 to 100 boxes".to_owned(),
        )
    }

    /// Crop and mirroring.
    pub(super) fn geometry(&self) -> AugmentConfig {
        AugmentConfig {
            scale: self.scale,
            ratio: self.ratio,
            hflip: self.hflip,
            vflip: self.vflip,
        }
    }

    /// RandAugment, unless it is off.
    pub(super) fn policy(&self) -> Result<Option<RandAugment>, DataError> {
        match self.rand_augment.as_str() {
            "" => Ok(None),
            policy => RandAugment::parse(policy).map(Some),
        }
    }

    /// Random erasing, unless it is off.
    #[must_use]
    pub fn erasing(&self) -> Option<RandomErasing> {
        (self.reprob > 0.0).then(|| RandomErasing::new(self.reprob, self.remode, self.recount))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_are_named() {
        let cases = [
            ("scale = [0.0, 1.0]", "augment.scale"),
            ("vflip = 2.0", "augment.vflip"),
            ("rand_augment = 'rand-m99'", "augment.rand_augment"),
            ("color_jitter = -0.1", "augment.color_jitter"),
            ("reprob = nan", "augment.reprob"),
            ("recount = 0", "augment.recount"),
        ];
        for (text, key) in cases {
            let config: FinetuneAugmentConfig = toml::from_str(text).unwrap();
            let message = config.validate().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        }
        FinetuneAugmentConfig::default().validate().unwrap();
        let off: FinetuneAugmentConfig = toml::from_str("rand_augment = ''\nreprob = 0.0").unwrap();
        off.validate().unwrap();
        assert!(off.erasing().is_none() && off.policy().unwrap().is_none());
        assert!(toml::from_str::<FinetuneAugmentConfig>("remode = 'noise'").is_err());
        assert!(toml::from_str::<FinetuneAugmentConfig>("rotate = 90").is_err());
    }

    #[test]
    fn resolving_a_resolved_config_changes_nothing() {
        let config = FinetuneAugmentConfig::default();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<FinetuneAugmentConfig>(&text).unwrap(), config);
    }
}
