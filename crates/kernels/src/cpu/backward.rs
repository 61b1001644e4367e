//! A whole block backward, image by image, with every gradient.
//!
//! Each thread adds the weight gradients of its images in buffers of its own; they are joined in the order of the
//! threads, so the result depends on nothing but instruction set and thread count.

use std::ops::Range;

use fcmae_masking::VisibleLayout;

use super::depthwise::{Halo, Start, convolve_tile, taps_first, weight_gradient};
use super::epilogue::{Accumulate, HiddenGradient, Store};
use super::forward::{Saved, grn_scale, padded};
use super::gemm::{Left, Right, gemm, panels};
use super::isa::Kernel;
use super::lanes::Lanes;
use super::plan::{Job, Packed, Shared, Sizes, Weights, each_share, groups};
use super::rows::{add_rows, normalise_backward, scale, vectors};
use crate::grn::GRN_EPS;

/// Gradients of a block's parameters, shaped like [`Weights`].
pub(super) struct Gradients {
    pub(super) dw: Vec<f32>,
    pub(super) dw_bias: Vec<f32>,
    pub(super) norm: Vec<f32>,
    pub(super) norm_bias: Vec<f32>,
    pub(super) w1: Vec<f32>,
    pub(super) b1: Vec<f32>,
    pub(super) grn: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) w2: Vec<f32>,
    pub(super) b2: Vec<f32>,
    pub(super) scale: Option<Vec<f32>>,
}

/// What one thread adds up: gradients in the folded parameters.
struct Sums {
    /// `duᵀ·a'`, `[C, H]`.
    w2: Vec<f32>,
    /// `x̂ᵀ·dh`, `[C, H]`.
    w1: Vec<f32>,
    /// `Σ dh`, `[H]`.
    b1: Vec<f32>,
    /// `Σ du`, `[C]`.
    b2: Vec<f32>,
    /// Depthwise taps, `[49, C]`.
    taps: Vec<f32>,
    /// `Σ` of the depthwise output's gradient, `[C]`.
    dw_bias: Vec<f32>,
    /// GRN's gamma, `[H]`.
    gamma: Vec<f32>,
}

impl Sums {
    fn new(s: &Sizes) -> Sums {
        let zeros = |n| vec![0.0; n];
        Sums {
            w2: zeros(s.c * s.padded),
            w1: zeros(s.c * s.padded),
            b1: zeros(s.padded),
            b2: zeros(s.c),
            taps: zeros(49 * s.c),
            dw_bias: zeros(s.c),
            gamma: zeros(s.padded),
        }
    }

    fn add(&mut self, other: &Sums) {
        let pairs = [
            (&mut self.w2, &other.w2),
            (&mut self.w1, &other.w1),
            (&mut self.b1, &other.b1),
            (&mut self.b2, &other.b2),
            (&mut self.taps, &other.taps),
            (&mut self.dw_bias, &other.dw_bias),
            (&mut self.gamma, &other.gamma),
        ];
        for (to, from) in pairs {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}

/// All gradients of a block from the gradient `dy` of its output; that of `x` goes into `dx`.
pub(super) fn backward(x: &[f32], dy: &[f32], dx: &mut [f32], saved: &Saved, job: &Job) -> Gradients {
    let (s, weights) = (job.sizes, job.weights);
    let rows = s.all_rows();
    let couples = job.couples_images();
    let shares = s.shares(job.threads);
    let mut du = vec![0.0; if couples { rows * s.c } else { 0 }];
    let mut dz = vec![0.0; if couples { rows * s.padded } else { 0 }];
    let mut dots = vec![0.0; s.images * s.padded];
    let mut dd = vec![0.0; rows * s.c];
    let mut sums: Vec<Sums> = shares.iter().map(|_| Sums::new(s)).collect();
    {
        let call = Call {
            x,
            dy,
            saved,
            taps: taps_first(weights.dw, s.c, true),
            w1: Packed::new(s.isa, s.h, s.c, |k, c| weights.w1[k * s.c + c] * weights.norm[c]),
            w2: Packed::new(s.isa, s.c, s.h, |c, k| weights.w2[c * s.h + k] * weights.scale(c)),
            gamma: weights.grn.map(|(gamma, _)| padded(gamma, s)),
            dx: Shared::new(dx),
            dd: Shared::new(&mut dd),
            whole: couples.then(|| (Shared::new(&mut du), Shared::new(&mut dz))),
            dots: Shared::new(&mut dots),
            layout: job.layout,
            drop_path: job.drop_path,
            s: *s,
        };
        let own: Vec<Own> = sums.iter_mut().map(|sums| Own(sums)).collect();
        let part = |first, second| {
            let (call, own) = (&call, &own);
            move |task: usize, images| Part {
                call,
                images,
                sums: own[task].0,
                first,
                second,
            }
        };
        if couples {
            each_share(s.isa, &shares, part(true, false));
            join_dots(call.dots, s);
            each_share(s.isa, &shares, part(false, true));
        } else {
            each_share(s.isa, &shares, part(true, true));
        }
    }
    let mut all = sums.remove(0);
    sums.iter().for_each(|sums| all.add(sums));
    unfold(&all, weights, s)
}

/// A thread's own sums.
struct Own(*mut Sums);

// SAFETY: task `t` alone touches `own[t]`.
unsafe impl Sync for Own {}

/// Scope `batch`: every image gets the dot product over all images.
fn join_dots(dots: Shared, s: &Sizes) {
    // SAFETY: called between two parallel phases; `dots` is `[N, padded]`.
    let dots = unsafe { std::slice::from_raw_parts_mut(dots.0, s.images * s.padded) };
    for k in 0..s.padded {
        let sum: f32 = dots.iter().skip(k).step_by(s.padded).sum();
        dots.iter_mut()
            .skip(k)
            .step_by(s.padded)
            .for_each(|dot| *dot = sum);
    }
}

/// Gradients of the parameters from those of the folded ones.
fn unfold(sums: &Sums, w: &Weights, s: &Sizes) -> Gradients {
    let (c, h) = (s.c, s.h);
    let beta = |k: usize| w.grn.map_or(0.0, |(_, beta)| beta[k]);
    let mut g = Gradients {
        dw: vec![0.0; c * 49],
        dw_bias: sums.dw_bias.clone(),
        norm: vec![0.0; c],
        norm_bias: vec![0.0; c],
        w1: vec![0.0; h * c],
        b1: sums.b1[..h].to_vec(),
        grn: w.grn.map(|_| (sums.gamma[..h].to_vec(), vec![0.0; h])),
        w2: vec![0.0; c * h],
        b2: (0..c).map(|o| w.scale(o) * sums.b2[o]).collect(),
        scale: w.scale.map(|_| vec![0.0; c]),
    };
    for (t, taps) in sums.taps.chunks_exact(c).enumerate() {
        taps.iter()
            .enumerate()
            .for_each(|(o, tap)| g.dw[o * 49 + t] = *tap);
    }
    for o in 0..c {
        let (row, folded) = (&w.w2[o * h..][..h], &sums.w2[o * s.padded..][..h]);
        let (scale, b2) = (w.scale(o), sums.b2[o]);
        let mut dot = b2 * w.b2[o];
        for (k, to) in g.w2[o * h..][..h].iter_mut().enumerate() {
            let full = folded[k] + b2 * beta(k); // gradient before LayerScale: beta was folded into the bias
            *to = scale * full;
            dot += full * row[k];
        }
        if let Some((_, d_beta)) = &mut g.grn {
            d_beta
                .iter_mut()
                .zip(row)
                .for_each(|(to, w2)| *to += scale * b2 * w2);
        }
        if let Some(d_scale) = &mut g.scale {
            d_scale[o] = dot;
        }
    }
    const BLOCK: usize = 64; // a transposition: both sides stay in cache
    for first in (0..h).step_by(BLOCK) {
        for o in 0..c {
            for k in first..(first + BLOCK).min(h) {
                let (folded, w1) = (sums.w1[o * s.padded + k], w.w1[k * c + o]);
                g.w1[k * c + o] = w.norm[o] * folded + sums.b1[k] * w.norm_bias[o];
                g.norm[o] += folded * w1;
                g.norm_bias[o] += sums.b1[k] * w1;
            }
        }
    }
    g
}

struct Call<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    saved: &'a Saved,
    /// Depthwise taps turned by 180°.
    taps: Vec<f32>,
    w1: Packed,
    w2: Packed,
    gamma: Option<Vec<f32>>,
    dx: Shared,
    /// Gradient of the depthwise output, `[rows, C]`: neighbours read it.
    dd: Shared,
    /// Scope `batch` only: `du [rows, C]` and `dz [rows, H]` of all images, kept between the two phases.
    whole: Option<(Shared, Shared)>,
    /// `Σ dz·a` per image, `[N, H]`.
    dots: Shared,
    layout: &'a VisibleLayout,
    drop_path: Option<&'a [f32]>,
    s: Sizes,
}

/// One thread's images, up to the gradient of the calibrated hidden layer, from there on, or both.
struct Part<'a> {
    call: &'a Call<'a>,
    images: Range<usize>,
    sums: *mut Sums,
    first: bool,
    second: bool,
}

/// Room for a group.
struct Scratch {
    du: Vec<f32>,
    dz: Vec<f32>,
    calibrated: Vec<f32>,
    halos: Vec<Halo>,
}

impl Kernel for Part<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let s = &self.call.s;
        let rows = s.group() * s.rows();
        let zeros = |n| vec![0.0f32; n];
        let mut scratch = Scratch {
            du: zeros(if self.call.whole.is_some() { 0 } else { rows * s.c }),
            dz: zeros(if self.call.whole.is_some() {
                0
            } else {
                rows * s.padded
            }),
            calibrated: zeros(rows * s.padded),
            halos: (0..s.group() * s.tiles).map(|_| Halo::new(s.p)).collect(),
        };
        for group in groups(self.images, s.group()) {
            let first_row = group.start * s.rows();
            // SAFETY: buffers hold all images, scratch a group; this thread alone has these images and `sums`.
            unsafe {
                let (du, dz) = match self.call.whole {
                    Some((du, dz)) => (du.0.add(first_row * s.c), dz.0.add(first_row * s.padded)),
                    None => (scratch.du.as_mut_ptr(), scratch.dz.as_mut_ptr()),
                };
                let sums = &mut *self.sums;
                if self.first {
                    self.call.to_hidden::<L>(group.clone(), du, dz, sums);
                }
                if self.second {
                    self.call
                        .through_grn::<L>(group.clone(), dz, &mut scratch.calibrated, sums);
                    self.call
                        .to_input::<L>(group, du, dz, &scratch.calibrated, &mut scratch.halos, sums);
                }
            }
        }
    }
}

impl Call<'_> {
    /// `du = factor·dy`, `dz = du·W₂`, `Σ dz·a`.
    #[inline(always)]
    unsafe fn to_hidden<L: Lanes>(&self, images: Range<usize>, du: *mut f32, dz: *mut f32, sums: &mut Sums) {
        let s = &self.s;
        let (n, first_row) = (s.rows() * s.c, images.start * s.rows());
        // SAFETY: rows of `images` only.
        unsafe {
            for image in images.clone() {
                let factor = self.drop_path.map_or(1.0, |factors| factors[image]);
                let to = du.add((image - images.start) * n);
                scale::<L>(self.dy.as_ptr().add(image * n), factor, to, n);
            }
            add_rows::<L>(du, images.len() * s.rows(), s.c, sums.b2.as_mut_ptr());
            let left = Left {
                start: du,
                row: s.c,
                col: 1,
            };
            let w2 = Right::packed::<L>(self.w2.numbers.as_ptr(), self.w2.k);
            for panel in 0..panels::<L>(s.h) {
                for image in images.clone() {
                    let mut epilogue = HiddenGradient {
                        dz,
                        a: self.saved.a.as_ptr().add(first_row * s.padded),
                        dots: self.dots.0.add(image * s.padded),
                        stride: s.padded,
                    };
                    let from = (image - images.start) * s.rows();
                    gemm::<L, _>(
                        from,
                        s.rows(),
                        s.c,
                        s.h,
                        left,
                        w2,
                        panel..panel + 1,
                        &mut epilogue,
                    );
                }
            }
        }
    }

    /// `dz → dh` in place, the calibrated hidden layer again, `Σ dh`.
    #[inline(always)]
    unsafe fn through_grn<L: Lanes>(
        &self,
        images: Range<usize>,
        dz: *mut f32,
        calibrated: &mut [f32],
        sums: &mut Sums,
    ) {
        let s = &self.s;
        let (mut factor, mut slope) = (vec![1.0; s.padded], vec![0.0; s.padded]);
        for image in images.clone() {
            // SAFETY: rows of `images` only; vectors of `padded` numbers.
            unsafe {
                if let Some(gamma) = &self.gamma {
                    let norms = &self.saved.norms[image * s.padded..][..s.padded];
                    let dots = std::slice::from_raw_parts(self.dots.0.add(image * s.padded), s.padded);
                    grn_scale(norms, gamma, s.h, &mut factor);
                    grn_slope(norms, gamma, dots, s.h, &mut slope);
                    // In scope `batch` all images have the same dots: the first one alone adds them.
                    if self.whole.is_none() || image == 0 {
                        let divisor = norms.iter().sum::<f32>() / s.h as f32 + GRN_EPS as f32;
                        let gradient = sums.gamma.iter_mut().zip(dots).zip(norms);
                        gradient.for_each(|((to, dot), g)| *to += dot * (g / divisor));
                    }
                }
                let local = (image - images.start) * s.rows() * s.padded;
                let start = image * s.rows() * s.padded;
                let (a, gelu) = (
                    self.saved.a.as_ptr().add(start),
                    self.saved.slope.as_ptr().add(start),
                );
                let (dz, out) = (dz.add(local), calibrated.as_mut_ptr().add(local));
                for (at, _) in vectors::<L>(s.padded) {
                    let (factor, slope) = (L::load(factor.as_ptr().add(at)), L::load(slope.as_ptr().add(at)));
                    let mut sum = L::load(sums.b1.as_ptr().add(at));
                    for row in 0..s.rows() {
                        let place = row * s.padded + at;
                        let value = L::load(a.add(place));
                        L::store(out.add(place), L::mul(value, factor));
                        let da = L::fma(value, slope, L::mul(L::load(dz.add(place)), factor));
                        let dh = L::mul(da, L::load(gelu.add(place)));
                        L::store(dz.add(place), dh);
                        sum = L::add(sum, dh);
                    }
                    L::store(sums.b1.as_mut_ptr().add(at), sum);
                }
            }
        }
    }

    /// Weight gradients of both products, LayerNorm and depthwise backward.
    #[inline(always)]
    unsafe fn to_input<L: Lanes>(
        &self,
        images: Range<usize>,
        du: *const f32,
        dh: *const f32,
        calibrated: &[f32],
        halos: &mut [Halo],
        sums: &mut Sums,
    ) {
        let s = &self.s;
        let (rows, first_row) = (images.len() * s.rows(), images.start * s.rows());
        let positions = s.p * s.p;
        // SAFETY: rows of `images` only; `sums` are this thread's.
        unsafe {
            let normalised = self.saved.normalised.as_ptr().add(first_row * s.c);
            for (left, right, to) in [
                (du, calibrated.as_ptr(), &mut sums.w2),
                (normalised, dh, &mut sums.w1),
            ] {
                let left = Left {
                    start: left,
                    row: 1,
                    col: s.c,
                };
                let right = Right::in_place::<L>(right, s.padded);
                let mut epilogue = Accumulate {
                    c: to.as_mut_ptr(),
                    stride: s.padded,
                };
                gemm::<L, _>(
                    0,
                    s.c,
                    rows,
                    s.padded,
                    left,
                    right,
                    0..panels::<L>(s.padded),
                    &mut epilogue,
                );
            }
            let dd = self.dd.0.add(first_row * s.c);
            let left = Left {
                start: dh,
                row: s.padded,
                col: 1,
            };
            let w1 = Right::packed::<L>(self.w1.numbers.as_ptr(), self.w1.k);
            let mut epilogue = Store { c: dd, stride: s.c };
            gemm::<L, _>(0, rows, s.h, s.c, left, w1, 0..panels::<L>(s.c), &mut epilogue);
            for row in 0..rows {
                let (g, rstd) = (dd.add(row * s.c), self.saved.rstd[first_row + row]);
                normalise_backward::<L>(g, normalised.add(row * s.c), rstd, s.c);
            }
            add_rows::<L>(dd, rows, s.c, sums.dw_bias.as_mut_ptr());
            let first_tile = images.start * s.tiles;
            let halos = &mut halos[..images.len() * s.tiles];
            for (i, halo) in halos.iter_mut().enumerate() {
                halo.set(self.layout, first_tile + i);
            }
            weight_gradient::<L>(halos, self.x.as_ptr(), dd, s.c, sums.taps.as_mut_ptr());
            for (i, halo) in halos.iter().enumerate() {
                let offset = (first_tile + i) * positions * s.c;
                let beside = Start {
                    from: self.dy.as_ptr().add(offset),
                    stride: s.c,
                };
                let dx = self.dx.0.add(offset);
                convolve_tile::<L>(halo, self.dd.0.cast_const(), self.taps.as_ptr(), s.c, beside, dx);
            }
        }
    }
}

/// How the gradient passes through GRN's norm: `da = dz·scale + a·slope`, `slope = dG / G` (0 where `G` is 0).
fn grn_slope(norms: &[f32], gamma: &[f32], dots: &[f32], h: usize, slope: &mut [f32]) {
    let divisor = norms.iter().sum::<f32>() / h as f32 + GRN_EPS as f32;
    let through_mean: f32 = dots
        .iter()
        .zip(gamma)
        .zip(norms)
        .map(|((dot, gamma), g)| dot * gamma * g)
        .sum();
    let through_mean = through_mean / (h as f32 * divisor * divisor);
    for (k, slope) in slope.iter_mut().enumerate() {
        let dg = dots[k] * gamma[k] / divisor - through_mean;
        *slope = if norms[k] > 0.0 { dg / norms[k] } else { 0.0 };
    }
}
