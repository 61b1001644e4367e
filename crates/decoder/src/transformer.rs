//! MAE's decoder: vision transformer blocks on the patch grid.

use fcmae_blocks::{Affine, LayerNorm};
use fcmae_kernels::gelu;
use fcmae_masking::{PatchGrid, VisibleLayout};
use tch::{Kind, Tensor, nn};

use crate::config::DecoderConfig;
use crate::decoder::Ends;
use crate::entrance::Entrance;

/// Fixed positions, `depth` blocks of attention and a two-layer map, a last LayerNorm (arXiv 2111.06377 §3; names as
/// timm's ViT under `decoder`).
#[derive(Debug)]
pub(crate) struct Transformer {
    entrance: Entrance,
    blocks: Vec<VitBlock>,
    norm: LayerNorm,
}

/// `x ← x + proj(attention(qkv(LN(x))))`, then `x + fc2(GELU(fc1(LN(x))))`.
#[derive(Debug)]
struct VitBlock {
    norm1: LayerNorm,
    qkv: Affine,
    proj: Affine,
    norm2: LayerNorm,
    fc1: Affine,
    fc2: Affine,
    heads: i64,
}

impl Transformer {
    pub(crate) fn new(path: &nn::Path, config: &DecoderConfig, ends: &Ends) -> Transformer {
        let decoder = path / "decoder";
        let (dim, heads) = (config.dim as i64, config.heads as i64);
        let encoded = ends.dims.last().copied().unwrap_or_default();
        let blocks = (0..config.depth).map(|k| VitBlock::new(&(&decoder / k), dim, heads));
        Transformer {
            entrance: Entrance::new(path, "proj", encoded, config.dim, ends.has_hidden),
            blocks: blocks.collect(),
            norm: LayerNorm::new(&(&decoder / "norm"), dim),
        }
    }

    pub(crate) fn forward(&self, encoded: Tensor, layout: &VisibleLayout) -> Tensor {
        let tokens = self.entrance.forward(&encoded, layout); // [N·L, 1, 1, D]
        let (grid, dim) = (layout.grid(), tokens.size()[3]);
        let positions = positions(grid, dim as usize)
            .to_device(tokens.device())
            .to_kind(tokens.kind());
        let x = tokens.view([layout.images() as i64, grid.patches() as i64, dim]) + positions;
        let x = self.blocks.iter().fold(x, |x, block| block.forward(&x));
        self.norm.forward(&x).view([-1, 1, 1, dim])
    }
}

impl VitBlock {
    fn new(path: &nn::Path, dim: i64, heads: i64) -> VitBlock {
        let (attention, mlp) = (path / "attn", path / "mlp");
        VitBlock {
            norm1: LayerNorm::new(&(path / "norm1"), dim),
            qkv: Affine::new(&(&attention / "qkv"), &[3 * dim, dim]),
            proj: Affine::new(&(&attention / "proj"), &[dim, dim]),
            norm2: LayerNorm::new(&(path / "norm2"), dim),
            fc1: Affine::new(&(&mlp / "fc1"), &[4 * dim, dim]),
            fc2: Affine::new(&(&mlp / "fc2"), &[dim, 4 * dim]),
            heads,
        }
    }

    /// `[N, L, D]` → the same.
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x + self.proj.linear(&self.attention(&self.norm1.forward(x)));
        let h = gelu(&self.fc1.linear(&self.norm2.forward(&x)));
        &x + self.fc2.linear(&h)
    }

    /// `softmax(q·kᵀ / √d)·v` in each head; the softmax in f32 at least.
    fn attention(&self, x: &Tensor) -> Tensor {
        let (n, l, dim) = x.size3().expect("tokens are [N, L, D]");
        let width = dim / self.heads;
        let qkv = self.qkv.linear(x).view([n, l, 3, self.heads, width]);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.select(2, i).transpose(1, 2)); // [N, heads, L, width]
        let scores = (q / (width as f64).sqrt()).matmul(&k.transpose(-2, -1));
        let exact = if x.kind() == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let attention = scores.softmax(-1, exact).to_kind(x.kind());
        attention.matmul(&v).transpose(1, 2).reshape([n, l, dim])
    }
}

/// MAE's fixed positions, `[L, D]`: a quarter of the channels each for sine and cosine of the column's multiples, then
/// of the row's; frequencies `10000^(−4i/D)`.
fn positions(grid: PatchGrid, dim: usize) -> Tensor {
    let quarter = dim / 4;
    let frequency = |i: usize| 1e4f64.powf(-(i as f64) / quarter as f64);
    let axis = |place: usize| {
        let angle = move |i| place as f64 * frequency(i);
        let (sines, cosines) = ((0..quarter).map(angle), (0..quarter).map(angle));
        sines.map(f64::sin).chain(cosines.map(f64::cos))
    };
    let values: Vec<f64> = (0..grid.patches())
        .flat_map(|patch| {
            let (row, col) = grid.position(patch);
            axis(col).chain(axis(row))
        })
        .collect();
    Tensor::from_slice(&values).view([grid.patches() as i64, dim as i64])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_mae() {
        let table = positions(PatchGrid { rows: 2, cols: 3 }, 8);
        let (row, col) = (1.0f64, 2.0f64); // the last patch; frequencies 1 and 1/100
        let expected = [
            col.sin(),
            (col / 100.0).sin(),
            col.cos(),
            (col / 100.0).cos(),
            row.sin(),
            (row / 100.0).sin(),
            row.cos(),
            (row / 100.0).cos(),
        ];
        for (i, value) in expected.into_iter().enumerate() {
            assert!((table.double_value(&[5, i as i64]) - value).abs() < 1e-15, "{i}");
        }
    }

    /// One number at a time.
    #[test]
    fn attention_is_a_weighted_mean_of_values() {
        let (n, l, dim, heads) = (2, 3, 4, 2);
        let mut vs = nn::VarStore::new(tch::Device::Cpu);
        let block = VitBlock::new(&vs.root(), dim, heads);
        vs.set_kind(Kind::Double);
        tch::manual_seed(1);
        for parameter in vs.variables().into_values() {
            let _ = tch::no_grad(|| parameter.shallow_clone().uniform_(-1.0, 1.0));
        }
        let x = Tensor::randn([n, l, dim], (Kind::Double, tch::Device::Cpu));
        let y = block.attention(&x);
        let qkv = x.matmul(&block.qkv.weight.tr()) + &block.qkv.bias; // [N, L, 3·D]
        let at =
            |image, token, part: i64, channel: i64| qkv.double_value(&[image, token, part * dim + channel]);
        for (image, token, channel) in [(0, 0, 0), (1, 2, 3), (0, 1, 2)] {
            let head = channel / 2 * 2..channel / 2 * 2 + 2;
            let score = |other| -> f64 {
                let products = head
                    .clone()
                    .map(|c| at(image, token, 0, c) * at(image, other, 1, c));
                (products.sum::<f64>() / 2f64.sqrt()).exp()
            };
            let total: f64 = (0..l).map(score).sum();
            let expected: f64 = (0..l)
                .map(|other| score(other) / total * at(image, other, 2, channel))
                .sum();
            assert!((y.double_value(&[image, token, channel]) - expected).abs() < 1e-12);
        }
    }
}
