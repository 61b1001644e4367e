//! The weights of a ConvNeXt from any program's file, under one set of names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::checksums::{require_list, verify_file};
use crate::error::CheckpointError;
use crate::folder::CheckpointFolder;
use crate::names::{check_names, matches_any};
use crate::source::{Contents, Format, Source};
use crate::tensor::{Metadata, Tensors};

mod architecture;
mod change;
mod channels;
mod export;
mod find;
mod hugging_face;
pub(crate) mod layout;
pub(crate) mod naming;
mod preprocessing;
mod timm;

use architecture::Alternatives;
pub use architecture::{Architecture, BlockVersion, DecoderShape};
pub use export::{Exported, Target, export_weights};
pub use naming::Naming;
pub use preprocessing::Preprocessing;

/// Files that a folder of weights may hold, in the order of preference.
const IN_FOLDER: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// The averaged weights in a checkpoint of fcmae.
const AVERAGED: &str = "ema.safetensors";

/// Metadata key of fcmae's own files: the config of the run.
pub(crate) const RUN_CONFIG: &str = "fcmae.config";
/// Metadata key of fcmae's own files: names of the classes, a JSON list.
pub(crate) const CLASS_NAMES: &str = "fcmae.class_names";
/// Metadata key of fcmae's own files: `true` where each class is decided by itself.
pub(crate) const SIGMOID: &str = "fcmae.sigmoid";
/// Metadata key of fcmae's own files: what stands in GRN's place, where the encoder is neither V1 nor V2.
pub(crate) const RESPONSE: &str = "fcmae.response";
/// Metadata key of fcmae's own files: the kind of the decoder, where it is not the paper's.
const DECODER: &str = "fcmae.decoder";

/// Metadata key of fcmae's own files: the decay of the average that the weights are.
const EMA_DECAY: &str = "fcmae.ema_decay";

/// The parts of a network that a tensor can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Encoder,
    Head,
    Decoder,
}

/// The part that one of our names belongs to.
pub(crate) fn part(name: &str) -> Part {
    match name.split('.').next() {
        Some("norm" | "head") => Part::Head,
        Some("mask_token" | "proj" | "decoder" | "pred") => Part::Decoder,
        _ => Part::Encoder,
    }
}

/// What to take from a file, and what to overlook in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions<'a> {
    /// Take the averaged weights (EMA), which must then be there; otherwise never.
    pub ema: bool,
    /// Patterns of the file's own names that may be there in addition, as `aux_head.*`.
    pub ignore: &'a [&'a str],
}

/// Weights of a ConvNeXt: names and shapes are those of the reference's dense network, whatever the file had.
///
/// The encoder is complete (every name that its [`Architecture`] calls for, in its shape); head and decoder are
/// either complete or empty, but for a `norm` without a `head`. Element types are the file's. Where a file of fcmae
/// says that it holds an alternative of the paper (Tables 1 and 2), that is taken as it is: only the network that it
/// is loaded into knows all of its names.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// The file they came from.
    pub file: PathBuf,
    /// How it is laid out.
    pub format: Format,
    /// Whose names it uses.
    pub naming: Naming,
    /// What network the shapes belong to.
    pub architecture: Architecture,
    /// `downsample_layers.*` and `stages.*`.
    pub encoder: Tensors,
    /// `norm.*` and `head.*`; empty for weights of pre-training.
    pub head: Tensors,
    /// `mask_token`, `proj.*`, `decoder.*` and `pred.*`; empty where the file has no decoder.
    pub decoder: Tensors,
    /// Text and plain values beside the tensors (`epoch`, …).
    pub metadata: Metadata,
    /// What a user should know: what was passed over, what was renamed.
    pub notes: Vec<String>,
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; names: {}; format: {}",
            self.architecture, self.naming, self.format
        )
    }
}

impl Weights {
    /// The tensors of a classifier: encoder and head.
    #[must_use]
    pub fn classifier_tensors(&self) -> Tensors {
        self.encoder
            .iter()
            .chain(&self.head)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// The tensors of an FCMAE: the encoder under `encoder.`, and the decoder.
    #[must_use]
    pub fn fcmae_tensors(&self) -> Tensors {
        let encoder = self
            .encoder
            .iter()
            .map(|(name, tensor)| (format!("encoder.{name}"), tensor.clone()));
        encoder
            .chain(self.decoder.iter().map(|(k, v)| (k.clone(), v.clone())))
            .collect()
    }

    /// Names of the classes, where the metadata have one for each.
    #[must_use]
    pub fn class_names(&self) -> Option<Vec<String>> {
        let names: Vec<String> = serde_json::from_str(self.metadata.get(CLASS_NAMES)?).ok()?;
        (Some(names.len()) == self.architecture.classes).then_some(names)
    }

    /// Whether each class is decided by itself (sigmoid) rather than one of all (softmax), as far as the metadata say.
    /// A single one always is.
    #[must_use]
    pub fn is_sigmoid(&self) -> bool {
        self.architecture.classes == Some(1)
            || self.metadata.get(SIGMOID).is_some_and(|value| value == "true")
    }

    /// Notes that each class is decided by itself.
    pub fn set_sigmoid(&mut self) {
        self.metadata.insert(SIGMOID.to_owned(), "true".to_owned());
    }
}

/// Reads the weights of a ConvNeXt V1 or V2 from a file of fcmae, of the reference (dense, released or its own
/// pre-training), of timm or of transformers, in safetensors or PyTorch's formats; or from a folder: of
/// transformers, of a run of fcmae or of one of its checkpoints. Content decides, not the name. Wrappers as
/// `model`, `state_dict` and `module.` are looked through. The size of the images that a ConvNeXt was trained on
/// leaves no trace in its weights: any multiple of the total stride will do.
///
/// # Errors
/// Each names the file: unreadable, no ConvNeXt in it, names missing, left over or misshapen (with near names).
pub fn read_weights(path: impl AsRef<Path>) -> Result<Weights, CheckpointError> {
    read_weights_with(path, &ReadOptions::default())
}

/// [`read_weights`], with choices.
///
/// # Errors
/// As [`read_weights`]; and averaged weights that were asked for and are not there.
pub fn read_weights_with(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Weights, CheckpointError> {
    let file = find_weights_file(path, options)?;
    let source = Source::open(&file)?;
    let plan = Plan::new(&file, &source.contents, options)?;
    let names: Vec<&str> = plan.renamed.values().copied().collect();
    let mut raw = source.read(&names)?;
    let (mut encoder, mut head, mut decoder) = (Tensors::new(), Tensors::new(), Tensors::new());
    for (ours, theirs) in plan.renamed {
        let Some(tensor) = raw.remove(theirs) else {
            continue;
        };
        let tensor = layout::to_ours(plan.naming, &ours, tensor);
        let part = match part(&ours) {
            Part::Encoder => &mut encoder,
            Part::Head => &mut head,
            Part::Decoder => &mut decoder,
        };
        part.insert(ours, tensor);
    }
    let mut notes = plan.notes;
    let mut metadata = source.contents.metadata.clone();
    let kind = (plan.naming, plan.architecture.in_chans);
    preprocessing::read_beside(&file, kind, &mut metadata, &mut notes)?;
    Ok(Weights {
        format: source.contents.format,
        naming: plan.naming,
        architecture: plan.architecture,
        encoder,
        head,
        decoder,
        metadata,
        notes,
        file,
    })
}

/// Whose names a file uses and what network it holds, from [`read_contents`](crate::read_contents) alone.
///
/// # Errors
/// As [`read_weights`].
pub fn recognise_weights(
    file: impl AsRef<Path>,
    contents: &Contents,
    options: &ReadOptions,
) -> Result<(Naming, Architecture), CheckpointError> {
    let plan = Plan::new(file.as_ref(), contents, options)?;
    Ok((plan.naming, plan.architecture))
}

/// What is to be read, and what it will be.
struct Plan<'a> {
    naming: Naming,
    architecture: Architecture,
    /// Our name → the file's.
    renamed: BTreeMap<String, &'a str>,
    notes: Vec<String>,
}

impl<'a> Plan<'a> {
    fn new(file: &Path, contents: &'a Contents, options: &ReadOptions) -> Result<Plan<'a>, CheckpointError> {
        let passed_over = match &contents.skipped[..] {
            [] => None,
            some => Some(format!("passed over, and not run: {}", some.join(", "))),
        };
        let is_average = contents.metadata.contains_key(EMA_DECAY);
        let names = contents.tensors.keys().map(String::as_str);
        let mut found = find::find(names, options.ema && !is_average).map_err(|problem| {
            let more = passed_over.as_ref().map(|text| format!("; {text}"));
            CheckpointError::weights(file, problem + &more.unwrap_or_default())
        })?;
        if is_average {
            found.notes.push(find::AVERAGED_NOTE.to_owned());
        }
        let (mut renamed, mut left_over) = (BTreeMap::new(), Vec::new());
        for (name, _) in contents.tensors.range(found.prefix.clone()..) {
            let Some(bare) = name.strip_prefix(&found.prefix) else {
                break;
            };
            match found.naming.ours(bare) {
                Some(ours) => {
                    if let Some(other) = renamed.insert(ours.clone(), name.as_str()) {
                        let problem = format!("`{other}` and `{name}` are both `{ours}`; keep one of them");
                        return Err(CheckpointError::weights(file, problem));
                    }
                }
                None if matches_any(options.ignore, bare) => {}
                None => left_over.push(bare.to_owned()),
            }
        }
        let shape = |(ours, theirs): (&String, &&str)| {
            let shape = &contents.tensors[*theirs].shape;
            (ours.clone(), layout::our_shape(found.naming, ours, shape))
        };
        let shapes: BTreeMap<_, _> = renamed.iter().map(shape).collect();
        let alternatives = Alternatives {
            response: contents.metadata.contains_key(RESPONSE),
            decoder: contents.metadata.contains_key(DECODER),
        };
        let architecture = Architecture::infer(&shapes, alternatives)
            .map_err(|problem| CheckpointError::weights(file, format!("not a whole ConvNeXt: {problem}")))?;
        check(file, &architecture, alternatives, &shapes, left_over)?;
        let notes = found.notes.into_iter().chain(passed_over).collect();
        Ok(Plan {
            naming: found.naming,
            architecture,
            renamed,
            notes,
        })
    }
}

/// Compares names and shapes with what the architecture calls for.
fn check(
    file: &Path,
    architecture: &Architecture,
    alternatives: Alternatives,
    shapes: &BTreeMap<String, Vec<usize>>,
    left_over: Vec<String>,
) -> Result<(), CheckpointError> {
    let mut expected = architecture.shapes();
    let last = architecture.dims.last().copied().unwrap_or_default();
    if architecture.classes.is_none() && shapes.keys().any(|name| name.starts_with("norm.")) {
        expected.extend(["norm.weight", "norm.bias"].map(|name| (name.to_owned(), vec![last])));
    }
    let mut all = shapes.clone();
    all.extend(left_over.into_iter().map(|name| (name, Vec::new())));
    check_names(&expected, &all, &[], &alternatives.unlisted()).map_err(|report| CheckpointError::Names {
        file: file.to_path_buf(),
        report: Box::new(report),
    })
}

/// The file of weights that `path` leads to: itself, or the one in a folder of transformers, in a checkpoint of
/// fcmae, or in the newest checkpoint of a run; with [`ReadOptions::ema`] the averaged ones where a checkpoint has
/// them.
///
/// # Errors
/// A folder without one; a file that is not what the list of checksums beside it says.
pub fn find_weights_file(path: impl AsRef<Path>, options: &ReadOptions) -> Result<PathBuf, CheckpointError> {
    let file = locate(path.as_ref(), options.ema)?;
    verify_file(&file)?;
    Ok(file)
}

fn locate(path: &Path, ema: bool) -> Result<PathBuf, CheckpointError> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let averaged = ema.then_some(AVERAGED);
    let inside = |folder: &Path| {
        let names = averaged.into_iter().chain(IN_FOLDER);
        names.map(|name| folder.join(name)).find(|file| file.is_file())
    };
    if let Some(file) = inside(path) {
        return Ok(file);
    }
    for folder in [path.join("checkpoints"), path.to_path_buf()] {
        if let Some(newest) = CheckpointFolder::view(folder).latest()?
            && let Some(file) = inside(&newest)
        {
            require_list(&newest)?;
            return Ok(file);
        }
    }
    let is_in_parts = IN_FOLDER
        .iter()
        .any(|name| path.join(format!("{name}.index.json")).exists());
    let problem = if is_in_parts {
        "the weights of this folder are in several files, which is not read; save them as one (transformers: \
         `save_pretrained(…, max_shard_size=\"10GB\")`)"
            .to_owned()
    } else {
        format!(
            "there are no weights in this folder; give a run folder, a checkpoint folder, or one with {}",
            IN_FOLDER.join(" or ")
        )
    };
    Err(CheckpointError::weights(path, problem))
}
