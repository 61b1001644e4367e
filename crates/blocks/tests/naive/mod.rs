//! Responses by their definition: one number at a time.

use std::collections::HashMap;

use fcmae_blocks::{Aggregation, Components, Normalizer, ResponseConfig, ResponseKind};
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

/// Sites of an image: rows of channels.
pub(crate) type Sites = Vec<Vec<f64>>;

fn sites(x: &Tensor, layout: &VisibleLayout) -> Vec<Sites> {
    let (images, channels) = (layout.images() as i64, x.size()[3]);
    let x = x.detach().reshape([images, -1, channels]);
    (0..images)
        .map(|n| Vec::<Vec<f64>>::try_from(x.get(n)).unwrap())
        .collect()
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> f64 {
    values.clone().sum::<f64>() / values.count() as f64
}

fn variance(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let m = mean(values.clone());
    mean(values.map(|v| (v - m).powi(2)))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Parameters by name, flat.
pub(crate) struct Params(HashMap<String, Vec<f64>>);

impl Params {
    pub(crate) fn new(vs: &nn::VarStore) -> Params {
        let flat = |t: &Tensor| Vec::try_from(t.detach().reshape([-1])).unwrap();
        Params(
            vs.variables()
                .iter()
                .map(|(name, t)| (name.clone(), flat(t)))
                .collect(),
        )
    }

    fn get(&self, name: &str) -> &[f64] {
        &self.0[name]
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let weight = self.get(&format!("{name}.weight"));
        let row =
            |(o, b): (usize, &f64)| b + (0..x.len()).map(|i| weight[o * x.len() + i] * x[i]).sum::<f64>();
        self.get(&format!("{name}.bias"))
            .iter()
            .enumerate()
            .map(row)
            .collect()
    }

    fn bottleneck(&self, name: &str, x: &[f64]) -> Vec<f64> {
        let narrow: Vec<f64> = self
            .linear(&format!("{name}.fc1"), x)
            .iter()
            .map(|v| v.max(0.0))
            .collect();
        self.linear(&format!("{name}.fc2"), &narrow)
    }
}

/// What a response gives for packed `x`, by image and site.
pub(crate) fn respond(
    config: &ResponseConfig,
    p: &Params,
    x: &Tensor,
    layout: &VisibleLayout,
    is_training: bool,
) -> Vec<Sites> {
    let mut all = sites(x, layout);
    let channels = x.size()[3] as usize;
    let before = all.clone();
    for (n, image) in all.iter_mut().enumerate() {
        let old = &before[n];
        let column = |c: usize| old.iter().map(move |site| site[c]);
        match config.kind.unwrap() {
            ResponseKind::None => {}
            ResponseKind::Grn => {
                let g: Vec<f64> = (0..channels)
                    .map(|c| match config.aggregation {
                        Aggregation::L2 => column(c).map(|v| v * v).sum::<f64>().sqrt(),
                        Aggregation::L1 => column(c).map(f64::abs).sum(),
                        Aggregation::Avg => mean(column(c)),
                    })
                    .collect();
                let normalised = |values: &[f64], c: usize| {
                    let m = mean(values.iter().copied());
                    match config.normalizer {
                        Normalizer::DivisiveMean => values[c] / (m + 1e-6),
                        Normalizer::InverseSum => 1.0 / (m + 1e-6),
                        Normalizer::Standardise => {
                            (values[c] - m) / (variance(values.iter().copied()) + 1e-6).sqrt()
                        }
                    }
                };
                let (gamma, beta) = (p.get("grn.gamma"), p.get("grn.beta"));
                for (site, old) in image.iter_mut().zip(old) {
                    for c in 0..channels {
                        let factor = match config.components {
                            Components::Affine => 1.0,
                            Components::G => g[c],
                            Components::N => normalised(old, c),
                            Components::Full => normalised(&g, c),
                        };
                        let skip = if config.residual { old[c] } else { 0.0 };
                        site[c] = gamma[c] * old[c] * factor + beta[c] + skip;
                    }
                }
            }
            ResponseKind::Lrn => {
                for (site, old) in image.iter_mut().zip(old) {
                    for c in 0..channels {
                        let near = c.saturating_sub(2)..(c + 3).min(channels);
                        let squares: f64 = old[near].iter().map(|v| v * v).sum();
                        site[c] = old[c] / (1.0 + 1e-4 * squares / 5.0).powf(0.75);
                    }
                }
            }
            ResponseKind::Ln => {
                for (site, old) in image.iter_mut().zip(old) {
                    let (m, v) = (mean(old.iter().copied()), variance(old.iter().copied()));
                    for c in 0..channels {
                        site[c] =
                            (old[c] - m) / (v + 1e-6).sqrt() * p.get("ln.weight")[c] + p.get("ln.bias")[c];
                    }
                }
            }
            ResponseKind::Bn => {
                for c in 0..channels {
                    let everywhere = before.iter().flatten().map(|site| site[c]);
                    let (m, v) = match is_training {
                        true => (mean(everywhere.clone()), variance(everywhere)),
                        false => (p.get("bn.running_mean")[c], p.get("bn.running_var")[c]),
                    };
                    for site in image.iter_mut() {
                        site[c] =
                            (site[c] - m) / (v + 1e-5).sqrt() * p.get("bn.weight")[c] + p.get("bn.bias")[c];
                    }
                }
            }
            ResponseKind::Se => {
                let means: Vec<f64> = (0..channels).map(|c| mean(column(c))).collect();
                let gates = p.bottleneck("se", &means);
                for site in image.iter_mut() {
                    (0..channels).for_each(|c| site[c] *= sigmoid(gates[c]));
                }
            }
            ResponseKind::Cbam => {
                let means: Vec<f64> = (0..channels).map(|c| mean(column(c))).collect();
                let largest: Vec<f64> = (0..channels)
                    .map(|c| column(c).fold(f64::MIN, f64::max))
                    .collect();
                let (a, b) = (p.bottleneck("cbam", &means), p.bottleneck("cbam", &largest));
                for site in image.iter_mut() {
                    (0..channels).for_each(|c| site[c] *= sigmoid(a[c] + b[c]));
                }
                cbam_places(p, image, layout, n, x.size()[1] as usize);
            }
        }
    }
    all
}

/// The second half of CBAM on one image: visible sites by their place, 7 × 7 around each.
fn cbam_places(p: &Params, image: &mut Sites, layout: &VisibleLayout, n: usize, side: usize) {
    let (k, grid) = (layout.visible_per_image(), layout.grid());
    let mut places = HashMap::new();
    for (slot, &patch) in layout.visible()[n * k..(n + 1) * k].iter().enumerate() {
        let (row, col) = grid.position(patch as usize - n * grid.patches());
        for (dy, dx) in (0..side).flat_map(|dy| (0..side).map(move |dx| (dy, dx))) {
            let place = ((row * side + dy) as i64, (col * side + dx) as i64);
            places.insert(place, (slot * side + dy) * side + dx);
        }
    }
    let weight = p.get("cbam.spatial.weight");
    let old = image.clone();
    for (&(y, x), &index) in &places {
        let mut sum = p.get("cbam.spatial.bias")[0];
        for (dy, dx) in (-3..=3).flat_map(|dy: i64| (-3..=3).map(move |dx: i64| (dy, dx))) {
            if let Some(&neighbour) = places.get(&(y + dy, x + dx)) {
                let tap = ((dy + 3) * 7 + dx + 3) as usize;
                let values = &old[neighbour];
                let largest = values.iter().copied().fold(f64::MIN, f64::max);
                sum += weight[tap] * mean(values.iter().copied()) + weight[49 + tap] * largest;
            }
        }
        image[index].iter_mut().for_each(|v| *v *= sigmoid(sum));
    }
}
