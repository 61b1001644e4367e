//! Gradients of a block's parameters from those of the folded ones, which threads added up.

use fcmae_torch_ext::parallel_for;

use super::backward::Sums;
use super::isa::{Kernel, enter};
use super::lanes::Lanes;
use super::number::Number;
use super::plan::{Job, Shared, Sizes, Weights};
use super::rows::vectors;
use crate::grn::GRN_EPS;

/// Gradients of a block's parameters, shaped like `Weights`: room that [`unfold`] fills.
pub(super) struct Gradients<'a> {
    pub(super) dw: &'a mut [f32],
    pub(super) dw_bias: &'a mut [f32],
    pub(super) norm: &'a mut [f32],
    pub(super) norm_bias: &'a mut [f32],
    pub(super) w1: &'a mut [f32],
    pub(super) b1: &'a mut [f32],
    pub(super) grn: Option<(&'a mut [f32], &'a mut [f32])>,
    pub(super) w2: &'a mut [f32],
    pub(super) b2: &'a mut [f32],
    pub(super) scale: Option<&'a mut [f32]>,
}

/// Hidden channels of a task.
const CHUNK: usize = 64;

/// Sums over hidden channels that a task contributes to, `[C]` each.
#[derive(Clone)]
struct Partial {
    norm: Vec<f32>,
    norm_bias: Vec<f32>,
    scale: Vec<f32>,
}

/// Fills `to`: joins the threads' sums in their order and undoes the folding.
///
/// `norms` and `dots` are GRN's norms and `Σ dz·a`, per image.
pub(super) fn unfold(sums: &[Sums], norms: &[f32], dots: &[f32], job: &Job, to: &mut Gradients) {
    let (s, w) = (job.sizes, job.weights);
    let join = |of: fn(&Sums) -> &[f32], to: &mut [f32]| {
        for (i, to) in to.iter_mut().enumerate() {
            *to = sums.iter().map(|sums| of(sums)[i]).sum();
        }
    };
    join(|sums| &sums.dw_bias, to.dw_bias);
    join(|sums| &sums.b1, to.b1);
    let mut b2 = vec![0.0; s.c]; // of the folded bias
    join(|sums| &sums.b2, &mut b2);
    for (o, b2) in b2.iter().enumerate() {
        to.b2[o] = w.scale(o) * b2;
        for (t, tap) in to.dw[o * 49..][..49].iter_mut().enumerate() {
            *tap = sums.iter().map(|sums| sums.taps[t * s.c + o]).sum();
        }
    }
    if let Some((gamma, _)) = &mut to.grn {
        gamma_gradient(norms, dots, job, gamma);
    }

    let tasks = s.h.div_ceil(CHUNK);
    let mut partial = vec![
        Partial {
            norm: vec![0.0; s.c],
            norm_bias: vec![0.0; s.c],
            scale: vec![0.0; s.c],
        };
        tasks
    ];
    {
        let task = Chunks {
            sums,
            w,
            s,
            b1: to.b1,
            b2: &b2,
            w1: Shared::new(to.w1),
            w2: Shared::new(to.w2),
            beta: to.grn.as_mut().map(|(_, beta)| Shared::new(beta)),
        };
        let partial = Shared::new(&mut partial);
        parallel_for(tasks, |chunk| {
            let first = chunk * CHUNK;
            let chunk = Chunk {
                all: &task,
                first,
                n: CHUNK.min(s.h - first),
                // SAFETY: one `Partial` per task.
                partial: unsafe { &mut *partial.at(chunk) },
            };
            enter(s.isa, chunk);
        });
    }
    let total = |of: fn(&Partial) -> &[f32], to: &mut [f32]| {
        for (c, to) in to.iter_mut().enumerate() {
            *to = partial.iter().map(|partial| of(partial)[c]).sum();
        }
    };
    total(|partial| &partial.norm, to.norm);
    total(|partial| &partial.norm_bias, to.norm_bias);
    if let Some(scale) = &mut to.scale {
        total(|partial| &partial.scale, scale);
        for (o, scale) in scale.iter_mut().enumerate() {
            *scale += b2[o] * w.b2[o];
        }
    }
}

/// GRN's gamma: `Σ_images (Σ dz·a)·G / (mean G + eps)`; in scope `batch` all images are one.
fn gamma_gradient(norms: &[f32], dots: &[f32], job: &Job, gamma: &mut [f32]) {
    let s = job.sizes;
    gamma.fill(0.0);
    let images = match job.scope {
        crate::GrnScope::Sample => s.images,
        crate::GrnScope::Batch => s.images.min(1),
    };
    let rows = norms.chunks_exact(s.padded).zip(dots.chunks_exact(s.padded));
    for (norms, dots) in rows.take(images) {
        let divisor = norms.iter().sum::<f32>() / s.h as f32 + GRN_EPS as f32;
        let terms = gamma.iter_mut().zip(dots).zip(norms);
        terms.for_each(|((to, dot), g)| *to += dot * (g / divisor));
    }
}

/// The weight matrices, some hidden channels at a time.
#[derive(Clone, Copy)]
struct Chunks<'a> {
    sums: &'a [Sums],
    w: &'a Weights<'a>,
    s: &'a Sizes,
    /// Gradients of the biases, joined.
    b1: &'a [f32],
    b2: &'a [f32],
    w1: Shared,
    w2: Shared,
    beta: Option<Shared>,
}

/// A chunk of [`Chunks`].
struct Chunk<'a> {
    all: &'a Chunks<'a>,
    first: usize,
    n: usize,
    partial: &'a mut Partial,
}

impl Kernel for Chunk<'_> {
    const HAS_PAIRS: bool = false;

    #[inline(always)]
    unsafe fn run<L: Lanes>(mut self) {
        // SAFETY: hidden channels of this chunk are no other task's; lengths were checked at the border.
        unsafe {
            self.second::<L>();
            for o in (0..self.all.s.c).step_by(L::N) {
                self.first::<L>(o, L::N.min(self.all.s.c - o));
            }
        }
    }
}

impl Chunk<'_> {
    /// `W₂ [C, H]`, its part of LayerScale's gradient, GRN's beta.
    #[inline(always)]
    unsafe fn second<L: Lanes>(&mut self) {
        let Chunks { sums, w, s, .. } = *self.all;
        let mut beta_gradient = [0.0; CHUNK];
        for o in 0..s.c {
            // SAFETY: the caller's; the chunk's vectors fit `beta_gradient`.
            unsafe {
                let (scale, b2) = (L::splat(w.scale(o)), L::splat(self.all.b2[o]));
                let mut dot = L::splat(0.0);
                for (at, n) in vectors::<L>(self.n) {
                    let k = self.first + at;
                    let mut full = L::splat(0.0);
                    for sums in sums {
                        full = L::add(full, f32::load_n::<L>(sums.w2.as_ptr().add(o * s.padded + k), n));
                    }
                    if let Some((_, beta)) = w.grn {
                        // Before LayerScale: beta was folded into the bias.
                        full = L::fma(b2, f32::load_n::<L>(beta.as_ptr().add(k), n), full);
                    }
                    f32::store_n::<L>(self.all.w2.at(o * s.h + k), L::mul(scale, full), n);
                    let weights = f32::load_n::<L>(w.w2.as_ptr().add(o * s.h + k), n);
                    dot = L::fma(full, weights, dot);
                    let to = beta_gradient.as_mut_ptr().add(at);
                    L::store(to, L::fma(L::mul(scale, b2), weights, L::load(to)));
                }
                self.partial.scale[o] = L::sum(dot);
            }
        }
        if let Some(beta) = self.all.beta {
            // SAFETY: the chunk's channels.
            unsafe { std::ptr::copy_nonoverlapping(beta_gradient.as_ptr(), beta.at(self.first), self.n) };
        }
    }

    /// `W₁ [H, C]`, whose sums are transposed, and its part of LayerNorm's gradients: columns `o .. o + width`.
    #[inline(always)]
    unsafe fn first<L: Lanes>(&mut self, o: usize, width: usize) {
        let Chunks { sums, w, s, .. } = *self.all;
        let mut transposed = [[0.0f32; 16]; CHUNK];
        // SAFETY: the caller's; 16 numbers hold a vector of every `L`.
        unsafe {
            for column in 0..width {
                for (at, n) in vectors::<L>(self.n) {
                    let place = (o + column) * s.padded + self.first + at;
                    let mut joined = L::splat(0.0);
                    for sums in sums {
                        joined = L::add(joined, f32::load_n::<L>(sums.w1.as_ptr().add(place), n));
                    }
                    let mut numbers = [0.0; 16];
                    L::store(numbers.as_mut_ptr(), joined);
                    for (to, number) in transposed[at..at + n].iter_mut().zip(numbers) {
                        to[column] = number;
                    }
                }
            }
            let norm = f32::load_n::<L>(w.norm.as_ptr().add(o), width);
            let norm_bias = f32::load_n::<L>(w.norm_bias.as_ptr().add(o), width);
            let (mut d_norm, mut d_norm_bias) = (L::splat(0.0), L::splat(0.0));
            for (k, row) in transposed.iter().enumerate().take(self.n) {
                let k = self.first + k;
                let (folded, b1) = (L::load(row.as_ptr()), L::splat(self.all.b1[k]));
                let weight = f32::load_n::<L>(w.w1.as_ptr().add(k * s.c + o), width);
                let full = L::fma(norm, folded, L::mul(b1, norm_bias));
                f32::store_n::<L>(self.all.w1.at(k * s.c + o), full, width);
                d_norm = L::fma(folded, weight, d_norm);
                d_norm_bias = L::fma(b1, weight, d_norm_bias);
            }
            f32::store_n::<L>(self.partial.norm.as_mut_ptr().add(o), d_norm, width);
            f32::store_n::<L>(self.partial.norm_bias.as_mut_ptr().add(o), d_norm_bias, width);
        }
    }
}
