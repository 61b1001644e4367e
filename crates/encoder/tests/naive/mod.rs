//! The definition: submanifold operations as loops over a dictionary of active sites, one number at a time.

use std::collections::BTreeMap;

use fcmae_blocks::BlockKind;
use fcmae_encoder::EncoderConfig;
use fcmae_kernels::GrnScope;
use fcmae_masking::PatchMask;
use tch::{Kind, Tensor, nn};

/// Features by (image, row, column).
type Sites = BTreeMap<(usize, i64, i64), Vec<f64>>;
/// Parameters by name, flat.
type Params = BTreeMap<String, Vec<f64>>;

/// Outputs of all stages as whole maps `[N, H_s, W_s, C_s]`, zero at hidden sites.
pub(crate) fn encoder(
    config: &EncoderConfig,
    vs: &nn::VarStore,
    images: &Tensor,
    mask: &PatchMask,
) -> Vec<Tensor> {
    let params: Params = vs
        .variables()
        .iter()
        .map(|(name, t)| (name.clone(), flat(t)))
        .collect();
    let size = images.size();
    let (mut sites, mut maps, mut stride) = (Sites::new(), Vec::new(), config.stem_stride as i64);
    for (s, &depth) in config.depths.iter().enumerate() {
        if s == 0 {
            sites = stem(config, &params, &flat(images), &size, mask);
        } else {
            stride *= 2;
            sites = downsample(&params, s, &sites);
        }
        for k in 0..depth {
            sites = block(config, &params, &format!("stages.{s}.{k}."), &sites);
        }
        maps.push(map(
            &sites,
            &[size[0], size[2] / stride, size[3] / stride, config.dims[s] as i64],
        ));
    }
    maps
}

fn flat(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.detach().contiguous().view([-1])).unwrap()
}

fn map(sites: &Sites, shape: &[i64; 4]) -> Tensor {
    let out = Tensor::zeros(shape, (Kind::Double, tch::Device::Cpu));
    for (&(n, y, x), v) in sites {
        out.get(n as i64).get(y).get(x).copy_(&Tensor::from_slice(v));
    }
    out
}

fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
    x.iter()
        .zip(weight)
        .zip(bias)
        .map(|((v, w), b)| (v - mean) / (var + 1e-6).sqrt() * w + b)
        .collect()
}

fn linear(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let row = |(o, b): (usize, &f64)| {
        b + x
            .iter()
            .zip(&weight[o * x.len()..])
            .map(|(v, w)| v * w)
            .sum::<f64>()
    };
    bias.iter().enumerate().map(row).collect()
}

fn gelu(x: f64) -> f64 {
    let erf = Tensor::from_slice(&[x / 2f64.sqrt()]).erf().double_value(&[0]);
    0.5 * x * (1.0 + erf)
}

fn stem(config: &EncoderConfig, p: &Params, pixels: &[f64], size: &[i64], mask: &PatchMask) -> Sites {
    let (c, h, w, s) = (
        size[1] as usize,
        size[2] as usize,
        size[3] as usize,
        config.stem_stride,
    );
    let per_patch = config.total_stride() / s;
    let mut sites = Sites::new();
    for (n, y, x) in cells(size[0] as usize, h / s, w / s) {
        if mask.hidden(n)[(y / per_patch) * mask.grid().cols + x / per_patch] {
            continue;
        }
        let pixel = |(ch, dy, dx)| pixels[((n * c + ch) * h + y * s + dy) * w + x * s + dx];
        let patch: Vec<f64> = cells(c, s, s).map(pixel).collect(); // (channel, row, column), as the weight's axes
        let v = linear(
            &patch,
            &p["downsample_layers.0.0.weight"],
            &p["downsample_layers.0.0.bias"],
        );
        let v = layer_norm(
            &v,
            &p["downsample_layers.0.1.weight"],
            &p["downsample_layers.0.1.bias"],
        );
        sites.insert((n, y as i64, x as i64), v);
    }
    sites
}

/// All triples below the bounds, the last one fastest.
fn cells(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

fn downsample(p: &Params, s: usize, sites: &Sites) -> Sites {
    let get = |name: &str| &p[&format!("downsample_layers.{s}.{name}")];
    let weight = get("1.weight"); // [out, in, 2, 2]
    let mut coarse = Sites::new();
    for (&(n, y, x), v) in sites {
        let v = layer_norm(v, get("0.weight"), get("0.bias"));
        let out = coarse
            .entry((n, y / 2, x / 2))
            .or_insert_with(|| get("1.bias").clone());
        let tap = ((y % 2) * 2 + x % 2) as usize;
        for (o, sum) in out.iter_mut().enumerate() {
            let input = |(i, value): (usize, &f64)| value * weight[(o * v.len() + i) * 4 + tap];
            *sum += v.iter().enumerate().map(input).sum::<f64>();
        }
    }
    coarse
}

fn block(config: &EncoderConfig, p: &Params, q: &str, sites: &Sites) -> Sites {
    let get = |name: &str| &p[&format!("{q}{name}")];
    let is_v2 = config.block == BlockKind::V2;
    let mut hidden = Sites::new();
    for &(n, y, x) in sites.keys() {
        let mut sum = get("dwconv.bias").clone();
        for (dy, dx) in (-3..=3).flat_map(|dy| (-3..=3).map(move |dx| (dy, dx))) {
            let Some(v) = sites.get(&(n, y + dy, x + dx)) else {
                continue;
            };
            let tap = ((dy + 3) * 7 + dx + 3) as usize;
            for (c, (sum, v)) in sum.iter_mut().zip(v).enumerate() {
                *sum += get("dwconv.weight")[c * 49 + tap] * v;
            }
        }
        let v = layer_norm(&sum, get("norm.weight"), get("norm.bias"));
        let v = linear(&v, get("pwconv1.weight"), get("pwconv1.bias"))
            .into_iter()
            .map(gelu)
            .collect();
        hidden.insert((n, y, x), v);
    }
    let mut out = Sites::new();
    for (&site, v) in &hidden {
        let v = if is_v2 {
            grn(
                v,
                site.0,
                &hidden,
                config.grn_scope,
                get("grn.gamma"),
                get("grn.beta"),
            )
        } else {
            v.clone()
        };
        let mut y = linear(&v, get("pwconv2.weight"), get("pwconv2.bias"));
        if !is_v2 {
            y.iter_mut().zip(get("gamma")).for_each(|(v, g)| *v *= g);
        }
        out.insert(site, y.iter().zip(&sites[&site]).map(|(a, b)| a + b).collect());
    }
    out
}

/// GRN at one site of image `n`, with the norm over the active sites in scope.
fn grn(v: &[f64], n: usize, hidden: &Sites, scope: GrnScope, gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let is_in_scope = |m: usize| scope == GrnScope::Batch || m == n;
    let norm = |c: usize| {
        let squares = hidden
            .iter()
            .filter(|((m, _, _), _)| is_in_scope(*m))
            .map(|(_, u)| u[c] * u[c]);
        squares.sum::<f64>().sqrt()
    };
    let g: Vec<f64> = (0..v.len()).map(norm).collect();
    let mean = g.iter().sum::<f64>() / g.len() as f64;
    (0..v.len())
        .map(|c| gamma[c] * (v[c] * g[c] / (mean + 1e-6)) + beta[c] + v[c])
        .collect()
}
