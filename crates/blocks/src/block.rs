//! The ConvNeXt block of V1 and V2, and of the paper's alternatives.

use fcmae_kernels::{BlockOptions, BlockParams, End, GrnScope, Middle};
use fcmae_masking::VisibleLayout;
use serde::{Deserialize, Serialize};
use tch::{Tensor, nn};

use crate::drop_path::DropPath;
use crate::parts::{Affine, LayerNorm, LayerScale};
use crate::pass::{Flow, Pass};
use crate::response::{Grn, Placement, Response, ResponseConfig};

/// Which generation of ConvNeXt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockKind {
    /// LayerScale after the second linear map, no GRN (arXiv 2201.03545).
    V1,
    /// GRN after GELU, no LayerScale (arXiv 2301.00808).
    #[default]
    V2,
}

/// What a block is made of and how it behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// V1 or V2: whether there is LayerScale, and what the response is where `response` does not say.
    pub kind: BlockKind,
    /// What stands in GRN's place.
    pub response: ResponseConfig,
    /// Over which sites GRN's norm runs.
    pub grn_scope: GrnScope,
    /// Start of LayerScale's `gamma` (V1; the reference uses 1e-6).
    pub layer_scale_init: f64,
    /// Stochastic depth.
    pub drop_path: DropPath,
}

impl Default for BlockConfig {
    fn default() -> BlockConfig {
        BlockConfig {
            kind: BlockKind::V2,
            response: ResponseConfig::default(),
            grn_scope: GrnScope::Sample,
            layer_scale_init: 1e-6,
            drop_path: DropPath { rate: 0.0, index: 0 },
        }
    }
}

/// `y = x + DropPath(W₂·GRN(GELU(W₁·LN(dw(x)))))` (V2 §4, Fig. 5; V1: LayerScale instead of GRN; the alternatives of
/// Table 2: another [`Response`] instead of GRN).
#[derive(Debug)]
pub struct Block {
    /// Depthwise convolution, `[C, 1, 7, 7]`.
    pub dwconv: Affine,
    /// LayerNorm before the linear maps.
    pub norm: LayerNorm,
    /// First linear map, `[4C, C]`.
    pub pwconv1: Affine,
    /// What stands in GRN's place.
    pub response: Response,
    /// Where that is.
    pub placement: Placement,
    /// Second linear map, `[C, 4C]`.
    pub pwconv2: Affine,
    /// V1's scale of the branch.
    pub layer_scale: Option<LayerScale>,
    /// Stochastic depth.
    pub drop_path: DropPath,
    /// The path of its parameters.
    name: String,
    is_in_kernels: bool,
}

impl Block {
    /// Creates the parameters of a block of width `channels` under `path`, with the reference's names and shapes
    /// (fact sheet §1.6). Weights are zero until [`initialise`](crate::initialise) draws them or a file fills them.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64, config: &BlockConfig) -> Block {
        let c = channels;
        let BlockConfig {
            kind,
            response,
            grn_scope,
            ..
        } = *config;
        let width = match response.placement {
            Placement::AfterGelu => 4 * c,
            Placement::AfterDwconv | Placement::AfterPwconv2 => c,
        };
        Block {
            dwconv: Affine::new(&(path / "dwconv"), &[c, 1, 7, 7]),
            norm: LayerNorm::new(&(path / "norm"), c),
            pwconv1: Affine::new(&(path / "pwconv1"), &[4 * c, c]),
            response: Response::new(path, width, response.kind_in(kind), &response, grn_scope),
            placement: response.placement,
            pwconv2: Affine::new(&(path / "pwconv2"), &[c, 4 * c]),
            layer_scale: (kind == BlockKind::V1).then(|| LayerScale::new(path, c, config.layer_scale_init)),
            drop_path: config.drop_path,
            name: path.components().collect::<Vec<_>>().join("."),
            is_in_kernels: response.is_in_kernels(kind),
        }
    }

    /// Packed `[V, p, p, C]` → the same.
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        pass.watch.see(&self.name, Flow::In, x);
        let y = if self.is_in_kernels {
            self.in_kernels(x, layout, pass)
        } else {
            self.forward_observed(x, layout, pass, &mut |_, _| {})
        };
        pass.watch.see(&self.name, Flow::Out, &y);
        y
    }

    fn in_kernels(&self, x: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        let factors = self.drop_path.factors(pass.draws);
        let options = BlockOptions {
            grn_scope: match &self.response {
                Response::Grn(grn) => grn.form.scope,
                _ => GrnScope::Sample,
            },
            drop_path: factors.as_deref(),
            activation: pass.activation,
        };
        fcmae_kernels::block(x, &self.params(), layout, &options)
    }

    /// The parameters, borrowed, as the kernels take them.
    fn params(&self) -> BlockParams<'_> {
        BlockParams {
            dwconv_weight: &self.dwconv.weight,
            dwconv_bias: &self.dwconv.bias,
            norm_weight: &self.norm.weight,
            norm_bias: &self.norm.bias,
            pwconv1_weight: &self.pwconv1.weight,
            pwconv1_bias: &self.pwconv1.bias,
            middle: match &self.response {
                Response::Grn(Grn { gamma, beta, .. }) => Middle::Grn { gamma, beta },
                _ => Middle::Nothing,
            },
            pwconv2_weight: &self.pwconv2.weight,
            pwconv2_bias: &self.pwconv2.bias,
            end: match &self.layer_scale {
                Some(LayerScale { gamma }) => End::LayerScale { gamma },
                None => End::Nothing,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use fcmae_masking::PatchGrid;
    use tch::{Device, Kind};

    use super::*;
    use crate::pass::Watch;

    /// Alternatives are composed as the kernels' own blocks are: the composition of V1 and V2 is their block.
    #[test]
    fn composed_of_operations_or_one_call_of_the_kernels() {
        for kind in [BlockKind::V1, BlockKind::V2] {
            let mut vs = nn::VarStore::new(Device::Cpu);
            let config = BlockConfig {
                kind,
                ..BlockConfig::default()
            };
            let block = Block::new(&vs.root(), 6, &config);
            vs.set_kind(Kind::Double);
            tch::manual_seed(1);
            for parameter in vs.variables().into_values() {
                let _ = tch::no_grad(|| parameter.shallow_clone().uniform_(-1.0, 1.0));
            }
            let layout = VisibleLayout::full(2, PatchGrid { rows: 2, cols: 2 });
            let x = Tensor::randn([8, 2, 2, 6], (Kind::Double, Device::Cpu));
            let pass = Pass::default();
            let difference = block.forward(&x, &layout, &pass)
                - block.forward_observed(&x, &layout, &pass, &mut |_, _| {});
            assert!(difference.abs().max().double_value(&[]) < 1e-12, "{kind:?}");
        }
    }

    #[test]
    fn who_watches_sees_both_ends_and_changes_no_bit() {
        let vs = nn::VarStore::new(Device::Cpu);
        let path = vs.root() / "stages" / 1;
        let block = Block::new(&path, 6, &BlockConfig::default());
        for parameter in vs.variables().into_values() {
            let _ = tch::no_grad(|| parameter.shallow_clone().uniform_(-1.0, 1.0));
        }
        let layout = VisibleLayout::full(2, PatchGrid { rows: 2, cols: 2 });
        let x = Tensor::randn([8, 2, 2, 6], (Kind::Float, Device::Cpu));
        let seen = RefCell::new(Vec::new());
        let see = |name: &str, flow, features: &Tensor| {
            seen.borrow_mut().push((name.to_owned(), flow, features.copy()));
        };
        let pass = Pass {
            watch: Watch::by(&see),
            ..Pass::default()
        };
        let y = block.forward(&x, &layout, &pass);
        assert_eq!(y, block.forward(&x, &layout, &Pass::default()));
        let name = "stages.1".to_owned();
        assert_eq!(
            *seen.borrow(),
            [(name.clone(), Flow::In, x), (name, Flow::Out, y)]
        );
    }
}
