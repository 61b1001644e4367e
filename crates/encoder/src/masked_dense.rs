//! The encoder once more, on whole maps with masks: slower, and written to be seen to be right.

use fcmae_kernels::{BlockParams, End, GRN_EPS, GrnScope, LAYER_NORM_EPS, Middle};
use fcmae_masking::PatchMask;
use tch::{Kind, Tensor};

use crate::encoder::SparseEncoder;

/// Outputs of all stages as whole maps `[N, H_s, W_s, C_s]`, zero at hidden sites (fact sheet §2.4).
///
/// The same function as [`SparseEncoder::forward_stages`] (without DropPath), computed as a correct dense port
/// does it: `x ← x·visible` after the stem, after every downsampling and after every block, and inside GRN's norm.
/// Nothing is shared with the packed path but the parameters.
#[must_use]
pub fn masked_dense(encoder: &SparseEncoder, images: &Tensor, mask: &PatchMask) -> Vec<Tensor> {
    let grid = mask.grid();
    let visible: Vec<f32> = mask.to_f32().iter().map(|hidden| 1.0 - hidden).collect();
    let visible = Tensor::from_slice(&visible)
        .view([mask.images() as i64, grid.rows as i64, grid.cols as i64])
        .to_device(images.device())
        .to_kind(images.kind());
    let mut outputs: Vec<Tensor> = Vec::new();
    for (s, blocks) in encoder.stages.iter().enumerate() {
        let x = match outputs.last() {
            None => {
                let (w, b) = (&encoder.stem.weight, &encoder.stem.bias);
                let x = images
                    .conv2d(w, Some(b), [w.size()[2]; 2], [0, 0], [1, 1], 1)
                    .permute([0, 2, 3, 1]);
                normalise(&x, &encoder.stem.norm.weight, &encoder.stem.norm.bias)
            }
            Some(previous) => {
                let layer = &encoder.downsamples[s - 1];
                let x = normalise(previous, &layer.norm.weight, &layer.norm.bias).permute([0, 3, 1, 2]);
                x.conv2d(&layer.weight, Some(&layer.bias), [2, 2], [0, 0], [1, 1], 1)
                    .permute([0, 2, 3, 1])
            }
        };
        let factor = x.size()[1] / grid.rows as i64;
        let v = visible
            .repeat_interleave_self_int(factor, 1, None)
            .repeat_interleave_self_int(factor, 2, None)
            .unsqueeze(-1); // [N, H_s, W_s, 1]
        let mut x = x * &v;
        for block in blocks {
            x = masked_block(&block.params(), &x, &v, block.grn_scope()) * &v;
        }
        outputs.push(x);
    }
    outputs
}

/// One block on a map `[N, H, W, C]` that is zero at hidden sites; `v`: `[N, H, W, 1]`, 1 = visible.
fn masked_block(p: &BlockParams, x: &Tensor, v: &Tensor, scope: GrnScope) -> Tensor {
    let c = x.size()[3];
    let y = x
        .permute([0, 3, 1, 2])
        .conv2d(p.dwconv_weight, Some(p.dwconv_bias), [1, 1], [3, 3], [1, 1], c);
    let y = normalise(&y.permute([0, 2, 3, 1]), p.norm_weight, p.norm_bias);
    let y = y.matmul(&p.pwconv1_weight.tr()) + p.pwconv1_bias;
    let mut y = &y * 0.5 * ((&y / 2f64.sqrt()).erf() + 1.0);
    if let Middle::Grn { gamma, beta } = p.middle {
        let axes: &[i64] = if scope == GrnScope::Sample {
            &[1, 2]
        } else {
            &[0, 1, 2]
        };
        let g = (&y * v).norm_scalaropt_dim(2.0, axes, true);
        let n = &g / (g.mean_dim([-1i64].as_slice(), true, None::<Kind>) + GRN_EPS);
        y = gamma * (&y * n) + beta + &y;
    }
    let y = y.matmul(&p.pwconv2_weight.tr()) + p.pwconv2_bias;
    match p.end {
        End::Nothing => x + y,
        End::LayerScale { gamma } => x + y * gamma,
    }
}

/// LayerNorm over the last axis from its definition.
fn normalise(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let centred = x - x.mean_dim([-1i64].as_slice(), true, None::<Kind>);
    let var = centred.square().mean_dim([-1i64].as_slice(), true, None::<Kind>);
    centred / (var + LAYER_NORM_EPS).sqrt() * weight + bias
}
