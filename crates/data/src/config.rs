//! The `[data]` section of a run's config.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::decode::{DecodeOptions, JpegDecoder};
use crate::error::DataError;
use crate::image::Color;
use crate::source::is_collection;
use crate::storage::Retry;
use crate::transform::Transform;

/// Where images come from and how they become numbers (`[data]`).
///
/// One of `dataset` and `path` is needed. Where both are set, `path` wins, so that a config which extends
/// one with a named data set can point somewhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// A named data set, fetched by `cargo xtask data fetch <name>` into the data home
    /// ([`data_home`](crate::data_home)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// An image folder; a manifest `.csv` with a column `path` and perhaps `label`; or tar shards: a folder of
    /// them, a `.tar`, a pattern (`shards/{split}-{000..099}.tar`, `shards/*.tar`, also `https://…`), or a `.txt`
    /// with one of these a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Which part of the data set: the sub-folder of a folder (where it has one of that name), the shards with
    /// that word in their names, or the manifest of a named data set. Without labels, `""` is all of a folder.
    pub split: String,
    /// Height and width of what the network sees, in pixels. A single number means a square.
    #[serde(deserialize_with = "side_or_sides")]
    pub image_size: [usize; 2],
    /// What evaluation sees below 384 px: the image is scaled until it just covers `image_size / crop_pct`, then the
    /// centre is cut out. From 0.1 to 1; 1 keeps the whole of a square image. Default: the reference's 224 / 256.
    pub crop_pct: f64,
    /// Channels of what the network sees: `rgb` or `grey`.
    pub color: Color,
    /// Mean of each channel, with pixels in `[0, 1]`. Default: ImageNet's.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, with pixels in `[0, 1]`. Default: ImageNet's.
    pub std: Vec<f64>,
    /// Share of the samples held out for validation, in `[0, 1)`; 0 holds none out.
    pub val_fraction: f64,
    /// What a corrupt or unreadable image does.
    pub on_error: OnError,
    /// Threads that decode and augment; 0 means one per core. Never changes a result.
    pub workers: usize,
    /// Finished batches kept ready, at least 1. Never changes a result.
    pub prefetch: usize,
    /// Images with more pixels are refused before they are decoded. Default: Pillow's limit, 178,956,970.
    pub max_pixels: u64,
    /// What decodes JPEG: `zune`, or `turbo` in builds with the feature `turbojpeg`.
    pub jpeg: JpegDecoder,
    /// Whether decoded images are kept for the next epoch. Never changes a result.
    pub cache: Cache,
    /// Most memory or disk space the cache may take, in MiB; images beyond it are decoded anew.
    pub cache_mib: usize,
    /// How long a server may say nothing, in seconds, before it is asked again; above 0, at most 3600. A slow one is
    /// waited for as long as something comes. Never changes a result.
    pub http_timeout_s: f64,
    /// How often a server is asked for the same bytes, with pauses of 0.5, 1, 2, 4, … 30 s, before the run ends; from 1
    /// to 1000. Never changes a result.
    pub http_attempts: u32,
}

/// What a corrupt or unreadable image does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// It ends the run with an error that names the file.
    #[default]
    Error,
    /// The next good image in the epoch's order takes its place; it is counted and reported once.
    Skip,
}

/// Whether decoded images are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Every use decodes the file anew.
    #[default]
    None,
    /// Decoded images stay in memory until `cache_mib` are full.
    Memory,
    /// Decoded images go to a file in the cache folder until `cache_mib` are full; it is gone with the process.
    Disk,
}

impl Default for DataConfig {
    fn default() -> DataConfig {
        DataConfig {
            dataset: None,
            path: None,
            split: "train".to_owned(),
            image_size: [224, 224],
            crop_pct: Transform::CROP_PCT,
            color: Color::Rgb,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            val_fraction: 0.0,
            on_error: OnError::Error,
            workers: 0,
            prefetch: 2,
            max_pixels: DecodeOptions::DEFAULT_MAX_PIXELS,
            jpeg: JpegDecoder::Zune,
            cache: Cache::None,
            cache_mib: 1024,
            http_timeout_s: 30.0,
            http_attempts: 6,
        }
    }
}

impl DataConfig {
    /// Checks ranges and how fields fit each other; the error names the key.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] or [`DataError::NoSource`].
    pub fn validate(&self) -> Result<(), DataError> {
        if self.path.is_none() && self.dataset.is_none() {
            return Err(DataError::NoSource);
        }
        self.validate_reading()
    }

    /// As [`validate`](DataConfig::validate), for images that are given one by one: there need be no source.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`].
    pub fn validate_reading(&self) -> Result<(), DataError> {
        let [height, width] = self.image_size;
        ensure(
            [height, width].iter().all(|side| (1..=1 << 16).contains(side)),
            "data.image_size",
            format!("[{height}, {width}]"),
            || "sides must be from 1 to 65536 pixels".to_owned(),
        )?;
        ensure(
            (0.1..=1.0).contains(&self.crop_pct),
            "data.crop_pct",
            self.crop_pct.to_string(),
            || "must be from 0.1 to 1".to_owned(),
        )?;
        self.check_channels("data.mean", &self.mean)?;
        self.check_channels("data.std", &self.std)?;
        ensure(
            self.std.iter().all(|&s| s > 0.0),
            "data.std",
            format!("{:?}", self.std),
            || "every value must be above 0".to_owned(),
        )?;
        ensure(
            (0.0..1.0).contains(&self.val_fraction),
            "data.val_fraction",
            self.val_fraction.to_string(),
            || "must be at least 0 and below 1".to_owned(),
        )?;
        ensure(
            (1..=4096).contains(&self.prefetch),
            "data.prefetch",
            self.prefetch.to_string(),
            || "must be from 1 to 4096 batches".to_owned(),
        )?;
        ensure(
            self.workers <= 4096,
            "data.workers",
            self.workers.to_string(),
            || "must be at most 4096 threads".to_owned(),
        )?;
        ensure(
            self.http_timeout_s > 0.0 && self.http_timeout_s <= 3600.0,
            "data.http_timeout_s",
            self.http_timeout_s.to_string(),
            || "must be above 0 and at most 3600 seconds".to_owned(),
        )?;
        ensure(
            (1..=1000).contains(&self.http_attempts),
            "data.http_attempts",
            self.http_attempts.to_string(),
            || "must be from 1 to 1000".to_owned(),
        )?;
        ensure(
            self.max_pixels > 0,
            "data.max_pixels",
            self.max_pixels.to_string(),
            || "must be at least 1".to_owned(),
        )?;
        ensure(
            self.jpeg.is_available(),
            "data.jpeg",
            "\"turbo\"".to_owned(),
            || {
                "this build has no libjpeg-turbo; build it with `cargo build --release -p fcmae --features turbojpeg` \
             (needs cmake and nasm, or the system's libturbojpeg), or set \"zune\""
                .to_owned()
            },
        )
    }

    /// Takes the images from `source`: a folder, manifest or shards where `source` is or reads like a path, else the
    /// named data set.
    pub fn set_source(&mut self, source: &str) {
        let path = Path::new(source);
        let is_path = path.exists() || is_collection(path) || source.contains(std::path::MAIN_SEPARATOR);
        (self.path, self.dataset) = if is_path {
            (Some(path.to_owned()), None)
        } else {
            (None, Some(source.to_owned()))
        };
    }

    /// How evaluation sees an image.
    #[must_use]
    pub fn eval_transform(&self) -> Transform {
        Transform::Eval {
            size: self.image_size,
            crop_pct: self.crop_pct,
        }
    }

    /// How long and how often a server is asked.
    pub(crate) fn retry(&self) -> Retry {
        Retry::new(self.http_attempts, Duration::from_secs_f64(self.http_timeout_s))
    }

    /// What decoding needs to know.
    #[must_use]
    pub fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            color: self.color,
            max_pixels: self.max_pixels,
            jpeg: self.jpeg,
        }
    }

    fn check_channels(&self, key: &'static str, values: &[f64]) -> Result<(), DataError> {
        let channels = self.color.channels();
        let fits = values.len() == channels && values.iter().all(|v| v.is_finite());
        ensure(fits, key, format!("{values:?}"), || {
            format!(
                "`data.color` = \"{}\" needs {channels} finite number(s)",
                self.color.name()
            )
        })
    }
}

/// An [`DataError::InvalidValue`] unless `ok`.
pub(crate) fn ensure(
    ok: bool,
    key: &'static str,
    got: String,
    expected: impl FnOnce() -> String,
) -> Result<(), DataError> {
    if ok {
        Ok(())
    } else {
        Err(DataError::InvalidValue {
            key,
            got,
            expected: expected(),
        })
    }
}

/// Reads `128` as `[128, 128]` and `[96, 128]` as it stands.
fn side_or_sides<'de, D: Deserializer<'de>>(from: D) -> Result<[usize; 2], D::Error> {
    struct Sides;

    impl<'de> de::Visitor<'de> for Sides {
        type Value = [usize; 2];

        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a side in pixels, or [height, width]")
        }

        fn visit_i64<E: de::Error>(self, side: i64) -> Result<[usize; 2], E> {
            let side =
                usize::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Signed(side), &self))?;
            Ok([side; 2])
        }

        fn visit_u64<E: de::Error>(self, side: u64) -> Result<[usize; 2], E> {
            let side =
                usize::try_from(side).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(side), &self))?;
            Ok([side; 2])
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<[usize; 2], A::Error> {
            let mut side = |at: usize| {
                seq.next_element()?
                    .ok_or_else(|| de::Error::invalid_length(at, &Sides))
            };
            let sides = [side(0)?, side(1)?];
            match seq.next_element::<de::IgnoredAny>()? {
                None => Ok(sides),
                Some(_) => Err(de::Error::invalid_length(3, &Sides)),
            }
        }
    }

    from.deserialize_any(Sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DataConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn image_size_is_a_side_or_two() {
        assert_eq!(parse("image_size = 128").unwrap().image_size, [128, 128]);
        assert_eq!(parse("image_size = [96, 128]").unwrap().image_size, [96, 128]);
        for bad in [
            "image_size = -1",
            "image_size = [1]",
            "image_size = [1, 2, 3]",
            "image_size = \"x\"",
        ] {
            let message = parse(bad).unwrap_err().to_string();
            assert!(
                message.contains("a side in pixels, or [height, width]"),
                "{bad}: {message}"
            );
        }
        let message = parse("image_size = [1, -2]").unwrap_err().to_string();
        assert!(message.contains("-2"), "{message}");
    }

    #[test]
    fn resolving_a_resolved_config_changes_nothing() {
        let config =
            parse("dataset = \"elpv\"\nimage_size = 128\ncolor = \"grey\"\nmean = [0.57]\nstd = [0.1]")
                .unwrap();
        let text = toml::to_string(&config).unwrap();
        assert!(text.contains("mean = [0.57]"), "{text}");
        assert_eq!(parse(&text).unwrap(), config);
        assert_eq!(toml::to_string(&parse(&text).unwrap()).unwrap(), text);
    }

    #[test]
    fn every_bad_value_is_named() {
        let cases = [
            ("", "data.path"),
            ("path = 'x'\nimage_size = 0", "data.image_size"),
            ("path = 'x'\nimage_size = 119906842624", "data.image_size"), // found by `cargo xtask fuzz`
            ("path = 'x'\ncrop_pct = nan", "data.crop_pct"),
            ("path = 'x'\ncrop_pct = 1.1", "data.crop_pct"),
            ("path = 'x'\ncolor = 'grey'", "data.mean"),
            ("path = 'x'\nmean = [0.1, 0.1, nan]", "data.mean"),
            ("path = 'x'\nstd = [0.1, 0.1, 0.0]", "data.std"),
            ("path = 'x'\nval_fraction = 1.0", "data.val_fraction"),
            ("path = 'x'\nprefetch = 0", "data.prefetch"),
            ("path = 'x'\nworkers = 100000", "data.workers"),
            ("path = 'x'\nmax_pixels = 0", "data.max_pixels"),
            ("path = 'x'\nhttp_timeout_s = 0", "data.http_timeout_s"),
            ("path = 'x'\nhttp_timeout_s = nan", "data.http_timeout_s"),
            ("path = 'x'\nhttp_timeout_s = 1e300", "data.http_timeout_s"),
            ("path = 'x'\nhttp_attempts = 0", "data.http_attempts"),
        ];
        for (text, key) in cases {
            let message = parse(text).unwrap().validate().unwrap_err().to_string();
            assert!(message.contains(key), "{text}: {message}");
        }
        parse("path = 'x'").unwrap().validate().unwrap();
    }

    #[test]
    fn a_source_is_a_path_or_a_name() {
        let mut config = DataConfig::default();
        for path in [
            "shards/a",
            "a.csv",
            "a-{00..12}.tar",
            "a.txt",
            "https://127.0.0.1/a.tar",
            "/",
        ] {
            config.set_source(path);
            assert_eq!(
                (config.path.as_deref(), &config.dataset),
                (Some(Path::new(path)), &None)
            );
        }
        config.set_source("elpv");
        assert_eq!((&config.path, config.dataset.as_deref()), (&None, Some("elpv")));
    }

    #[test]
    fn a_decoder_that_is_not_built_in_says_how_to_get_it() {
        let turbo = parse("path = 'x'\njpeg = 'turbo'").unwrap().validate();
        assert_eq!(turbo.is_ok(), JpegDecoder::Turbo.is_available());
        if let Err(error) = turbo {
            assert!(error.to_string().contains("--features turbojpeg"), "{error}");
        }
        assert!(
            parse("jpeg = 'libjpeg'")
                .unwrap_err()
                .to_string()
                .contains("`zune` or `turbo`")
        );
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(
            parse("imagesize = 3")
                .unwrap_err()
                .to_string()
                .contains("image_size")
        );
    }
}
