//! What transformers keeps beside the weights: `config.json` and `preprocessor_config.json`.

use std::path::Path;

use serde_json::{Value, json};

use crate::json::read_json;
use crate::tensor::{Dtype, Metadata};
use crate::weights::architecture::{Architecture, BlockVersion};
use crate::weights::preprocessing::{BICUBIC, Preprocessing};
use crate::weights::{CLASS_NAMES, SIGMOID, Weights};

/// transformers' `problem_type` where each class is decided by itself.
const BY_ITSELF: &str = "multi_label_classification";

/// eps of the LayerNorm before the head, here and in the reference.
const NORM_EPS: f64 = 1e-6;

/// Takes class names, and whether each is decided by itself, from the `config.json` beside a file of weights, if there is
/// one, and says where its network differs from ours.
pub(crate) fn read_config(file: &Path, metadata: &mut Metadata, notes: &mut Vec<String>) {
    let beside = file.with_file_name("config.json");
    let Ok(config) = read_json::<Value>(&beside) else {
        return; // the shapes tell the network
    };
    if let Some(eps) = config["layer_norm_eps"].as_f64()
        && eps != NORM_EPS
    {
        notes.push(format!(
            "transformers computes the last LayerNorm with eps {eps:e}, here it is {NORM_EPS:e}: logits differ by less \
             than 1e-6 of their size"
        ));
    }
    if let Some(names) = class_names(&config["id2label"]) {
        metadata.insert(CLASS_NAMES.to_owned(), json!(names).to_string());
    }
    if config["problem_type"] == BY_ITSELF {
        metadata.insert(SIGMOID.to_owned(), "true".to_owned());
    }
}

/// The names in the order of their numbers; `None` where they are transformers' placeholders.
fn class_names(id2label: &Value) -> Option<Vec<&str>> {
    let map = id2label.as_object()?;
    let names: Vec<&str> = (0..map.len())
        .map(|i| map.get(&i.to_string())?.as_str())
        .collect::<Option<_>>()?;
    let is_named = names
        .iter()
        .enumerate()
        .any(|(i, name)| *name != format!("LABEL_{i}"));
    (is_named && !names.is_empty()).then_some(names)
}

/// `config.json` of a ConvNeXt (V1) or ConvNeXtV2 model, for classification where there is a head.
pub(crate) fn config(weights: &Weights, image_size: usize) -> Value {
    let dtype = match weights.encoder.values().next().map(|tensor| tensor.dtype) {
        Some(Dtype::F16) => "float16",
        Some(Dtype::BF16) => "bfloat16",
        Some(Dtype::F64) => "float64",
        _ => "float32",
    };
    let Architecture {
        depths,
        dims,
        in_chans,
        stem_stride,
        block,
        classes,
        ..
    } = &weights.architecture;
    let (model_type, class) = match block {
        BlockVersion::V1 => ("convnext", "ConvNext"),
        BlockVersion::V2 | BlockVersion::Other => ("convnextv2", "ConvNextV2"), // others are refused before
    };
    let task = if classes.is_some() {
        "ForImageClassification"
    } else {
        "Model"
    };
    let mut config = json!({
        "architectures": [format!("{class}{task}")],
        "model_type": model_type,
        "num_channels": in_chans,
        "patch_size": stem_stride,
        "num_stages": dims.len(),
        "depths": depths,
        "hidden_sizes": dims,
        "hidden_act": "gelu",
        "layer_norm_eps": NORM_EPS,
        "initializer_range": 0.02,
        "drop_path_rate": 0.0,
        "image_size": image_size,
        "torch_dtype": dtype,
    });
    if *block == BlockVersion::V1 {
        config["layer_scale_init_value"] = json!(1e-6);
    }
    if let Some(classes) = classes {
        let names = weights
            .class_names()
            .unwrap_or_else(|| (0..*classes).map(|i| format!("LABEL_{i}")).collect());
        let id2label = names
            .iter()
            .enumerate()
            .map(|(i, name)| (i.to_string(), json!(name)));
        let label2id = names.iter().enumerate().map(|(i, name)| (name.clone(), json!(i)));
        config["id2label"] = Value::Object(id2label.collect());
        config["label2id"] = Value::Object(label2id.collect());
        if weights.is_sigmoid() {
            config["problem_type"] = json!(BY_ITSELF);
        }
    }
    config
}

/// What transformers' image processor of ConvNeXt cannot do.
pub(crate) fn limits(weights: &Weights, preprocessing: &Preprocessing) -> Vec<String> {
    let mut notes = Vec::new();
    let [height, width] = preprocessing.image_size;
    if height != width {
        notes.push(format!(
            "images of {height}×{width} px were used; transformers prepares squares: {} px are written",
            preprocessing.side()
        ));
    }
    let channels = weights.architecture.in_chans;
    if channels != 3 {
        notes.push(format!(
            "transformers' pipelines read images as RGB and this network takes {channels} channel(s): `--in-chans 3` writes one \
             that takes RGB"
        ));
    }
    notes
}

/// `preprocessor_config.json`: the evaluation transform of the fact sheet, §3.8.
pub(crate) fn preprocessor(preprocessing: &Preprocessing) -> Value {
    json!({
        "image_processor_type": "ConvNextImageProcessor",
        "do_resize": true,
        "size": { "shortest_edge": preprocessing.side() },
        "crop_pct": preprocessing.crop_pct,
        "resample": BICUBIC,
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": preprocessing.mean,
        "image_std": preprocessing.std,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_class_names() {
        assert_eq!(class_names(&json!({"0": "LABEL_0", "1": "LABEL_1"})), None);
        assert_eq!(
            class_names(&json!({"1": "dog", "0": "cat"})),
            Some(vec!["cat", "dog"])
        );
        for odd in [
            json!({"0": "cat", "2": "dog"}),
            json!({}),
            json!(null),
            json!({"0": 3}),
        ] {
            assert_eq!(class_names(&odd), None, "{odd}");
        }
    }
}
