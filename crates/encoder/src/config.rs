//! What an encoder is made of, and the size family's defaults.

use fcmae_blocks::{BlockConfig, BlockKind, DropPath, ResponseConfig, ResponseError, ResponseKind};
use fcmae_kernels::GrnScope;
use serde::{Deserialize, Serialize};

/// Depths, widths and behaviour of an encoder (section `[model]` of a run's file).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderConfig {
    /// Name of the size, for people and checkpoints (`"atto"` … `"huge"`).
    pub name: String,
    /// Blocks per stage, from 1 to 1000. Atto: `[2, 2, 6, 2]`.
    pub depths: Vec<usize>,
    /// Channels per stage. Atto: `[40, 80, 160, 320]`.
    pub dims: Vec<usize>,
    /// Channels of the images.
    pub in_chans: usize,
    /// Side of the stem's patches in pixels; the total stride, which is the mask's patch size, is
    /// `stem_stride · 2^(stages − 1)`. Standard: 4, so 32.
    pub stem_stride: usize,
    /// `"v2"` (GRN) or `"v1"` (LayerScale); `response` can put something else in GRN's place, in both.
    pub block: BlockKind,
    /// GRN's norm over the visible sites of each image (`"sample"`, the paper) or of the whole batch (`"batch"`,
    /// the reference's sparse code).
    pub grn_scope: GrnScope,
    /// Largest rate of stochastic depth, reached at the last block; in `[0, 1)`. Pre-training: 0.
    pub drop_path: f64,
    /// Start of V1's LayerScale.
    pub layer_scale_init: f64,
    /// How hidden patches are kept from the encoder in pre-training: `"sparse"`, `"masked_dense"` or `"dense"`. After
    /// it every one of them is the dense network, with the same weights.
    pub encoder: EncoderKind,
    /// What stands in the images in place of hidden patches, for a dense encoder: `"token"` or `"zero"`.
    pub dense_fill: DenseFill,
    /// What stands in GRN's place (paper Tables 2 and 16).
    pub response: ResponseConfig,
}

/// How hidden patches are kept from the encoder (paper §3 and its table "sparse or not": 83.7 against 79.3 dense).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EncoderKind {
    /// Visible patches are packed: what is hidden does not exist.
    #[default]
    Sparse,
    /// The same function on whole maps, masked after every step: what a hidden patch costs, and no more.
    MaskedDense,
    /// The dense network on images whose hidden patches are replaced, as [`DenseFill`] says, with no mask inside: the
    /// replacement takes part in every convolution and in GRN's statistics.
    Dense,
}

/// What stands in place of hidden patches in the images of a dense encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseFill {
    /// Learned pixels, one patch of the stem, repeated (`mask_token`, `[1, C, s, s]`): through the stem they are one
    /// learned vector, as in SimMIM (arXiv 2111.09886).
    #[default]
    Token,
    /// Zeros: the mean of normalised images.
    Zero,
}

impl Default for EncoderConfig {
    /// Atto on RGB images.
    fn default() -> EncoderConfig {
        EncoderConfig {
            name: "atto".to_owned(),
            depths: vec![2, 2, 6, 2],
            dims: vec![40, 80, 160, 320],
            in_chans: 3,
            stem_stride: 4,
            block: BlockKind::V2,
            grn_scope: GrnScope::Sample,
            drop_path: 0.0,
            layer_scale_init: 1e-6,
            encoder: EncoderKind::Sparse,
            dense_fill: DenseFill::Token,
            response: ResponseConfig::default(),
        }
    }
}

/// An encoder that cannot be built.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A value outside its range.
    #[error("`model.{key}` = {got}: must be {expected}")]
    Value {
        /// Key in section `[model]`.
        key: &'static str,
        /// The value as given.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// `depths` and `dims` do not describe the same stages.
    #[error(
        "`model.depths` has {depths} stages and `model.dims` has {dims}; give one number per stage in both"
    )]
    Stages {
        /// Length of `depths`.
        depths: usize,
        /// Length of `dims`.
        dims: usize,
    },
    /// What stands in GRN's place.
    #[error(transparent)]
    Response(#[from] ResponseError),
}

impl EncoderConfig {
    /// Pixels per position of the last stage, which is also the side of a mask patch.
    #[must_use]
    pub fn total_stride(&self) -> usize {
        self.stem_stride << (self.depths.len().max(1) - 1)
    }

    /// Number of blocks in all stages.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.depths.iter().sum()
    }

    /// Channels of the last stage.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.dims.last().copied().unwrap_or_default()
    }

    /// Checks ranges and fields against each other.
    ///
    /// # Errors
    /// Names the key, the value and what is accepted.
    pub fn validate(&self) -> Result<(), EncoderError> {
        let value = |key, got: &dyn std::fmt::Debug, expected| {
            Err(EncoderError::Value {
                key,
                got: format!("{got:?}"),
                expected,
            })
        };
        if self.depths.len() != self.dims.len() {
            return Err(EncoderError::Stages {
                depths: self.depths.len(),
                dims: self.dims.len(),
            });
        }
        let is_depth = |depth: &usize| (1..=1000).contains(depth);
        if self.depths.is_empty() || self.depths.len() > 8 || !self.depths.iter().all(is_depth) {
            return value("depths", &self.depths, "one to eight stages of 1 to 1000 blocks");
        }
        if self.dims.iter().any(|&d| d == 0 || d > 1 << 16) {
            return value("dims", &self.dims, "between 1 and 65536 channels in every stage");
        }
        if self.in_chans == 0 || self.in_chans > 4096 {
            return value("in_chans", &self.in_chans, "between 1 and 4096");
        }
        if self.stem_stride == 0 || self.stem_stride > 1024 {
            return value("stem_stride", &self.stem_stride, "between 1 and 1024 pixels");
        }
        if !(0.0..1.0).contains(&self.drop_path) {
            return value("drop_path", &self.drop_path, "at least 0 and below 1");
        }
        if !self.layer_scale_init.is_finite() {
            return value("layer_scale_init", &self.layer_scale_init, "a finite number");
        }
        if self.dense_fill != DenseFill::Token && self.encoder != EncoderKind::Dense {
            return value(
                "dense_fill",
                &"zero",
                "left out where `model.encoder` is not \"dense\"",
            );
        }
        Ok(self.response.validate(self.block)?)
    }

    /// What stands in GRN's place, in words, where that makes it a network that is neither V1 nor V2.
    #[must_use]
    pub fn alternative(&self) -> Option<String> {
        let kind = self.response.kind_in(self.block);
        let published = match self.block {
            BlockKind::V1 => ResponseKind::None,
            BlockKind::V2 => ResponseKind::Grn,
        };
        match kind {
            _ if kind == published && self.response.is_in_kernels(self.block) => None,
            ResponseKind::Grn if self.block == BlockKind::V2 => Some("grn of another form".to_owned()),
            ResponseKind::None => Some("nothing".to_owned()),
            _ => Some(kind.name().to_owned()),
        }
    }

    /// What of this network the fast kernels do not serve, for a run's first line; `pretrains`: hidden patches matter.
    #[must_use]
    pub fn off_kernels(&self, pretrains: bool) -> Option<&'static str> {
        if pretrains && self.encoder == EncoderKind::MaskedDense {
            Some("the encoder on whole maps by libtorch operations")
        } else if !self.response.is_in_kernels(self.block) {
            Some("the encoder's blocks by single operations")
        } else {
            None
        }
    }

    /// The configuration of each block, stage by stage: the same but for the rate of DropPath.
    pub(crate) fn block_configs(&self) -> Vec<Vec<BlockConfig>> {
        let rates = DropPath::schedule(self.drop_path, self.blocks());
        let mut drop_paths = rates
            .iter()
            .enumerate()
            .map(|(index, &rate)| DropPath { rate, index });
        let stage = |&depth: &usize| {
            let block = |drop_path| BlockConfig {
                kind: self.block,
                response: self.response,
                grn_scope: self.grn_scope,
                layer_scale_init: self.layer_scale_init,
                drop_path,
            };
            drop_paths.by_ref().take(depth).map(block).collect()
        };
        self.depths.iter().map(stage).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn check(change: impl Fn(&mut EncoderConfig), message: &str) {
        let mut config = EncoderConfig::default();
        change(&mut config);
        assert_eq!(config.validate().unwrap_err().to_string(), message);
    }

    #[test]
    fn refuses_what_cannot_be_built() {
        check(
            |c| c.depths = vec![2],
            "`model.depths` has 1 stages and `model.dims` has 4; give one number per stage in both",
        );
        check(
            |c| c.depths = vec![2, 0, 6, 2],
            "`model.depths` = [2, 0, 6, 2]: must be one to eight stages of 1 to 1000 blocks",
        );
        check(
            |c| c.dims[1] = 0,
            "`model.dims` = [40, 0, 160, 320]: must be between 1 and 65536 channels in every stage",
        );
        check(
            |c| c.in_chans = 0,
            "`model.in_chans` = 0: must be between 1 and 4096",
        );
        check(
            |c| c.stem_stride = 0,
            "`model.stem_stride` = 0: must be between 1 and 1024 pixels",
        );
        check(
            |c| c.drop_path = 1.0,
            "`model.drop_path` = 1.0: must be at least 0 and below 1",
        );
        check(
            |c| c.dense_fill = DenseFill::Zero,
            "`model.dense_fill` = \"zero\": must be left out where `model.encoder` is not \"dense\"",
        );
        check(
            |c| (c.block, c.response.residual) = (BlockKind::V1, false),
            "`model.response.residual` has no effect where `model.response.kind` is \"none\"; leave one of them out",
        );
    }

    #[test]
    fn the_total_stride_follows_stem_and_stages() {
        assert_eq!(EncoderConfig::default().total_stride(), 32);
        assert_eq!(
            EncoderConfig {
                stem_stride: 1,
                ..EncoderConfig::default()
            }
            .total_stride(),
            8
        );
        let three = EncoderConfig {
            depths: vec![1; 3],
            dims: vec![8; 3],
            ..EncoderConfig::default()
        };
        assert_eq!(three.total_stride(), 16);
    }

    #[test]
    fn drop_path_runs_over_all_blocks_of_all_stages() {
        let config = EncoderConfig {
            drop_path: 0.11,
            ..EncoderConfig::default()
        };
        let flat: Vec<_> = config
            .block_configs()
            .into_iter()
            .flatten()
            .map(|b| b.drop_path)
            .collect();
        assert_eq!(flat.len(), 12);
        assert!((flat[5].rate - 0.05).abs() < 1e-12 && flat[5].index == 5);
    }

    #[test]
    fn drop_path_of_every_size_is_the_references() {
        type Rates = BTreeMap<String, BTreeMap<String, Vec<f64>>>;
        let golden: Rates = serde_json::from_str(include_str!("../tests/golden/drop_path.json")).unwrap();
        assert_eq!(golden.len(), 8);
        for (size, rates) in golden {
            let depths = match size.as_str() {
                "atto" | "femto" | "pico" => [2, 2, 6, 2],
                "nano" => [2, 2, 8, 2],
                "tiny" => [3, 3, 9, 3],
                _ => [3, 3, 27, 3],
            };
            for (rate, expected) in rates {
                let config = EncoderConfig {
                    depths: depths.to_vec(),
                    drop_path: rate.parse().unwrap(),
                    ..EncoderConfig::default()
                };
                let found = config
                    .block_configs()
                    .into_iter()
                    .flatten()
                    .map(|block| block.drop_path.rate);
                let found: Vec<f64> = found.collect();
                assert_eq!(found.len(), expected.len(), "{size}");
                for (a, b) in found.iter().zip(&expected) {
                    assert!((a - b).abs() < 1e-15, "{size}, {rate}: {a} {b}");
                }
            }
        }
    }
}
