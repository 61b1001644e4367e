//! Which response a block has, and of which form.

use fcmae_kernels::GrnScope;
use serde::{Deserialize, Serialize};

use crate::block::BlockKind;

/// What stands in GRN's place (section `[model.response]` of a run's file; paper §4, Tables 2 and 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseConfig {
    /// `"grn"`, `"none"`, `"lrn"`, `"bn"`, `"ln"`, `"se"` or `"cbam"`; where it is not given, what the block has: GRN in
    /// V2, nothing in V1 (whose LayerScale stays whatever stands here).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ResponseKind>,
    /// `"after_gelu"` (the paper), `"after_dwconv"` (before LayerNorm) or `"after_pwconv2"` (before LayerScale and the
    /// residual).
    pub placement: Placement,
    /// GRN's `G`, over the sites of an image: `"l2"` (the paper), `"l1"` or `"avg"` (Table 2a).
    pub aggregation: Aggregation,
    /// GRN's `N`, over channels: `"divisive_mean"` (the paper), `"standardise"` or `"inverse_sum"` (Table 2b).
    pub normalizer: Normalizer,
    /// What of GRN is there: `"full"` (also written `"n_g"`), `"affine"`, `"g"` or `"n"` (Table 16).
    pub components: Components,
    /// Whether GRN's input is added to its output (Table 2c: without 84.0, with 84.6).
    pub residual: bool,
}

impl Default for ResponseConfig {
    /// What the block has, in the paper's form.
    fn default() -> ResponseConfig {
        ResponseConfig {
            kind: None,
            placement: Placement::AfterGelu,
            aggregation: Aggregation::L2,
            normalizer: Normalizer::DivisiveMean,
            components: Components::Full,
            residual: true,
        }
    }
}

/// What stands in GRN's place (Tables 2d, 2e).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResponseKind {
    /// Nothing.
    None,
    /// Global Response Normalization (paper §4).
    Grn,
    /// Local response normalization (Krizhevsky et al. 2012).
    Lrn,
    /// Batch normalization over visible sites (arXiv 1502.03167).
    Bn,
    /// Layer normalization over channels (arXiv 1607.06450).
    Ln,
    /// Squeeze-and-excitation (arXiv 1709.01507).
    Se,
    /// Convolutional block attention module (arXiv 1807.06521).
    Cbam,
}

impl ResponseKind {
    /// As it is written in a file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ResponseKind::None => "none",
            ResponseKind::Grn => "grn",
            ResponseKind::Lrn => "lrn",
            ResponseKind::Bn => "bn",
            ResponseKind::Ln => "ln",
            ResponseKind::Se => "se",
            ResponseKind::Cbam => "cbam",
        }
    }
}

/// Where in a block the response stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Between GELU and the second linear map, `4·C` channels wide.
    #[default]
    AfterGelu,
    /// Between the depthwise convolution and LayerNorm, `C` wide.
    AfterDwconv,
    /// After the second linear map, `C` wide.
    AfterPwconv2,
}

/// `G(X)`: one number for each channel of an image, from its values `x_c` at all visible sites.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Aggregation {
    /// `‖x_c‖₂`.
    #[default]
    L2,
    /// `‖x_c‖₁`.
    L1,
    /// The mean of `x_c`: global average pooling.
    Avg,
}

/// `N(g)`: how a channel's number relates to those of all `C` channels. The sums of the paper's formulas are means
/// here, as in its code ("scaled by the channel count", footnote 1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalizer {
    /// `g_c / (mean g + 1e-6)`.
    #[default]
    DivisiveMean,
    /// `(g_c − mean g) / √(var g + 1e-6)`.
    Standardise,
    /// `1 / (mean g + 1e-6)`, the same for all channels.
    InverseSum,
}

/// What `γ·… + β` is taken of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Components {
    /// `X·N(G(X))`: GRN.
    #[default]
    #[serde(alias = "n_g")]
    Full,
    /// `X`.
    Affine,
    /// `X·G(X)`.
    G,
    /// `X·N(X)`, normalised over the channels of each site. The paper found it unstable.
    N,
}

/// How a GRN computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrnForm {
    /// Over which sites `G` runs.
    pub scope: GrnScope,
    /// `G`.
    pub aggregation: Aggregation,
    /// `N`.
    pub normalizer: Normalizer,
    /// What of it is there.
    pub components: Components,
    /// Whether the residual is missing.
    pub is_bare: bool,
}

/// A response that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// A key that something else makes meaningless.
    #[error(
        "`model.response.{key}` has no effect where `model.response.{other}` is \"{value}\"; leave one of them out"
    )]
    NoEffect {
        /// The key without effect.
        key: &'static str,
        /// The key that makes it so.
        other: &'static str,
        /// Its value.
        value: &'static str,
    },
    /// A divisor that may be zero.
    #[error(
        "`model.response.{key}` = \"{value}\": away from GELU responses have either sign, so the divisor, their mean, \
         crosses zero; use {instead}, or `normalizer` = \"standardise\""
    )]
    Divisor {
        /// The key that divides by signed numbers.
        key: &'static str,
        /// Its value.
        value: &'static str,
        /// Values that do not.
        instead: &'static str,
    },
}

impl ResponseConfig {
    /// What stands there in a block of this generation.
    #[must_use]
    pub fn kind_in(&self, block: BlockKind) -> ResponseKind {
        self.kind.unwrap_or(match block {
            BlockKind::V1 => ResponseKind::None,
            BlockKind::V2 => ResponseKind::Grn,
        })
    }

    /// Whether the kernels compute it as part of their block; everything else is composed of operations of libtorch.
    #[must_use]
    pub fn is_in_kernels(&self, block: BlockKind) -> bool {
        let is_ours = match self.kind_in(block) {
            ResponseKind::None => true,
            ResponseKind::Grn => self.form(GrnScope::Sample) == GrnForm::default(),
            _ => false,
        };
        is_ours && self.placement == Placement::AfterGelu
    }

    /// GRN's form.
    #[must_use]
    pub fn form(&self, scope: GrnScope) -> GrnForm {
        GrnForm {
            scope,
            aggregation: self.aggregation,
            normalizer: self.normalizer,
            components: self.components,
            is_bare: !self.residual,
        }
    }

    /// Checks the keys against each other.
    ///
    /// # Errors
    /// Names a key without effect, and what takes its effect; a divisor that crosses zero.
    pub fn validate(&self, block: BlockKind) -> Result<(), ResponseError> {
        let (kind, usual) = (self.kind_in(block), ResponseConfig::default());
        let set = [
            ("placement", self.placement != usual.placement),
            ("aggregation", self.aggregation != usual.aggregation),
            ("normalizer", self.normalizer != usual.normalizer),
            ("components", self.components != usual.components),
            ("residual", self.residual != usual.residual),
        ];
        let refuse = |keys: &[&str], other, value| {
            let without_effect = set.iter().find(|(key, is_set)| *is_set && keys.contains(key));
            without_effect.map_or(Ok(()), |&(key, _)| {
                Err(ResponseError::NoEffect { key, other, value })
            })
        };
        let of_grn = ["aggregation", "normalizer", "components", "residual"];
        match kind {
            ResponseKind::None => refuse(&set.map(|(key, _)| key), "kind", kind.name())?,
            ResponseKind::Grn => match self.components {
                Components::Full => {}
                Components::Affine => refuse(&["aggregation", "normalizer"], "components", "affine")?,
                Components::G => refuse(&["normalizer"], "components", "g")?,
                Components::N => refuse(&["aggregation"], "components", "n")?,
            },
            _ => refuse(&of_grn, "kind", kind.name())?,
        }
        if self.normalizer == Normalizer::Standardise || self.placement == Placement::AfterGelu {
            return Ok(());
        }
        let (key, value, instead) = match (self.components, self.aggregation) {
            (Components::N, _) => ("components", "n", "\"full\""),
            (Components::Full, Aggregation::Avg) => ("aggregation", "avg", "\"l2\" or \"l1\""),
            _ => return Ok(()),
        };
        Err(ResponseError::Divisor { key, value, instead })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_decides_where_nothing_is_said() {
        let config = ResponseConfig::default();
        assert_eq!(config.kind_in(BlockKind::V1), ResponseKind::None);
        assert_eq!(config.kind_in(BlockKind::V2), ResponseKind::Grn);
        let none = ResponseConfig {
            kind: Some(ResponseKind::None),
            ..config
        };
        assert_eq!(none.kind_in(BlockKind::V2), ResponseKind::None);
        for block in [BlockKind::V1, BlockKind::V2] {
            assert!(config.is_in_kernels(block) && none.is_in_kernels(block));
            config.validate(block).unwrap();
        }
    }

    #[test]
    fn alternatives_are_not_in_the_kernels() {
        type Change = fn(&mut ResponseConfig);
        let changes: [Change; 6] = [
            |c| c.kind = Some(ResponseKind::Se),
            |c| c.placement = Placement::AfterPwconv2,
            |c| c.aggregation = Aggregation::L1,
            |c| c.normalizer = Normalizer::Standardise,
            |c| c.components = Components::G,
            |c| c.residual = false,
        ];
        for change in changes {
            let mut config = ResponseConfig::default();
            change(&mut config);
            assert!(!config.is_in_kernels(BlockKind::V2), "{config:?}");
            config.validate(BlockKind::V2).unwrap();
        }
    }

    #[test]
    fn keys_without_effect_are_refused() {
        type Change = fn(&mut ResponseConfig);
        let cases: [(BlockKind, Change, &str); 5] = [
            (
                BlockKind::V1,
                |c| c.residual = false,
                "`model.response.residual` has no effect where `model.response.kind` is \"none\"; leave one of them out",
            ),
            (
                BlockKind::V2,
                |c| (c.kind, c.placement) = (Some(ResponseKind::None), Placement::AfterDwconv),
                "`model.response.placement` has no effect where `model.response.kind` is \"none\"",
            ),
            (
                BlockKind::V2,
                |c| (c.kind, c.normalizer) = (Some(ResponseKind::Bn), Normalizer::InverseSum),
                "`model.response.normalizer` has no effect where `model.response.kind` is \"bn\"",
            ),
            (
                BlockKind::V2,
                |c| (c.components, c.aggregation) = (Components::N, Aggregation::L1),
                "`model.response.aggregation` has no effect where `model.response.components` is \"n\"",
            ),
            (
                BlockKind::V2,
                |c| (c.components, c.normalizer) = (Components::G, Normalizer::Standardise),
                "`model.response.normalizer` has no effect where `model.response.components` is \"g\"",
            ),
        ];
        for (block, change, message) in cases {
            let mut config = ResponseConfig::default();
            change(&mut config);
            let error = config.validate(block).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn signed_divisors_are_refused() {
        use Normalizer::{DivisiveMean, InverseSum, Standardise};
        use Placement::{AfterDwconv, AfterGelu, AfterPwconv2};
        let avg = ResponseConfig {
            aggregation: Aggregation::Avg,
            ..ResponseConfig::default()
        };
        let n = ResponseConfig {
            components: Components::N,
            ..ResponseConfig::default()
        };
        let causes = [
            (avg, "`model.response.aggregation` = \"avg\": away from GELU"),
            (n, "`model.response.components` = \"n\": away from GELU"),
        ];
        for (config, message) in causes {
            for (placement, normalizer, is_refused) in [
                (AfterDwconv, DivisiveMean, true),
                (AfterPwconv2, InverseSum, true),
                (AfterPwconv2, Standardise, false),
                (AfterGelu, DivisiveMean, false), // Table 2a, Table 16
            ] {
                let config = ResponseConfig {
                    placement,
                    normalizer,
                    ..config
                };
                let refusal = config.validate(BlockKind::V2).map_err(|error| error.to_string());
                match refusal {
                    Err(error) => assert!(is_refused && error.starts_with(message), "{config:?}: {error}"),
                    Ok(()) => assert!(!is_refused, "{config:?}"),
                }
            }
        }
    }
}
