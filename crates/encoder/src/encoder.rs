//! The encoder on packed tiles.

use fcmae_blocks::{Block, LayerNorm, Pass};
use fcmae_kernels::{downsample, stem};
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

use crate::config::{EncoderConfig, EncoderError};

/// ConvNeXt stages on the visible patches (paper §3).
///
/// Parameter names are the reference's dense names (fact sheet §1.6): `downsample_layers.0.0.weight`, …,
/// `stages.0.0.dwconv.weight`, ….
#[derive(Debug)]
pub struct SparseEncoder {
    pub(crate) stem: Strided,
    pub(crate) downsamples: Vec<Strided>,
    pub(crate) stages: Vec<Vec<Block>>,
    config: EncoderConfig,
}

/// A strided convolution and its LayerNorm (after the stem's convolution, before the others).
#[derive(Debug)]
pub(crate) struct Strided {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) norm: LayerNorm,
}

impl Strided {
    fn new(conv: &nn::Path, norm: &nn::Path, from: i64, to: i64, stride: i64, normed: i64) -> Strided {
        Strided {
            weight: conv.zeros("weight", &[to, from, stride, stride]),
            bias: conv.zeros("bias", &[to]),
            norm: LayerNorm::new(norm, normed),
        }
    }
}

impl SparseEncoder {
    /// Creates the parameters under `path`. Weights are zero until they are initialised or loaded.
    ///
    /// # Errors
    /// A configuration that [`EncoderConfig::validate`] refuses.
    pub fn new(path: &nn::Path, config: &EncoderConfig) -> Result<SparseEncoder, EncoderError> {
        config.validate()?;
        let dims: Vec<i64> = config.dims.iter().map(|&d| d as i64).collect();
        let layers = path / "downsample_layers";
        let first = &layers / 0;
        let stem = Strided::new(
            &(&first / 0),
            &(&first / 1),
            config.in_chans as i64,
            dims[0],
            config.stem_stride as i64,
            dims[0],
        );
        let downsamples = (1..dims.len()).map(|s| {
            let layer = &layers / s;
            Strided::new(&(&layer / 1), &(&layer / 0), dims[s - 1], dims[s], 2, dims[s - 1])
        });
        let stage = |(s, blocks): (usize, Vec<_>)| {
            let path = path / "stages" / s;
            let block = |(b, config)| Block::new(&(&path / b), dims[s], config);
            blocks.iter().enumerate().map(block).collect()
        };
        Ok(SparseEncoder {
            stem,
            downsamples: downsamples.collect(),
            stages: config
                .block_configs()
                .into_iter()
                .enumerate()
                .map(stage)
                .collect(),
            config: config.clone(),
        })
    }

    /// The configuration it was built from.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Images `[N, C, H, W]` → features of the visible patches, `[V, 1, 1, dims.last()]`.
    ///
    /// The kind of `images` decides the precision.
    pub fn forward(&self, images: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        self.forward_stages(images, layout, pass)
            .pop()
            .expect("a valid configuration has a stage")
    }

    /// Outputs of all stages, packed: `[V, p, p, dims[s]]` with p = `total_stride / (stem_stride·2^s)`.
    #[must_use]
    pub fn forward_stages(&self, images: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Vec<Tensor> {
        self.stages_by(images, layout, |_, block, x| block.forward(x, layout, pass))
    }

    /// The same with every block computed by `forward`, which is told its stage and its place there.
    pub(crate) fn stages_by(
        &self,
        images: &Tensor,
        layout: &VisibleLayout,
        mut forward: impl FnMut((usize, usize), &Block, &Tensor) -> Tensor,
    ) -> Vec<Tensor> {
        let mut outputs: Vec<Tensor> = Vec::with_capacity(self.stages.len());
        for (s, blocks) in self.stages.iter().enumerate() {
            let mut x = match outputs.last() {
                None => self
                    .stem
                    .norm
                    .forward(&stem(images, &self.stem.weight, &self.stem.bias, layout)),
                Some(previous) => {
                    let layer = &self.downsamples[s - 1];
                    downsample(&layer.norm.forward(previous), &layer.weight, &layer.bias)
                }
            };
            for (b, block) in blocks.iter().enumerate() {
                x = forward((s, b), block, &x);
            }
            outputs.push(x);
        }
        outputs
    }
}
