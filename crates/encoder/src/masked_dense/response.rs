//! Responses on whole maps, with masks inside their statistics.

use fcmae_blocks::{
    Aggregation, BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, BatchNorm, Bottleneck, Cbam, Components, Grn,
    Normalizer, Pass, Response,
};
use fcmae_kernels::{GRN_EPS, GrnScope};
use tch::{Kind, Tensor, no_grad};

use super::normalise;

/// `y`: `[N, H, W, C]`, anything at hidden sites, and so is the result; `v`: `[N, H, W, 1]`, 1 = visible.
pub(super) fn respond(response: &Response, y: &Tensor, v: &Tensor, pass: &Pass) -> Tensor {
    match response {
        Response::Nothing => y.shallow_clone(),
        Response::Grn(norm) => grn(norm, y, v),
        Response::Lrn => lrn(y),
        Response::BatchNorm(norm) => batch_norm(norm, y, v, pass),
        Response::LayerNorm(norm) => normalise(y, norm),
        Response::SqueezeExcite(gate) => y * bottleneck(&gate.bottleneck, &mean(y, v, IMAGE)).sigmoid(),
        Response::Cbam(gate) => cbam(gate, y, v),
    }
}

/// The sites of an image, and those of all images.
const IMAGE: &[i64] = &[1, 2];
const BATCH: &[i64] = &[0, 1, 2];

/// Over visible sites.
fn sum(y: &Tensor, v: &Tensor, axes: &[i64]) -> Tensor {
    (y * v).sum_dim_intlist(axes, true, None::<Kind>)
}

/// Over visible sites.
fn mean(y: &Tensor, v: &Tensor, axes: &[i64]) -> Tensor {
    sum(y, v, axes) / v.sum_dim_intlist(axes, true, None::<Kind>)
}

fn grn(norm: &Grn, y: &Tensor, v: &Tensor) -> Tensor {
    let form = &norm.form;
    let axes = match form.scope {
        GrnScope::Sample => IMAGE,
        GrnScope::Batch => BATCH,
    };
    let g = || match form.aggregation {
        Aggregation::L2 => (y * v).norm_scalaropt_dim(2.0, axes, true),
        Aggregation::L1 => sum(&y.abs(), v, axes),
        Aggregation::Avg => mean(y, v, axes),
    };
    let n = |g: &Tensor| {
        let over_channels = [-1i64].as_slice();
        let mean = g.mean_dim(over_channels, true, None::<Kind>);
        match form.normalizer {
            Normalizer::DivisiveMean => g / (mean + GRN_EPS),
            Normalizer::InverseSum => 1.0 / (mean + GRN_EPS),
            Normalizer::Standardise => {
                let centred = g - mean;
                let var = centred.square().mean_dim(over_channels, true, None::<Kind>);
                centred / (var + GRN_EPS).sqrt()
            }
        }
    };
    let response = match form.components {
        Components::Affine => y.shallow_clone(),
        Components::G => y * g(),
        Components::N => y * n(y),
        Components::Full => y * n(&g()),
    };
    let affine = &norm.gamma * response + &norm.beta;
    if form.is_bare { affine } else { affine + y }
}

fn lrn(y: &Tensor) -> Tensor {
    let channels = y.size()[3];
    let squares = y.square().constant_pad_nd([2, 2]);
    let around = (0..5)
        .map(|shift| squares.narrow(3, shift, channels))
        .sum::<Tensor>()
        / 5.0;
    y / (around * 1e-4 + 1.0).pow_tensor_scalar(0.75)
}

fn batch_norm(norm: &BatchNorm, y: &Tensor, v: &Tensor, pass: &Pass) -> Tensor {
    let sites = v.sum(None::<Kind>).double_value(&[]);
    let (mean, var) = if pass.is_training && sites > 1.0 {
        let m = mean(y, v, BATCH);
        let var = mean(&(y - &m).square(), v, BATCH);
        let moves = |running: &Tensor, now: &Tensor| {
            let now = now.view_as(running);
            let _ = no_grad(|| running.shallow_clone().lerp_(&now, BATCH_NORM_MOMENTUM));
        };
        moves(&norm.running_mean, &m);
        moves(&norm.running_var, &(&var * (sites / (sites - 1.0))));
        (m, var)
    } else {
        (
            norm.running_mean.shallow_clone(),
            norm.running_var.shallow_clone(),
        )
    };
    (y - mean) / (var + BATCH_NORM_EPS).sqrt() * &norm.weight + &norm.bias
}

fn bottleneck(b: &Bottleneck, x: &Tensor) -> Tensor {
    let narrow = (x.matmul(&b.fc1.weight.tr()) + &b.fc1.bias).relu();
    narrow.matmul(&b.fc2.weight.tr()) + &b.fc2.bias
}

fn cbam(gate: &Cbam, y: &Tensor, v: &Tensor) -> Tensor {
    let largest = y.masked_fill(&v.lt(0.5), f64::NEG_INFINITY).amax(IMAGE, true);
    let channels = bottleneck(&gate.bottleneck, &mean(y, v, IMAGE)) + bottleneck(&gate.bottleneck, &largest);
    let y = y * channels.sigmoid();
    let over_channels = [-1i64].as_slice();
    let mean = y.mean_dim(over_channels, true, None::<Kind>);
    let both = Tensor::cat(&[mean, y.amax(over_channels, true)], -1) * v;
    let (w, b) = (&gate.spatial.weight, &gate.spatial.bias);
    let places = both
        .permute([0, 3, 1, 2])
        .conv2d(w, Some(b), [1, 1], [3, 3], [1, 1], 1);
    y * places.permute([0, 2, 3, 1]).sigmoid()
}
