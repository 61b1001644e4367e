//! Weights from elsewhere: which network they need, and loading them where not every name fits.

use std::fmt;

use fcmae_blocks::BlockKind;
use fcmae_checkpoint::{Architecture, BlockVersion, Tensors, check_names, matches_any};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use tch::nn;

use crate::config::{FcmaeConfig, ModelError};
use crate::weights::{fill, shapes};

/// Patterns of names that need not fit (`*` stands for any characters); everything else must.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allow<'a> {
    /// The network has them and the file has not: they stay as they are.
    pub missing: &'a [&'a str],
    /// The file has them and the network has not: they are not used.
    pub unexpected: &'a [&'a str],
    /// Both have them, in other shapes: they stay as they are.
    pub misshapen: &'a [&'a str],
}

impl Allow<'static> {
    /// For a classifier on weights of pre-training, or on a classifier of other classes: `norm.*` and `head.*` may
    /// be new, and the head may have another shape.
    pub const FINE_TUNING: Allow<'static> = Allow {
        missing: &["norm.*", "head.*"],
        unexpected: &[],
        misshapen: &["head.*"],
    };
}

/// What was not loaded, for a user to know: [`Display`](fmt::Display) says it in one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Parameters that the file does not have: as they were before.
    pub new: Vec<String>,
    /// Parameters that the file has in another shape: as they were before.
    pub other_shape: Vec<String>,
    /// Tensors of the file that the network does not have.
    pub unused: Vec<String>,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("new, not in the weights", &self.new),
            ("new, of another shape in the weights", &self.other_shape),
            ("not used", &self.unused),
        ];
        let parts: Vec<String> = lists
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        match parts[..] {
            [] => f.write_str("all names fit"),
            _ => f.write_str(&parts.join("; ")),
        }
    }
}

/// Fills a store from tensors of which some need not fit; those parameters keep their values.
///
/// # Errors
/// Lists every name that does not fit and is not allowed; the store is unchanged then.
pub fn load_allowing(vs: &nn::VarStore, found: &Tensors, allow: &Allow) -> Result<Imported, ModelError> {
    let (mut expected, mut fitting) = (shapes(vs), found.clone());
    let mut imported = Imported::default();
    expected.retain(|(name, shape)| {
        let other = found.get(name).is_some_and(|tensor| tensor.shape != *shape);
        let is_allowed = other && matches_any(allow.misshapen, name);
        if is_allowed {
            fitting.remove(name);
            imported.other_shape.push(name.clone());
        }
        !is_allowed
    });
    check_names(&expected, &fitting, allow.missing, allow.unexpected)?;
    let is_missing = |(name, _): &(String, _)| (!found.contains_key(name)).then(|| name.clone());
    imported.new = expected.iter().filter_map(is_missing).collect();
    fitting.retain(|name, _| {
        let is_ours = expected.binary_search_by(|(ours, _)| ours.cmp(name)).is_ok(); // sorted by `shapes`
        if !is_ours {
            imported.unused.push(name.clone());
        }
        is_ours
    });
    fill(vs, &fitting)?;
    Ok(imported)
}

/// The encoder that weights need; what shapes do not tell (DropPath, GRN's scope, an alternative to GRN) has its
/// default.
#[must_use]
pub fn encoder_config(architecture: &Architecture) -> EncoderConfig {
    EncoderConfig {
        name: architecture.size().unwrap_or("imported").to_owned(),
        depths: architecture.depths.clone(),
        dims: architecture.dims.clone(),
        in_chans: architecture.in_chans,
        stem_stride: architecture.stem_stride,
        block: match architecture.block {
            BlockVersion::V1 => BlockKind::V1,
            BlockVersion::V2 | BlockVersion::Other => BlockKind::V2,
        },
        ..EncoderConfig::default()
    }
}

/// The FCMAE that weights need; `None` where they have no decoder of the paper's kind.
#[must_use]
pub fn fcmae_config(architecture: &Architecture) -> Option<FcmaeConfig> {
    let decoder = architecture.decoder?;
    Some(FcmaeConfig {
        encoder: encoder_config(architecture),
        decoder: DecoderConfig {
            depth: decoder.depth,
            dim: decoder.dim,
            ..DecoderConfig::default()
        },
        ..FcmaeConfig::default()
    })
}
