//! Writes weights for other programs, under their names and in their shapes.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::CheckpointError;
use crate::json::write_json;
use crate::tensor::{Metadata, TensorData, Tensors};
use crate::torch_write::write_torch;
use crate::weights::architecture::BlockVersion;
use crate::weights::layout::{Style, to_theirs};
use crate::weights::naming::{HUGGING_FACE_PREFIXES, Naming};
use crate::weights::preprocessing::Preprocessing;
use crate::weights::{Part, RESPONSE, Weights, hugging_face, part, timm};
use crate::write::write_safetensors;

/// timm's factory functions make linear maps 1×1 convolutions in networks narrower than this (tiny).
const CONV_MLP_BELOW: usize = 96;

/// For whom weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// fcmae: a safetensors file. With a decoder, the names of an FCMAE.
    Native,
    /// The reference: `{"model": …}` in a `.pth`. With a decoder, the names and kernels of its own pre-training
    /// (MinkowskiEngine), which is the only form of it that has one; else the dense form.
    Official,
    /// timm: a state dict, or a folder with `model.safetensors` and `config.json` that timm opens as
    /// `local-dir:FOLDER`. Without decoder.
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
/// which format, or a folder for [`Target::HuggingFace`] and, where the name has no ending, for [`Target::Timm`]. Each
/// file is replaced whole or not at all; the `config.json` of a folder comes last. How images are prepared is what the
/// weights' metadata say ([`Preprocessing::of`]).
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
    let is_folder = match target {
        Target::HuggingFace => true,
        Target::Timm => out.is_dir() || out.extension().is_none(),
        Target::Native | Target::Official => false,
    };
    notes.extend(left_behind(weights, target, is_folder, &preprocessing));
    let obstacle = timm::obstacle(&weights.architecture).filter(|_| target == Target::Timm);
    match obstacle {
        Some(problem) if is_folder => {
            let problem = format!(
                "{problem}; no folder that timm could open can be written, a file can (`.safetensors`, `.pth`)"
            );
            return Err(CheckpointError::weights(&weights.file, problem));
        }
        note => notes.extend(note.map(str::to_owned)),
    }
    let files = match target {
        _ if is_folder => folder(weights, target, out, &preprocessing, &mut notes)?,
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
        Target::Official | Target::Timm | Target::HuggingFace => {
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

/// What a user has to note down.
fn left_behind(
    weights: &Weights,
    target: Target,
    is_folder: bool,
    preprocessing: &Preprocessing,
) -> Option<String> {
    let has_place = is_folder || target == Target::Native;
    let is_special = *preprocessing != Preprocessing::imagenet(weights.architecture.in_chans);
    let mut lost = Vec::new();
    if !has_place && is_special {
        lost.push(format!("how images are prepared ({preprocessing})"));
    }
    if !has_place && weights.class_names().is_some() {
        lost.push("the names of the classes".to_owned());
    }
    let hint = match (target, lost.is_empty()) {
        (Target::Timm, false) => ", or write a folder",
        _ => "",
    };
    if matches!(target, Target::Official | Target::Timm) && weights.is_sigmoid() {
        lost.push("that each class is decided by itself (sigmoid)".to_owned());
    }
    let lost = lost.join(" and for ");
    (!lost.is_empty()).then(|| format!("{target} has no place for {lost}: keep it elsewhere{hint}"))
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
    target: Target,
    out: &Path,
    preprocessing: &Preprocessing,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>, CheckpointError> {
    if out.is_file() {
        let problem = format!("this is a file; for {target} give a folder");
        return Err(CheckpointError::weights(out, problem));
    }
    let style = style(weights, target);
    let mut tensors = renamed(weights, style);
    let (norm, descriptions) = if target == Target::Timm {
        let config = timm::config(weights, preprocessing, style.conv_mlp);
        ("head.norm", vec![("config.json", config)])
    } else {
        notes.extend(hugging_face::limits(weights, preprocessing));
        let preprocessor = hugging_face::preprocessor(preprocessing);
        let config = hugging_face::config(weights, preprocessing.side());
        let both = vec![
            ("preprocessor_config.json", preprocessor),
            ("config.json", config),
        ];
        ("layernorm", both)
    };
    if weights.head.is_empty() {
        add_norm(norm, weights, &mut tensors)?;
        notes.push(format!(
            "{target} has a last LayerNorm, {norm}: it is written as it starts, 1 and 0"
        ));
    }
    fs::create_dir_all(out).map_err(|source| CheckpointError::write(out, source))?;
    let mut files = vec![out.join("model.safetensors")];
    let metadata = Metadata::from([("format".to_owned(), "pt".to_owned())]); // transformers asks for it
    write_safetensors(&files[0], &tensors, &metadata)?;
    for (name, content) in descriptions {
        files.push(out.join(name));
        write_json(out.join(name), &content)?;
    }
    Ok(files)
}

/// A last LayerNorm, as it starts.
fn add_norm(name: &str, weights: &Weights, tensors: &mut Tensors) -> Result<(), CheckpointError> {
    let width = weights.architecture.dims.last().copied().unwrap_or_default();
    for (part, value) in [("weight", 1.0), ("bias", 0.0)] {
        let tensor = TensorData::from_f32(vec![width], &vec![value; width])?;
        tensors.insert(format!("{name}.{part}"), tensor);
    }
    Ok(())
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
