//! How the images of weights are prepared: metadata keys of fcmae's own files, and what timm and transformers keep
//! beside theirs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::CheckpointError;
use crate::json::read_json;
use crate::tensor::Metadata;
use crate::weights::naming::Naming;
use crate::weights::{CLASS_NAMES, Weights, hugging_face};

/// Metadata key of fcmae's own files: height and width of the images.
const IMAGE_SIZE: &str = "fcmae.image_size";
/// Metadata key of fcmae's own files: share of the covering image that evaluation cuts out.
const CROP_PCT: &str = "fcmae.crop_pct";
/// Metadata key of fcmae's own files: mean of each channel.
pub(super) const MEAN: &str = "fcmae.mean";
/// Metadata key of fcmae's own files: standard deviation of each channel.
pub(super) const STD: &str = "fcmae.std";

/// PIL's number of the interpolation that every ConvNeXt here is evaluated with (fact sheet §3.8).
pub(super) const BICUBIC: u8 = 3;

/// How images are prepared; nothing in the weights depends on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preprocessing {
    /// Height and width of the images, px.
    pub image_size: [usize; 2],
    /// Share of the shorter side that is kept below 384 px.
    pub crop_pct: f64,
    /// Mean of each channel, of 1.
    pub mean: Vec<f64>,
    /// Standard deviation of each channel, of 1.
    pub std: Vec<f64>,
}

impl Preprocessing {
    /// ImageNet's, at 224 px; the mean of the three channels where there are not three.
    #[must_use]
    pub fn imagenet(channels: usize) -> Preprocessing {
        let (mean, std) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        let fit = |values: [f64; 3]| match channels {
            3 => values.to_vec(),
            n => vec![values.iter().sum::<f64>() / 3.0; n],
        };
        Preprocessing {
            image_size: [224; 2],
            crop_pct: 0.875,
            mean: fit(mean),
            std: fit(std),
        }
    }

    /// What the metadata of `weights` say, ImageNet's for the rest.
    ///
    /// # Errors
    /// A value that is none; the error names file and key.
    pub fn of(weights: &Weights) -> Result<Preprocessing, CheckpointError> {
        Preprocessing::imagenet(weights.architecture.in_chans).corrected_by(weights)
    }

    /// With what the metadata of `weights` say in the place of what is here.
    ///
    /// # Errors
    /// A value that is none; the error names file and key.
    pub fn corrected_by(mut self, weights: &Weights) -> Result<Preprocessing, CheckpointError> {
        if let Some(image_size) = value(weights, IMAGE_SIZE)? {
            self.image_size = image_size;
        }
        if let Some(crop_pct) = value(weights, CROP_PCT)? {
            self.crop_pct = crop_pct;
        }
        if let (Some(mean), Some(std)) = (value(weights, MEAN)?, value(weights, STD)?) {
            (self.mean, self.std) = (mean, std);
        }
        Ok(self)
    }

    /// Whether `weights` say anything of how their images were prepared.
    #[must_use]
    pub fn is_known(weights: &Weights) -> bool {
        [IMAGE_SIZE, CROP_PCT, MEAN, STD]
            .iter()
            .any(|key| weights.metadata.contains_key(*key))
    }

    /// Puts it into the metadata of weights, what is there already stays.
    pub fn complete(&self, metadata: &mut Metadata) {
        let values = [
            (IMAGE_SIZE, json!(self.image_size)),
            (CROP_PCT, json!(self.crop_pct)),
            (MEAN, json!(self.mean)),
            (STD, json!(self.std)),
        ];
        for (key, value) in values {
            metadata
                .entry(key.to_owned())
                .or_insert_with(|| value.to_string());
        }
    }

    /// The shorter side, for who has one number.
    pub(super) fn side(&self) -> usize {
        self.image_size[0].min(self.image_size[1])
    }

    /// Puts the side of the images into the metadata of weights.
    pub fn set_image_size(metadata: &mut Metadata, side: usize) {
        metadata.insert(IMAGE_SIZE.to_owned(), json!([side, side]).to_string());
    }
}

/// The value of a metadata key, JSON, where it is there.
fn value<T: DeserializeOwned>(weights: &Weights, key: &str) -> Result<Option<T>, CheckpointError> {
    let parse = |text: &String| {
        serde_json::from_str(text).map_err(|error| {
            let problem = format!("its metadata `{key}` is {text:?}: {error}");
            CheckpointError::weights(&weights.file, problem)
        })
    };
    weights.metadata.get(key).map(parse).transpose()
}

impl fmt::Display for Preprocessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [height, width] = self.image_size;
        let Preprocessing {
            crop_pct, mean, std, ..
        } = self;
        write!(
            f,
            "{height}×{width} px, crop_pct {crop_pct}, mean {mean:?}, std {std:?}"
        )
    }
}

/// Takes what a file of transformers or timm has beside it: how images are prepared, names of the classes.
///
/// # Errors
/// A file that is there and cannot be understood.
pub(super) fn read_beside(
    file: &Path,
    (naming, channels): (Naming, usize),
    metadata: &mut Metadata,
    notes: &mut Vec<String>,
) -> Result<(), CheckpointError> {
    let found = match naming {
        Naming::HuggingFace => {
            hugging_face::read_config(file, metadata, notes);
            beside::<Preprocessor>(file, "preprocessor_config.json")?.map(|found| found.of(channels))
        }
        Naming::Timm => beside::<Hub>(file, "config.json")?.map(Hub::of),
        _ => None,
    };
    let Some(mut found) = found else {
        return Ok(());
    };
    // timm keeps the statistics of three channels beside a stem of one.
    let fits = |numbers: &Option<Vec<f64>>| numbers.as_ref().is_none_or(|numbers| numbers.len() == channels);
    if !fits(&found.mean) || !fits(&found.std) {
        (found.mean, found.std) = (None, None);
        notes.push(format!(
            "the mean and deviation beside the weights are not of {channels} channel(s): they are not used"
        ));
    }
    let values = [
        (IMAGE_SIZE, json!(found.image_size)),
        (CROP_PCT, json!(found.crop_pct)),
        (MEAN, json!(found.mean)),
        (STD, json!(found.std)),
        (CLASS_NAMES, json!(found.class_names)),
    ];
    let known = values.into_iter().filter(|(_, value)| !value.is_null());
    metadata.extend(known.map(|(key, value)| (key.to_owned(), value.to_string())));
    if let (Some(mode), Some([height, width])) = (found.crop_mode, found.image_size) {
        let ours = crop_mode(height.min(width));
        if mode != ours {
            notes.push(format!(
                "images were made to fit in another way (`crop_mode` {mode:?}); at {height}×{width} px it is {ours:?} here, \
                 which differs where images are not square"
            ));
        }
    }
    if let Some(other) = found.interpolation {
        notes.push(format!(
            "images were resized in another way ({other}); here it is bicubic"
        ));
    }
    Ok(())
}

/// How evaluation makes images fit, in timm's words: from 384 px on they are warped (fact sheet §3.8).
pub(super) fn crop_mode(side: usize) -> &'static str {
    if side < 384 { "center" } else { "squash" }
}

/// The JSON file of this name beside a file of weights, where there is one.
fn beside<T: DeserializeOwned>(file: &Path, name: &str) -> Result<Option<T>, CheckpointError> {
    let file = file.with_file_name(name);
    if !file.is_file() {
        return Ok(None);
    }
    read_json(&file).map(Some)
}

/// What was found beside weights.
#[derive(Debug, Default, PartialEq)]
struct Beside {
    image_size: Option<[usize; 2]>,
    crop_pct: Option<f64>,
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    class_names: Option<Vec<String>>,
    /// Where it is not bicubic.
    interpolation: Option<String>,
    /// How timm makes an image fit.
    crop_mode: Option<String>,
}

/// transformers' `preprocessor_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Preprocessor {
    size: Option<Size>,
    crop_pct: Option<f64>,
    resample: Option<u8>,
    do_normalize: Option<bool>,
    image_mean: Option<Numbers>,
    image_std: Option<Numbers>,
}

/// One number for all channels, or one for each.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Numbers {
    One(f64),
    Each(Vec<f64>),
}

impl Numbers {
    fn of(self, channels: usize) -> Vec<f64> {
        match self {
            Numbers::One(number) => vec![number; channels],
            Numbers::Each(numbers) => numbers,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(usize),
    Shortest { shortest_edge: usize },
    Both { height: usize, width: usize },
    Other {},
}

impl Preprocessor {
    fn of(self, channels: usize) -> Beside {
        let found = self;
        let numbers = |numbers: Option<Numbers>| numbers.map(|numbers| numbers.of(channels));
        let (mean, std) = match found.do_normalize {
            Some(false) => (Some(vec![0.0; channels]), Some(vec![1.0; channels])),
            _ => (numbers(found.image_mean), numbers(found.image_std)),
        };
        Beside {
            image_size: found.size.and_then(|size| match size {
                Size::Side(side) | Size::Shortest { shortest_edge: side } => Some([side; 2]),
                Size::Both { height, width } => Some([height, width]),
                Size::Other {} => None, // it says nothing of a square
            }),
            crop_pct: found.crop_pct,
            mean,
            std,
            class_names: None, // in config.json
            interpolation: found
                .resample
                .filter(|&number| number != BICUBIC)
                .map(|number| format!("PIL's filter {number}")),
            crop_mode: None,
        }
    }
}

/// timm's `config.json`, as on the hub.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Hub {
    label_names: Option<Names>,
    pretrained_cfg: Option<PretrainedCfg>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PretrainedCfg {
    /// Channels, height, width.
    input_size: Option<[usize; 3]>,
    crop_pct: Option<f64>,
    interpolation: Option<String>,
    crop_mode: Option<String>,
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    label_names: Option<Names>,
}

/// Names of the classes: a list, or by number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Names {
    List(Vec<String>),
    ByNumber(BTreeMap<String, String>),
    Other(serde::de::IgnoredAny),
}

impl Names {
    /// In the order of their numbers; none where a number is missing.
    fn list(self) -> Option<Vec<String>> {
        match self {
            Names::List(names) => Some(names),
            Names::ByNumber(names) => (0..names.len())
                .map(|number| names.get(&number.to_string()).cloned())
                .collect(),
            Names::Other(_) => None,
        }
    }
}

impl Hub {
    fn of(self) -> Beside {
        let (found, of) = (self.label_names, self.pretrained_cfg.unwrap_or_default());
        Beside {
            image_size: of.input_size.map(|[_, height, width]| [height, width]),
            crop_pct: of.crop_pct,
            mean: of.mean,
            std: of.std,
            class_names: found.or(of.label_names).and_then(Names::list),
            interpolation: of.interpolation.filter(|name| name != "bicubic"),
            crop_mode: of.crop_mode,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(
        naming: (Naming, usize),
        files: &[(&str, &str)],
    ) -> Result<(Metadata, Vec<String>), CheckpointError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (mut metadata, mut notes) = (Metadata::new(), Vec::new());
        let file = folder.path().join("model.safetensors");
        read_beside(&file, naming, &mut metadata, &mut notes)?;
        Ok((metadata, notes))
    }

    #[test]
    fn transformers_tell_how_images_are_prepared() {
        let text = |size: &str| {
            format!(
                r#"{{"size": {size}, "crop_pct": 0.9, "image_mean": [0.5], "image_std": [0.25], "resample": 2}}"#
            )
        };
        for (size, expected) in [
            ("160", "[160,160]"),
            (r#"{"shortest_edge": 96}"#, "[96,96]"),
            (r#"{"height": 64, "width": 96}"#, "[64,96]"),
        ] {
            let files = [("preprocessor_config.json", text(size))];
            let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
            let (metadata, notes) = read((Naming::HuggingFace, 1), &files).unwrap();
            assert_eq!(metadata[IMAGE_SIZE], expected);
            assert_eq!(
                (&*metadata[CROP_PCT], &*metadata[MEAN], &*metadata[STD]),
                ("0.9", "[0.5]", "[0.25]")
            );
            assert!(notes[0].contains("PIL's filter 2"), "{notes:?}");
        }
        let raw = r#"{"do_normalize": false}"#;
        let (metadata, _) = read((Naming::HuggingFace, 3), &[("preprocessor_config.json", raw)]).unwrap();
        assert_eq!(
            (&*metadata[MEAN], &*metadata[STD]),
            ("[0.0,0.0,0.0]", "[1.0,1.0,1.0]")
        );
        assert_eq!(
            read((Naming::HuggingFace, 3), &[]).unwrap(),
            (Metadata::new(), Vec::new())
        );
    }

    #[test]
    fn timm_tells_how_images_are_prepared() {
        let text = r#"{"architecture": "convnextv2_atto", "label_names": ["cat", "dog"], "pretrained_cfg":
            {"input_size": [3, 288, 288], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.1, 0.2, 0.3],
             "std": [1, 1, 1], "tag": "fcmae"}}"#;
        let (metadata, notes) = read((Naming::Timm, 3), &[("config.json", text)]).unwrap();
        assert_eq!(
            (&*metadata[IMAGE_SIZE], &*metadata[CROP_PCT]),
            ("[288,288]", "0.95")
        );
        assert_eq!(
            (&*metadata[MEAN], &*metadata[CLASS_NAMES]),
            ("[0.1,0.2,0.3]", r#"["cat","dog"]"#)
        );
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!(
            read((Naming::Reference, 3), &[("config.json", text)]).unwrap().0,
            Metadata::new()
        );
    }

    #[test]
    fn another_way_to_fit_is_told() {
        for (side, mode, is_told) in [
            (384, "center", true),
            (384, "squash", false),
            (224, "border", true),
            (224, "center", false),
        ] {
            let text = format!(
                r#"{{"pretrained_cfg": {{"input_size": [3, {side}, {side}], "crop_mode": "{mode}"}}}}"#
            );
            let (_, notes) = read((Naming::Timm, 3), &[("config.json", &text)]).unwrap();
            assert_eq!(
                notes.iter().any(|note| note.contains("`crop_mode`")),
                is_told,
                "{side} {mode}"
            );
        }
    }

    #[test]
    fn names_of_classes_are_a_list_or_a_map() {
        let names = |names: &str| {
            let text = format!(r#"{{"label_names": {names}, "pretrained_cfg": {{}}}}"#);
            let (metadata, _) = read((Naming::Timm, 3), &[("config.json", &text)]).unwrap();
            metadata.get(CLASS_NAMES).cloned()
        };
        let expected = Some(r#"["cat","dog"]"#.to_owned());
        assert_eq!(names(r#"["cat", "dog"]"#), expected);
        assert_eq!(names(r#"{"1": "dog", "0": "cat"}"#), expected);
        for odd in [r#"{"1": "dog", "2": "cat"}"#, r#"{"cat": 0}"#, "7"] {
            assert_eq!(names(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_says_less_or_fits_badly_is_done_without() {
        let text = r#"{"size": {"longest_edge": 9}, "image_mean": 0.5, "image_std": 0.25}"#;
        let (metadata, _) = read((Naming::HuggingFace, 3), &[("preprocessor_config.json", text)]).unwrap();
        assert_eq!(&*metadata[MEAN], "[0.5,0.5,0.5]");
        assert!(!metadata.contains_key(IMAGE_SIZE));
        let text = r#"{"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1], "crop_pct": 0.9}}"#;
        let (metadata, notes) = read((Naming::Timm, 1), &[("config.json", text)]).unwrap();
        assert!(!metadata.contains_key(MEAN) && metadata.contains_key(CROP_PCT));
        assert!(notes[0].contains("not of 1 channel(s)"), "{notes:?}");
        let text = r#"{"pretrained_cfg": null}"#;
        assert_eq!(
            read((Naming::Timm, 3), &[("config.json", text)]).unwrap().0,
            Metadata::new()
        );
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_named() {
        for (naming, name, text) in [
            (
                Naming::HuggingFace,
                "preprocessor_config.json",
                r#"{"image_mean": "grey"}"#,
            ),
            (
                Naming::HuggingFace,
                "preprocessor_config.json",
                r#"{"crop_pct": []}"#,
            ),
            (Naming::HuggingFace, "preprocessor_config.json", "{"),
            (
                Naming::Timm,
                "config.json",
                r#"{"pretrained_cfg": {"input_size": [1e99, 2, 3]}}"#,
            ),
        ] {
            let error = read((naming, 3), &[(name, text)]).unwrap_err().to_string();
            assert!(error.contains(name) && !error.contains('\n'), "{error}");
        }
    }
}
