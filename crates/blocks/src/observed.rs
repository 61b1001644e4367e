//! The block one operation after the other, for those who look at what is inside.

use fcmae_kernels::{depthwise, drop_path, gelu};
use fcmae_masking::VisibleLayout;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::block::Block;
use crate::pass::Pass;
use crate::response::{Placement, Response};

/// A place inside a block where its features can be looked at, in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Site {
    /// The hidden layer `[V, p, p, 4C]` as the first linear map leaves it.
    BeforeGelu,
    /// The hidden layer after GELU.
    AfterGelu,
    /// The hidden layer as the second linear map takes it, where something stands after GELU: GRN in V2, an alternative
    /// in its place; V1 has none.
    AfterGrn,
    /// What the block puts out, `[V, p, p, C]`, residual included.
    Output,
}

impl Site {
    /// All of them.
    pub const ALL: [Site; 4] = [Site::BeforeGelu, Site::AfterGelu, Site::AfterGrn, Site::Output];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Site::BeforeGelu => "before GELU",
            Site::AfterGelu => "after GELU",
            Site::AfterGrn => "after GRN",
            Site::Output => "block output",
        }
    }
}

impl Block {
    /// [`forward`](Block::forward) that hands the features at each [`Site`] to `observe`: the block, one operation after
    /// the other, each differentiated and kept by libtorch. The kernels behind `forward` never hold the hidden layer as
    /// a whole; what they compute this is equal to up to rounding, and slower.
    pub fn forward_observed(
        &self,
        x: &Tensor,
        layout: &VisibleLayout,
        pass: &Pass,
        observe: &mut dyn FnMut(Site, &Tensor),
    ) -> Tensor {
        let respond = |x: Tensor, here: Placement| match here == self.placement {
            true => self.response.forward(&x, layout, pass),
            false => x,
        };
        let h = depthwise(x, &self.dwconv.weight, &self.dwconv.bias, layout); // [V, p, p, C]
        let h = respond(h, Placement::AfterDwconv);
        let h = self.pwconv1.linear(&self.norm.forward(&h)); // [V, p, p, 4C]
        observe(Site::BeforeGelu, &h);
        let h = gelu(&h);
        observe(Site::AfterGelu, &h);
        let h = respond(h, Placement::AfterGelu);
        if self.placement == Placement::AfterGelu && !matches!(self.response, Response::Nothing) {
            observe(Site::AfterGrn, &h);
        }
        let h = respond(self.pwconv2.linear(&h), Placement::AfterPwconv2); // [V, p, p, C]
        let h = match &self.layer_scale {
            Some(scale) => scale.forward(&h),
            None => h,
        };
        let h = match self.drop_path.factors(pass.draws) {
            Some(factors) => drop_path(&h, &factors),
            None => h,
        };
        let y = x + h;
        observe(Site::Output, &y);
        y
    }
}

#[cfg(test)]
mod tests {
    use fcmae_masking::{PatchGrid, PatchMask};
    use tch::{Device, Kind, nn};

    use super::*;
    use crate::{BlockConfig, BlockKind, Distribution, DropPath, DropPathDraws, redraw};

    /// A block of width 8 in which nothing is at its initial 0 or 1, and one step's draws for two images.
    fn block(kind: BlockKind) -> (nn::VarStore, Block, DropPathDraws) {
        let vs = nn::VarStore::new(Device::Cpu);
        let config = BlockConfig {
            kind,
            drop_path: DropPath { rate: 0.5, index: 0 },
            ..BlockConfig::default()
        };
        let block = Block::new(&vs.root(), 8, &config);
        for (name, tensor) in vs.variables() {
            redraw(&tensor, &name, 5, Distribution::Uniform { bound: 0.5 });
        }
        (vs, block, DropPathDraws::new(1, 0, &[3, 4, 5], 1))
    }

    fn layout() -> VisibleLayout {
        let grid = PatchGrid { rows: 2, cols: 2 };
        VisibleLayout::from(&PatchMask::from_hidden_indices(grid, &[vec![1], vec![0], vec![3]]).unwrap())
    }

    #[test]
    fn what_is_observed_is_what_the_block_computes() {
        for kind in [BlockKind::V1, BlockKind::V2] {
            let (_vs, block, draws) = block(kind);
            let x = Tensor::arange(9 * 9 * 8, (Kind::Float, Device::Cpu))
                .sin()
                .view([9, 3, 3, 8]);
            for draws in [None, Some(&draws)] {
                let pass = Pass {
                    draws,
                    ..Pass::default()
                };
                let mut seen = Vec::new();
                let mut observe = |site, features: &Tensor| seen.push((site, features.shallow_clone()));
                let observed = block.forward_observed(&x, &layout(), &pass, &mut observe);
                let plain = block.forward(&x, &layout(), &pass);
                let difference = (&observed - plain).abs().max().double_value(&[]);
                assert!(difference < 1e-5, "{kind:?}: {difference}"); // f32, values of order 1

                let sites: Vec<Site> = seen.iter().map(|(site, _)| *site).collect();
                let expected = Site::ALL
                    .into_iter()
                    .filter(|&site| site != Site::AfterGrn || kind == BlockKind::V2);
                assert_eq!(sites, expected.collect::<Vec<_>>());
                assert_eq!(seen[0].1.size(), [9, 3, 3, 32]);
                assert_eq!(seen[1].1, seen[0].1.gelu("none"));
                assert_eq!(seen.last().unwrap().1, observed);
            }
        }
    }
}
