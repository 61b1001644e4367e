//! A hierarchical decoder: from the grid of patches up to the resolution of the stem.

use fcmae_blocks::{Affine, Block, LayerNorm, Pass};
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

use crate::config::DecoderConfig;
use crate::convnext::{blocks, run};
use crate::decoder::{Ends, spread};
use crate::entrance::Entrance;

/// One level for each stage of the encoder, from coarse to fine: `depth` ConvNeXt V2 blocks over all patches, then
/// LayerNorm and a linear map that makes 2 × 2 sites of half the width out of each site.
///
/// With skips the stage of that resolution is added, through a 1 × 1 convolution, with a mask token of the level's own
/// where patches are hidden: as SparK (arXiv 2301.03580) fills each scale of its UNet. The paper gives no more of its
/// UNet than the name (Table 1a); blocks and widths are this project's choice. Pixels are predicted at the finest level.
#[derive(Debug)]
pub(crate) struct Unet {
    entrance: Entrance,
    coarsest: Vec<Block>,
    finer: Vec<Level>,
}

/// A level above the coarsest; under `decoder.1`, `decoder.2`, ….
#[derive(Debug)]
struct Level {
    norm: LayerNorm,
    /// `[4·D, 2·D]`
    expand: Affine,
    skip: Option<Entrance>,
    blocks: Vec<Block>,
    dim: i64,
}

impl Unet {
    pub(crate) fn new(path: &nn::Path, config: &DecoderConfig, ends: &Ends) -> Unet {
        let decoder = path / "decoder";
        let mut from_coarse = ends.dims.iter().rev().copied();
        let encoded = from_coarse.next().unwrap_or_default();
        let level = |(k, channels): (usize, usize)| {
            let (path, dim) = (&decoder / (k + 1), config.dim >> (k + 1));
            let wide = 2 * dim as i64;
            Level {
                norm: LayerNorm::new(&(&path / "norm"), wide),
                expand: Affine::new(&(&path / "expand"), &[2 * wide, wide]),
                skip: config
                    .skip
                    .then(|| Entrance::new(&path, "skip", channels, dim, ends.has_hidden)),
                blocks: blocks(&path, config.depth, dim),
                dim: dim as i64,
            }
        };
        Unet {
            entrance: Entrance::new(path, "proj", encoded, config.dim, ends.has_hidden),
            coarsest: blocks(&(&decoder / 0), config.depth, config.dim),
            finer: from_coarse.enumerate().map(level).collect(),
        }
    }

    pub(crate) fn forward(&self, mut stages: Vec<Tensor>, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        let mut stage = || {
            stages
                .pop()
                .expect("a UNet has as many levels as the encoder stages")
        };
        let x = self.entrance.forward(&stage(), layout);
        let mut x = run(&self.coarsest, x, layout, pass);
        for level in &self.finer {
            x = level.expand(&x);
            let stage = stage();
            if let Some(skip) = &level.skip {
                x += skip.forward(&stage, layout);
            }
            x = run(&level.blocks, x, layout, pass);
        }
        x
    }
}

impl Level {
    /// `[T, p, p, 2·D]` → `[T, 2p, 2p, D]`: a 2 × 2 transposed convolution of stride 2, with a bias for each of the four.
    fn expand(&self, x: &Tensor) -> Tensor {
        spread(&self.expand.linear(&self.norm.forward(x)), self.dim)
    }
}
