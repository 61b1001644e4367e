//! Which decoder, and of which size.

use serde::{Deserialize, Serialize};

/// Kind, depth and width of the decoder (section `[decoder]` of a run's file; paper Table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
    /// `"convnext"` (the paper), `"unet"` or `"transformer"`.
    pub kind: DecoderKind,
    /// Number of blocks; of a UNet: in each of its levels. Paper: 1.
    pub depth: usize,
    /// Width of the blocks; of a UNet: at its coarsest level, half as much at each finer one. Paper: 512.
    pub dim: usize,
    /// Whether a UNet takes the outputs of the encoder's other stages in.
    pub skip: bool,
    /// Heads of a transformer's attention, which divide `dim`. MAE: 16.
    pub heads: usize,
}

/// What a decoder is made of (Table 1a: 83.7 convnext, 83.7 UNet, 83.5 UNet without skips, 83.4 transformer).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecoderKind {
    /// ConvNeXt V2 blocks on the grid of patches (§3).
    #[default]
    ConvNext,
    /// ConvNeXt V2 blocks at every resolution of the encoder, from coarse to fine.
    Unet,
    /// ViT blocks on the grid of patches, as MAE's decoder (arXiv 2111.06377).
    Transformer,
}

impl DecoderKind {
    /// As it is written in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DecoderKind::ConvNext => "convnext",
            DecoderKind::Unet => "unet",
            DecoderKind::Transformer => "transformer",
        }
    }
}

impl Default for DecoderConfig {
    fn default() -> DecoderConfig {
        DecoderConfig {
            kind: DecoderKind::ConvNext,
            depth: 1,
            dim: 512,
            skip: true,
            heads: 16,
        }
    }
}

/// A decoder that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("`decoder.{key}` = {got}: must be {expected}")]
pub struct DecoderError {
    /// Key in section `[decoder]`.
    pub key: &'static str,
    /// The value as given.
    pub got: String,
    /// What would be accepted.
    pub expected: String,
}

impl DecoderConfig {
    /// Checks the ranges, and the keys against each other; `stages`: those of the encoder, which a UNet climbs.
    ///
    /// # Errors
    /// Names the key, the value and what is accepted.
    pub fn validate(&self, stages: usize) -> Result<(), DecoderError> {
        let check = |holds: bool, key, got: &dyn std::fmt::Display, expected: &str| {
            let error = || DecoderError {
                key,
                got: got.to_string(),
                expected: expected.to_owned(),
            };
            if holds { Ok(()) } else { Err(error()) }
        };
        check(
            (1..=64).contains(&self.depth),
            "depth",
            &self.depth,
            "between 1 and 64 blocks",
        )?;
        check(
            (1..=1 << 14).contains(&self.dim),
            "dim",
            &self.dim,
            "between 1 and 16384 channels",
        )?;
        let is = |kind| self.kind == kind;
        let only = |kind: &str| format!("left out: only `decoder.kind` = \"{kind}\" has it");
        let usual = DecoderConfig::default();
        check(
            is(DecoderKind::Unet) || self.skip == usual.skip,
            "skip",
            &self.skip,
            &only("unet"),
        )?;
        if is(DecoderKind::Unet) {
            let halvings = 1 << (stages.max(1) - 1);
            let expected =
                format!("a multiple of {halvings}: a UNet halves it at each of {stages} levels but one");
            check(self.dim.is_multiple_of(halvings), "dim", &self.dim, &expected)?;
        }
        if !is(DecoderKind::Transformer) {
            return check(
                self.heads == usual.heads,
                "heads",
                &self.heads,
                &only("transformer"),
            );
        }
        check(
            self.heads > 0 && self.dim.is_multiple_of(self.heads),
            "heads",
            &self.heads,
            &format!("a divisor of `decoder.dim` = {}", self.dim),
        )?;
        check(
            self.dim.is_multiple_of(4),
            "dim",
            &self.dim,
            "a multiple of 4: positions are sines and cosines on two axes",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_built() {
        type Change = fn(&mut DecoderConfig);
        let (unet, transformer) = (DecoderKind::Unet, DecoderKind::Transformer);
        let cases: [(DecoderKind, Change, &str); 7] = [
            (
                unet,
                |c| c.depth = 0,
                "`decoder.depth` = 0: must be between 1 and 64 blocks",
            ),
            (
                unet,
                |c| c.dim = 0,
                "`decoder.dim` = 0: must be between 1 and 16384 channels",
            ),
            (
                unet,
                |c| c.dim = 20,
                "`decoder.dim` = 20: must be a multiple of 8: a UNet halves it at each of 4 levels but one",
            ),
            (
                unet,
                |c| c.heads = 8,
                "`decoder.heads` = 8: must be left out: only `decoder.kind` = \"transformer\" has it",
            ),
            (
                transformer,
                |c| c.skip = false,
                "`decoder.skip` = false: must be left out: only `decoder.kind` = \"unet\" has it",
            ),
            (
                transformer,
                |c| c.heads = 12,
                "`decoder.heads` = 12: must be a divisor of `decoder.dim` = 512",
            ),
            (
                transformer,
                |c| (c.dim, c.heads) = (6, 2),
                "`decoder.dim` = 6: must be a multiple of 4: positions are sines and cosines on two axes",
            ),
        ];
        for (kind, change, message) in cases {
            let mut config = DecoderConfig {
                kind,
                ..DecoderConfig::default()
            };
            config.validate(4).unwrap();
            change(&mut config);
            assert_eq!(config.validate(4).unwrap_err().to_string(), message);
        }
    }
}
