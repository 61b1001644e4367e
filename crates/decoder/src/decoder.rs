//! The decoder of any kind: from encoded patches to predicted pixels.

use fcmae_blocks::{Affine, Pass};
use fcmae_kernels::select_hidden;
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

use crate::config::{DecoderConfig, DecoderError, DecoderKind};
use crate::convnext::ConvNext;
use crate::transformer::Transformer;
use crate::unet::Unet;

/// What a decoder stands between: an encoder and the pixels.
#[derive(Debug, Clone, Copy)]
pub struct Ends<'a> {
    /// Channels of the encoder's stages.
    pub dims: &'a [usize],
    /// Side of the stem's patches in pixels.
    pub stem_stride: usize,
    /// Channels of the images.
    pub in_chans: usize,
    /// Whether the encoder leaves hidden patches out: then a mask token stands in their place.
    pub has_hidden: bool,
}

/// `pred(body(fill(proj(encoded), mask_token)))` (fact sheet §2.6).
///
/// The names and shapes of the paper's decoder are the reference's: `proj.weight [D, C, 1, 1]`, `mask_token
/// [1, D, 1, 1]`, `decoder.0.…`, `pred.weight [P·P·C_in, D, 1, 1]`. Other kinds have other names under `decoder`.
#[derive(Debug)]
pub struct Decoder {
    body: Body,
    pred: Affine,
    in_chans: i64,
}

#[derive(Debug)]
enum Body {
    ConvNext(ConvNext),
    Unet(Unet),
    Transformer(Transformer),
}

impl Decoder {
    /// Creates the parameters under `path`.
    ///
    /// # Errors
    /// A configuration that [`DecoderConfig::validate`] refuses.
    pub fn new(path: &nn::Path, config: &DecoderConfig, ends: &Ends) -> Result<Decoder, DecoderError> {
        config.validate(ends.dims.len())?;
        let finest = ends.dims.len() - 1; // halvings of the encoder, and levels that a UNet climbs
        let (climbed, body) = match config.kind {
            DecoderKind::ConvNext => (0, Body::ConvNext(ConvNext::new(path, config, ends))),
            DecoderKind::Unet => (finest, Body::Unet(Unet::new(path, config, ends))),
            DecoderKind::Transformer => (0, Body::Transformer(Transformer::new(path, config, ends))),
        };
        let side = ends.stem_stride << (finest - climbed); // pixels of one site, on a side
        let pred = [side * side * ends.in_chans, config.dim >> climbed, 1, 1].map(|size| size as i64);
        Ok(Decoder {
            body,
            pred: Affine::new(&(path / "pred"), &pred),
            in_chans: ends.in_chans as i64,
        })
    }

    /// Outputs of the encoder's stages on visible patches, `[V, p, p, C]` each → decoded tokens of all patches,
    /// `[N·L, q, q, D]`: q = 1, in a UNet the finest stage's p. `layout`: what the encoder saw.
    ///
    /// DropPath's draws are the encoder's: no block of the decoder is ever dropped.
    ///
    /// # Panics
    /// When there are fewer stages than the decoder was made for.
    pub fn forward(&self, stages: Vec<Tensor>, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        match &self.body {
            Body::ConvNext(body) => body.forward(last(stages), layout, pass),
            Body::Unet(body) => body.forward(stages, layout, pass),
            Body::Transformer(body) => body.forward(last(stages), layout),
        }
    }

    /// Tokens `[N·L, q, q, D]` → predictions of every patch, `[N·L, P·P·C_in]`, channel fastest.
    pub fn predict(&self, tokens: &Tensor) -> Tensor {
        let patches = spread(&self.pred.linear(tokens), self.in_chans);
        patches.flatten(1, 3)
    }

    /// Tokens `[N·L, q, q, D]` → predictions of the hidden patches alone, `[N·(L−K), P·P·C_in]`: all the loss needs.
    pub fn predict_hidden(&self, tokens: &Tensor, layout: &VisibleLayout) -> Tensor {
        self.predict(&select_hidden(tokens, layout))
    }
}

/// The coarsest stage; the others are freed.
fn last(mut stages: Vec<Tensor>) -> Tensor {
    stages.pop().expect("an encoder has a stage")
}

/// Each site becomes a square of sites: `[T, p, p, s·s·C]` → `[T, p·s, p·s, C]`, row by row, channel fastest.
pub(crate) fn spread(x: &Tensor, channels: i64) -> Tensor {
    let (t, p, _, values) = x.size4().expect("tiles are [T, p, p, values]");
    let s = ((values / channels) as f64).sqrt().round() as i64;
    x.view([t, p, p, s, s, channels])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([t, p * s, p * s, channels])
}
