//! Gradients of a block's parameters from those of the folded ones, which threads added up.

use fcmae_torch_ext::parallel_for;

use super::backward::Sums;
use super::plan::{Job, Shared, Sizes, Weights};
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
    for o in 0..s.c {
        to.b2[o] = w.scale(o) * b2[o];
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
            // SAFETY: one `Partial` per task.
            task.run(chunk, unsafe { &mut *partial.at(chunk) });
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
struct Chunks<'a> {
    sums: &'a [Sums],
    w: &'a Weights<'a>,
    s: &'a Sizes,
    b1: &'a [f32],
    b2: &'a [f32],
    w1: Shared,
    w2: Shared,
    beta: Option<Shared>,
}

impl Chunks<'_> {
    fn run(&self, chunk: usize, partial: &mut Partial) {
        let (s, w) = (self.s, self.w);
        let (c, h) = (s.c, s.h);
        let first = chunk * CHUNK;
        let n = CHUNK.min(h - first);
        // SAFETY (all blocks here): hidden channels `first .. first + n` are this task's alone.
        let mut none = [0.0; CHUNK];
        let beta_gradient = match self.beta {
            Some(beta) => unsafe { std::slice::from_raw_parts_mut(beta.at(first), n) },
            None => &mut none[..n],
        };
        beta_gradient.fill(0.0);
        let zeros = [0.0; CHUNK];
        let beta = w.grn.map_or(&zeros[..n], |(_, beta)| &beta[first..][..n]);
        let mut joined = [0.0; CHUNK];
        for o in 0..c {
            let (scale, b2) = (w.scale(o), self.b2[o]);
            self.join(|sums| &sums.w2[o * s.padded + first..][..n], &mut joined);
            let weights = &w.w2[o * h + first..][..n];
            let to = unsafe { std::slice::from_raw_parts_mut(self.w2.at(o * h + first), n) };
            let mut dot = 0.0;
            for k in 0..n {
                let full = joined[k] + b2 * beta[k]; // before LayerScale: beta was folded into the bias
                to[k] = scale * full;
                dot += full * weights[k];
                beta_gradient[k] += scale * b2 * weights[k];
            }
            partial.scale[o] = dot;
        }
        for o in 0..c {
            self.join(|sums| &sums.w1[o * s.padded + first..][..n], &mut joined);
            let (norm, norm_bias) = (w.norm[o], w.norm_bias[o]);
            let (mut d_norm, mut d_norm_bias) = (0.0, 0.0);
            for k in 0..n {
                let (weight, b1) = (w.w1[(first + k) * c + o], self.b1[first + k]);
                unsafe { *self.w1.at((first + k) * c + o) = norm * joined[k] + b1 * norm_bias };
                d_norm += joined[k] * weight;
                d_norm_bias += b1 * weight;
            }
            partial.norm[o] = d_norm;
            partial.norm_bias[o] = d_norm_bias;
        }
    }

    /// Sums of all threads, in their order.
    fn join<'s>(&'s self, of: impl Fn(&'s Sums) -> &'s [f32], to: &mut [f32; CHUNK]) {
        let mut all = self.sums.iter();
        if let Some(first) = all.next() {
            let first = of(first);
            to[..first.len()].copy_from_slice(first);
        }
        for sums in all {
            to.iter_mut().zip(of(sums)).for_each(|(to, from)| *to += from);
        }
    }
}
