//! The paper's decoder: ConvNeXt blocks on the patch grid.

use fcmae_blocks::{Block, BlockConfig, Pass};
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

use crate::config::DecoderConfig;
use crate::decoder::Ends;
use crate::entrance::Entrance;

/// ConvNeXt V2 blocks over all patches. Their GRN is per image, whatever the encoder's scope.
#[derive(Debug)]
pub(crate) struct ConvNext {
    entrance: Entrance,
    blocks: Vec<Block>,
}

impl ConvNext {
    pub(crate) fn new(path: &nn::Path, config: &DecoderConfig, ends: &Ends) -> ConvNext {
        let encoded = ends.dims.last().copied().unwrap_or_default();
        ConvNext {
            entrance: Entrance::new(path, "proj", encoded, config.dim, ends.has_hidden),
            blocks: blocks(&(path / "decoder"), config.depth, config.dim),
        }
    }

    pub(crate) fn forward(&self, encoded: Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        let tokens = self.entrance.forward(&encoded, layout); // every patch is a tile of one position
        run(&self.blocks, tokens, layout, pass)
    }
}

/// Blocks `0`, `1`, … under `path`.
pub(crate) fn blocks(path: &nn::Path, depth: usize, dim: usize) -> Vec<Block> {
    let block = |k| Block::new(&(path / k), dim as i64, &BlockConfig::default());
    (0..depth).map(block).collect()
}

/// Runs blocks over the tiles of all patches.
pub(crate) fn run(blocks: &[Block], x: Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
    let all = VisibleLayout::full(layout.images(), layout.grid());
    blocks.iter().fold(x, |x, block| block.forward(&x, &all, pass))
}
