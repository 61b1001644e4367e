//! The paper's decoder: ConvNeXt blocks on the patch grid.

use fcmae_blocks::{Block, BlockConfig, Pass};
use fcmae_kernels::{complete, linear, select_hidden};
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

use crate::config::{DecoderConfig, DecoderError};

/// `pred(blocks(fill(proj(encoded), mask_token)))` (fact sheet §2.6).
///
/// Names and shapes are the reference's: `proj.weight [D, C, 1, 1]`, `mask_token [1, D, 1, 1]`, `decoder.0.…`,
/// `pred.weight [P·P·C_in, D, 1, 1]`. Its GRN is per image over all patches, whatever the encoder's scope.
#[derive(Debug)]
pub struct ConvNextDecoder {
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask_token: Tensor,
    blocks: Vec<Block>,
    pred_weight: Tensor,
    pred_bias: Tensor,
    dim: i64,
}

impl ConvNextDecoder {
    /// Creates the parameters under `path`: from `encoded` channels to `pixels = P·P·C_in` values per patch.
    ///
    /// # Errors
    /// A configuration that [`DecoderConfig::validate`] refuses.
    pub fn new(
        path: &nn::Path,
        config: &DecoderConfig,
        encoded: usize,
        pixels: usize,
    ) -> Result<ConvNextDecoder, DecoderError> {
        config.validate()?;
        let (dim, encoded, pixels) = (config.dim as i64, encoded as i64, pixels as i64);
        let (proj, pred, decoder) = (path / "proj", path / "pred", path / "decoder");
        let block = |k| Block::new(&(&decoder / k), dim, &BlockConfig::default());
        Ok(ConvNextDecoder {
            proj_weight: proj.zeros("weight", &[dim, encoded, 1, 1]),
            proj_bias: proj.zeros("bias", &[dim]),
            mask_token: path.zeros("mask_token", &[1, dim, 1, 1]),
            blocks: (0..config.depth).map(block).collect(),
            pred_weight: pred.zeros("weight", &[pixels, dim, 1, 1]),
            pred_bias: pred.zeros("bias", &[pixels]),
            dim,
        })
    }

    /// Encoded visible patches `[V, 1, 1, C]` → decoded tokens of all patches, `[N·L, D]`.
    ///
    /// DropPath's draws are the encoder's: no block of the decoder is ever dropped.
    pub fn forward(&self, encoded: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        let visible = linear(
            &encoded.flatten(0, 2),
            &self.proj_weight.flatten(1, 3),
            &self.proj_bias,
        ); // [V, D]
        let tokens = complete(&visible, &self.mask_token.view([self.dim]), layout); // [N·L, D]
        let all = VisibleLayout::full(layout.images(), layout.grid());
        let mut x = tokens.view([-1, 1, 1, self.dim]); // every patch is a tile of one position
        for block in &self.blocks {
            x = block.forward(&x, &all, pass);
        }
        x.view([-1, self.dim])
    }

    /// Tokens `[N·L, D]` → predictions of every patch, `[N·L, P·P·C_in]`, channel fastest.
    pub fn predict(&self, tokens: &Tensor) -> Tensor {
        linear(tokens, &self.pred_weight.flatten(1, 3), &self.pred_bias)
    }

    /// Tokens `[N·L, D]` → predictions of the hidden patches alone, `[N·(L−K), P·P·C_in]`: all the loss needs.
    pub fn predict_hidden(&self, tokens: &Tensor, layout: &VisibleLayout) -> Tensor {
        self.predict(&select_hidden(tokens, layout))
    }
}
