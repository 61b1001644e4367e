//! What timm keeps beside the weights: `config.json`, as its hub has it and `local-dir:` reads it.

use serde_json::{Map, Value, json};

use crate::weights::Weights;
use crate::weights::architecture::{Architecture, BlockVersion};
use crate::weights::preprocessing::{Preprocessing, crop_mode};

/// Sizes that timm has a factory function for; other networks are one of these with other depths and dims.
const V1: [&str; 8] = ["atto", "femto", "pico", "nano", "tiny", "small", "base", "large"];
const V2: [&str; 8] = ["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"];

/// What timm's ConvNeXt makes of this network otherwise than it is, if anything: its networks have four stages and a total
/// stride of 32 at most, and it takes a stem of stride 2 for the first half of one of stride 4.
pub(crate) fn obstacle(network: &Architecture) -> Option<&'static str> {
    match (network.dims.len(), network.stem_stride) {
        (4, 1 | 4) => None,
        (4, 2) => Some(
            "timm downsamples before the first stage where the stem has stride 2, and this network does not: before loading, set \
             `model.stages[0].downsample = torch.nn.Identity()`",
        ),
        (4, _) => Some(
            "timm dilates stages beyond a stride of 32, and this network does not: its logits will differ",
        ),
        _ => Some("timm has ConvNeXts of four stages only"),
    }
}

/// The `config.json` with which `timm.create_model("local-dir:FOLDER", pretrained=True)` makes the network.
pub(crate) fn config(weights: &Weights, images: &Preprocessing, conv_mlp: bool) -> Value {
    let Architecture {
        depths,
        dims,
        in_chans,
        stem_stride,
        block,
        classes,
        ..
    } = &weights.architecture;
    let (family, sizes) = match block {
        BlockVersion::V1 => ("convnext", V1),
        BlockVersion::V2 | BlockVersion::Other => ("convnextv2", V2), // others are refused before
    };
    let size = weights.architecture.size().filter(|size| sizes.contains(size));
    let mut changes = Map::new();
    if size.is_none() {
        changes.insert("depths".to_owned(), json!(depths));
        changes.insert("dims".to_owned(), json!(dims));
    }
    if *in_chans != 3 {
        changes.insert("in_chans".to_owned(), json!(in_chans));
    }
    if *stem_stride != 4 {
        changes.insert("patch_size".to_owned(), json!(stem_stride));
    }
    // factory functions of narrow networks make linear maps another way
    let size = size.unwrap_or(if conv_mlp { "atto" } else { "tiny" });
    let [height, width] = images.image_size;
    let crop_mode = crop_mode(images.side());
    let crop_pct = if crop_mode == "center" {
        images.crop_pct
    } else {
        1.0
    };
    let classes = classes.unwrap_or(0);
    let mut config = json!({
        "architecture": format!("{family}_{size}"),
        "num_classes": classes,
        "num_features": dims.last(),
        "model_args": changes,
        "pretrained_cfg": {
            "num_classes": classes,
            "input_size": [in_chans, height, width],
            "mean": images.mean,
            "std": images.std,
            "interpolation": "bicubic",
            "crop_pct": crop_pct,
            "crop_mode": crop_mode,
            "classifier": "head.fc",
        },
    });
    if *in_chans == 3 {
        config["pretrained_cfg"]["first_conv"] = json!("stem.0"); // which timm adapts to other channels
    }
    if let Some(names) = weights.class_names() {
        config["label_names"] = json!(names);
    }
    config
}
