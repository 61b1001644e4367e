//! The encoder once more, on whole maps with masks: slower, and written to be seen to be right.

mod response;

use fcmae_blocks::{Block, LayerNorm, Pass, Placement};
use fcmae_kernels::LAYER_NORM_EPS;
use fcmae_masking::PatchMask;
use tch::{Kind, Tensor};

use crate::encoder::SparseEncoder;

/// Outputs of all stages as whole maps `[N, H_s, W_s, C_s]`, zero at hidden sites (fact sheet §2.4), in f32 at least.
///
/// The same function as [`SparseEncoder::forward_stages`], computed as a correct dense port does it: `x ← x·visible`
/// after the stem, after every downsampling and after every block, and inside every statistic. Nothing is shared with
/// the packed path but the parameters.
#[must_use]
pub fn masked_dense(encoder: &SparseEncoder, images: &Tensor, mask: &PatchMask, pass: &Pass) -> Vec<Tensor> {
    let images = match images.kind() {
        Kind::Double => images.shallow_clone(),
        _ => images.to_kind(Kind::Float),
    };
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
                normalise(&x, &encoder.stem.norm)
            }
            Some(previous) => {
                let layer = &encoder.downsamples[s - 1];
                let x = normalise(previous, &layer.norm).permute([0, 3, 1, 2]);
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
            x = masked_block(block, &x, &v, pass) * &v;
        }
        outputs.push(x);
    }
    outputs
}

/// One block on a map `[N, H, W, C]` that is zero at hidden sites; `v`: `[N, H, W, 1]`, 1 = visible.
fn masked_block(block: &Block, x: &Tensor, v: &Tensor, pass: &Pass) -> Tensor {
    let respond = |y: Tensor, here: Placement| match here == block.placement {
        true => response::respond(&block.response, &y, v, pass),
        false => y,
    };
    let c = x.size()[3];
    let (w, b) = (&block.dwconv.weight, &block.dwconv.bias);
    let y = x
        .permute([0, 3, 1, 2])
        .conv2d(w, Some(b), [1, 1], [3, 3], [1, 1], c)
        .permute([0, 2, 3, 1]);
    let y = normalise(&respond(y, Placement::AfterDwconv), &block.norm);
    let y = y.matmul(&block.pwconv1.weight.tr()) + &block.pwconv1.bias;
    let y = &y * 0.5 * ((&y / 2f64.sqrt()).erf() + 1.0);
    let y = respond(y, Placement::AfterGelu);
    let y = y.matmul(&block.pwconv2.weight.tr()) + &block.pwconv2.bias;
    let y = respond(y, Placement::AfterPwconv2);
    let y = match &block.layer_scale {
        None => y,
        Some(scale) => y * &scale.gamma,
    };
    match block.drop_path.factors(pass.draws) {
        None => x + y,
        Some(factors) => {
            let factors = Tensor::from_slice(&factors)
                .to_device(x.device())
                .to_kind(x.kind());
            x + y * factors.view([-1, 1, 1, 1])
        }
    }
}

/// LayerNorm over the last axis from its definition.
fn normalise(x: &Tensor, norm: &LayerNorm) -> Tensor {
    let centred = x - x.mean_dim([-1i64].as_slice(), true, None::<Kind>);
    let var = centred.square().mean_dim([-1i64].as_slice(), true, None::<Kind>);
    centred / (var + LAYER_NORM_EPS).sqrt() * &norm.weight + &norm.bias
}
