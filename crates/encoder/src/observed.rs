//! The features inside every block of the dense network, as whole maps, for those who measure them.

use std::fmt;

use fcmae_blocks::{Pass, Site};
use fcmae_masking::MaskError;
use tch::Tensor;

use crate::encoder::SparseEncoder;
use crate::pyramid::seen_sites;

/// A place in the network, in the order of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Stage, from 0.
    pub stage: usize,
    /// Block of the stage, from 0.
    pub block: usize,
    /// Where in the block.
    pub site: Site,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stages.{}.{}, {}", self.stage, self.block, self.site.name())
    }
}

impl SparseEncoder {
    /// Shows `observe` the features at every [`Place`] while images `[N, C, H, W]` of any size pass through the dense
    /// network: whole maps `[N, H_s, W_s, C]`, channels last (hidden layers: 4·C), one after the other, so that one is
    /// in memory at a time. Sizes as in [`forward_maps`](SparseEncoder::forward_maps); nothing is dropped.
    ///
    /// # Errors
    /// Images without pixels.
    pub fn forward_observed(
        &self,
        images: &Tensor,
        observe: &mut dyn FnMut(Place, &Tensor),
    ) -> Result<(), MaskError> {
        let (padded, layout) = self.padded(images)?;
        let strides = self.strides();
        self.stages_by(&padded, &layout, |(stage, block), layers, x| {
            let mut show = |site, packed: &Tensor| {
                let map = seen_sites(packed, &layout, images, strides[stage]);
                observe(Place { stage, block, site }, &map);
            };
            layers.forward_observed(x, &layout, &Pass::default(), &mut show)
        });
        Ok(())
    }
}
