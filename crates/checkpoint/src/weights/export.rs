//! Writes weights for other programs, under their names and in their shapes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CheckpointError;
use crate::json::write_json;
use crate::tensor::{Dtype, Metadata, TensorData, Tensors};
use crate::torch_write::write_torch;
use crate::weights::architecture::BlockVersion;
use crate::weights::hugging_face;
use crate::weights::layout::{Style, to_theirs};
use crate::weights::naming::{HUGGING_FACE_PREFIXES, Naming};
use crate::weights::preprocessing::Preprocessing;
use crate::weights::{CLASS_NAMES, Part, RESPONSE, Weights, part};
use crate::write::write_safetensors;

/// timm's factory functions make linear maps 1×1 convolutions in networks narrower than this (tiny).
const CONV_MLP_BELOW: usize = 96;

/// timm's ConvNeXt takes a stem of stride 2 for the first half of one of stride 4.
const TIMM_STEM: &str = "timm downsamples before the first stage where the stem has stride 2, and this network does not: before \
                         loading, set `model.stages[0].downsample = torch.nn.Identity()`";

/// For whom weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// fcmae: a safetensors file. With a decoder, the names of an FCMAE.
    Native,
    /// The reference: `{"model": …}` in a `.pth`. With a decoder, the names and kernels of its own pre-training
    /// (MinkowskiEngine), which is the only form of it that has one; else the dense form.
    Official,
    /// timm: a state dict. Without decoder.
    Timm,
    /// transformers: a folder with `model.safetensors`, `config.json`, `preprocessor_config.json`. Without decoder.
    HuggingFace,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Native => "native",
            Target::Official => "official",
            Target::Timm => "timm",
            Target::HuggingFace => "hf",
        })
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The files, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// What a user should know: what the format has no place for.
    pub notes: Vec<String>,
}

/// Writes weights for `target` to `out`: a file, whose ending (`.safetensors`; `.pth`, `.pt` or `.bin`) says in
/// which format, or a folder for [`Target::HuggingFace`]. Each file is replaced whole or not at all; the
/// `config.json` of a folder comes last. How images are prepared is what the weights' metadata say ([`Preprocessing::of`]).
///
/// # Errors
/// An ending that does not fit the target; a network that only fcmae has; what the system refuses.
pub fn export_weights(
    weights: &Weights,
    target: Target,
    out: impl AsRef<Path>,
) -> Result<Exported, CheckpointError> {
    let out = out.as_ref();
    let preprocessing = Preprocessing::of(weights)?;
    let mut notes = Vec::new();
    if let (Some(response), true) = (weights.metadata.get(RESPONSE), target != Target::Native) {
        let problem = format!(
            "these weights are of neither V1 nor V2 ({response} stands in GRN's place), and {target} has no such \
             network; write them as native"
        );
        return Err(CheckpointError::weights(&weights.file, problem));
    }
    let has_place = match target {
        Target::Native => true,
        Target::Official => weights.architecture.decoder.is_some(),
        Target::Timm | Target::HuggingFace => false,
    };
    if !has_place && !weights.decoder.is_empty() {
        notes.push(format!("{target} has no place for the decoder: it is left out"));
    }
    if matches!(target, Target::Official | Target::Timm) {
        notes.extend(left_behind(weights, target, &preprocessing));
    }
    if target == Target::Timm && weights.architecture.stem_stride == 2 {
        notes.push(TIMM_STEM.to_owned());
    }
    let files = match target {
        Target::HuggingFace => folder(weights, out, &preprocessing, &mut notes)?,
        Target::Native => {
            let tensors = if weights.head.is_empty() && !weights.decoder.is_empty() {
                weights.fcmae_tensors()
            } else {
                weights.classifier_tensors()
            };
            match Ending::of(out)? {
                Ending::Safetensors => write_safetensors(out, &tensors, &weights.metadata)?,
                Ending::Torch => return Err(wrong_ending(out, ".safetensors")),
            }
            vec![out.to_path_buf()]
        }
        Target::Official | Target::Timm => {
            let wrapper = (target == Target::Official).then_some("model");
            let tensors = renamed(weights, style(weights, target));
            match Ending::of(out)? {
                Ending::Torch => write_torch(out, wrapper, &tensors)?,
                Ending::Safetensors => write_safetensors(out, &tensors, &Metadata::new())?,
            }
            vec![out.to_path_buf()]
        }
    };
    Ok(Exported { files, notes })
}

/// What a user of a format without metadata has to note down.
fn left_behind(weights: &Weights, target: Target, preprocessing: &Preprocessing) -> Option<String> {
    let is_special = *preprocessing != Preprocessing::imagenet(weights.architecture.in_chans);
    let names = weights.metadata.contains_key(CLASS_NAMES);
    let images = is_special.then(|| format!("how images are prepared ({preprocessing})"));
    let lost: Vec<String> = images
        .into_iter()
        .chain(names.then(|| "the names of the classes".to_owned()))
        .collect();
    (!lost.is_empty()).then(|| {
        format!(
            "{target} has no place for {}: keep them elsewhere",
            lost.join(" and for ")
        )
    })
}

/// How a target wants its tensors.
fn style(weights: &Weights, target: Target) -> Style {
    let naming = match target {
        Target::Timm => Naming::Timm,
        Target::HuggingFace => Naming::HuggingFace,
        _ if weights.head.is_empty() && weights.architecture.decoder.is_some() => Naming::Minkowski,
        _ => Naming::Reference,
    };
    let grn_ones = match naming {
        Naming::Timm => 0,
        Naming::Minkowski => 1,
        // the reference loads weights of pre-training in the shape of its sparse GRN alone
        Naming::Reference if weights.head.is_empty() => 1,
        _ => 3,
    };
    let is_narrow = weights
        .architecture
        .dims
        .first()
        .is_some_and(|&width| width < CONV_MLP_BELOW);
    let conv_mlp = naming == Naming::Timm && is_narrow;
    Style {
        naming,
        grn_ones,
        conv_mlp,
    }
}

/// All tensors that the naming has a place for.
fn renamed(weights: &Weights, style: Style) -> Tensors {
    let all = weights.encoder.iter().chain(&weights.head).chain(
        weights
            .decoder
            .iter()
            .filter(|_| weights.architecture.decoder.is_some()),
    );
    let rename = |(ours, tensor): (&String, &TensorData)| {
        let theirs = style.naming.theirs(ours)?;
        let prefix = match (style.naming, part(ours)) {
            (Naming::Minkowski, Part::Encoder) => "encoder.",
            (Naming::HuggingFace, _) if ours.starts_with("head.") => "",
            (Naming::HuggingFace, _) if weights.architecture.classes.is_none() => "", // the model alone
            (Naming::HuggingFace, _) => match weights.architecture.block {
                BlockVersion::V2 | BlockVersion::Other => HUGGING_FACE_PREFIXES[0],
                BlockVersion::V1 => HUGGING_FACE_PREFIXES[1],
            },
            _ => "",
        };
        Some((
            format!("{prefix}{theirs}"),
            to_theirs(style, ours, tensor.clone()),
        ))
    };
    all.filter_map(rename).collect()
}

fn folder(
    weights: &Weights,
    out: &Path,
    preprocessing: &Preprocessing,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut tensors = renamed(weights, style(weights, Target::HuggingFace));
    if weights.head.is_empty() {
        let width = weights.architecture.dims.last().copied().unwrap_or_default();
        for (name, value) in [("layernorm.weight", 1.0), ("layernorm.bias", 0.0)] {
            tensors.insert(
                name.to_owned(),
                TensorData::from_f32(vec![width], &vec![value; width])?,
            );
        }
        notes.push("transformers has a last layernorm: it is written as it starts, 1 and 0".to_owned());
    }
    if out.is_file() {
        return Err(CheckpointError::weights(
            out,
            "this is a file; for hf give a folder",
        ));
    }
    fs::create_dir_all(out).map_err(|source| CheckpointError::write(out, source))?;
    let files = ["model.safetensors", "preprocessor_config.json", "config.json"].map(|name| out.join(name));
    let metadata = Metadata::from([("format".to_owned(), "pt".to_owned())]); // transformers asks for it
    write_safetensors(&files[0], &tensors, &metadata)?;
    write_json(&files[1], &hugging_face::preprocessor(preprocessing))?;
    let dtype = match weights.encoder.values().next().map(|tensor| tensor.dtype) {
        Some(Dtype::F16) => "float16",
        Some(Dtype::BF16) => "bfloat16",
        Some(Dtype::F64) => "float64",
        _ => "float32",
    };
    write_json(
        &files[2],
        &hugging_face::config(weights, dtype, preprocessing.side()),
    )?;
    Ok(files.into())
}

/// What a file's name says about its format.
enum Ending {
    Safetensors,
    Torch,
}

impl Ending {
    fn of(out: &Path) -> Result<Ending, CheckpointError> {
        match out.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => Ok(Ending::Safetensors),
            Some("pth" | "pt" | "bin") => Ok(Ending::Torch),
            _ => Err(wrong_ending(out, ".safetensors or .pth")),
        }
    }
}

fn wrong_ending(out: &Path, wanted: &str) -> CheckpointError {
    CheckpointError::weights(
        out,
        format!("the name must end in {wanted}, which says in which format to write"),
    )
}
