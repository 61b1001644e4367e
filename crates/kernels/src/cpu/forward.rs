//! A whole block forward, image by image: the hidden layer stays in cache between its two matrix products.

use std::ops::Range;

use fcmae_masking::VisibleLayout;

use super::depthwise::{Halo, Start, convolve_tile, taps_first};
use super::epilogue::{Hidden, Residual};
use super::gemm::{Left, Right, gemm, panels};
use super::isa::Kernel;
use super::lanes::Lanes;
use super::plan::{Job, Packed, Shared, Sizes, Weights, each_share, groups};
use super::rows::{normalise, vectors};
use crate::grn::GRN_EPS;

/// What the backward pass needs of the forward pass.
pub(super) struct Saved {
    /// LayerNorm's output before its affine map, `[rows, C]`.
    pub(super) normalised: Vec<f32>,
    /// LayerNorm's `1 / √(var + eps)`, `[rows]`.
    pub(super) rstd: Vec<f32>,
    /// GELU's output, `[rows, H]`.
    pub(super) a: Vec<f32>,
    /// GELU's derivative, `[rows, H]`.
    pub(super) slope: Vec<f32>,
    /// GRN's norms per image, `[N, H]`; equal rows in scope `batch`.
    pub(super) norms: Vec<f32>,
}

/// The weights of the forward pass, folded exactly: LayerNorm's affine map into the first linear map, GRN's beta and
/// LayerScale into the second.
struct Folded {
    taps: Vec<f32>,
    w1: Packed,
    b1: Vec<f32>,
    w2: Packed,
    b2: Vec<f32>,
    gamma: Option<Vec<f32>>,
}

impl Folded {
    fn new(w: &Weights, s: &Sizes) -> Folded {
        let (c, h) = (s.c, s.h);
        let dot = |row: &[f32], v: &[f32]| row.iter().zip(v).map(|(a, b)| a * b).sum::<f32>();
        let mut b1 = vec![0.0; s.padded.next_multiple_of(3 * s.isa.lanes())];
        for (o, b) in b1.iter_mut().enumerate().take(h) {
            *b = w.b1[o] + dot(&w.w1[o * c..][..c], w.norm_bias);
        }
        let beta = |o: usize| w.grn.map_or(0.0, |(_, beta)| dot(&w.w2[o * h..][..h], beta));
        Folded {
            taps: taps_first(w.dw, c, false),
            w1: Packed::new(s.isa, c, h, |k, o| w.w1[o * c + k] * w.norm[k]),
            b1,
            w2: Packed::new(s.isa, h, c, |k, o| w.w2[o * h + k] * w.scale(o)),
            b2: (0..c).map(|o| w.scale(o) * (w.b2[o] + beta(o))).collect(),
            gamma: w.grn.map(|(gamma, _)| padded(gamma, s)),
        }
    }
}

/// A vector of `h` numbers with zeros up to the padded width.
pub(super) fn padded(v: &[f32], s: &Sizes) -> Vec<f32> {
    let mut out = v.to_vec();
    out.resize(s.padded, 0.0);
    out
}

/// The block's output into `y`; what backward needs comes back.
pub(super) fn forward(x: &[f32], y: &mut [f32], job: &Job) -> Saved {
    let (s, weights) = (job.sizes, job.weights);
    let rows = s.all_rows();
    let mut saved = Saved {
        normalised: vec![0.0; rows * s.c],
        rstd: vec![0.0; rows],
        a: vec![0.0; rows * s.padded],
        slope: vec![0.0; rows * s.padded],
        norms: vec![0.0; s.images * s.padded],
    };
    let folded = Folded::new(weights, s);
    let call = Call {
        x,
        y: Shared::new(y),
        normalised: Shared::new(&mut saved.normalised),
        rstd: Shared::new(&mut saved.rstd),
        a: Shared::new(&mut saved.a),
        slope: Shared::new(&mut saved.slope),
        norms: Shared::new(&mut saved.norms),
        dw_bias: weights.dw_bias,
        folded: &folded,
        layout: job.layout,
        drop_path: job.drop_path,
        s: *s,
    };
    let shares = s.shares(job.threads);
    if job.couples_images() {
        each_share(s.isa, &shares, |_, images| Part {
            call: &call,
            images,
            first: true,
            second: false,
        });
        join_norms(&mut saved.norms, s);
        each_share(s.isa, &shares, |_, images| Part {
            call: &call,
            images,
            first: false,
            second: true,
        });
    } else {
        each_share(s.isa, &shares, |_, images| Part {
            call: &call,
            images,
            first: true,
            second: true,
        });
    }
    saved
}

/// Scope `batch`: every image gets the norm over all images.
fn join_norms(norms: &mut [f32], s: &Sizes) {
    for k in 0..s.padded {
        let square: f32 = norms.iter().skip(k).step_by(s.padded).map(|g| g * g).sum();
        norms
            .iter_mut()
            .skip(k)
            .step_by(s.padded)
            .for_each(|g| *g = square.sqrt());
    }
}

struct Call<'a> {
    x: &'a [f32],
    y: Shared,
    normalised: Shared,
    rstd: Shared,
    a: Shared,
    slope: Shared,
    norms: Shared,
    dw_bias: &'a [f32],
    folded: &'a Folded,
    layout: &'a VisibleLayout,
    drop_path: Option<&'a [f32]>,
    s: Sizes,
}

/// One thread's images, up to GELU, from GELU on, or both.
struct Part<'a> {
    call: &'a Call<'a>,
    images: Range<usize>,
    first: bool,
    second: bool,
}

impl Kernel for Part<'_> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let s = &self.call.s;
        let mut halo = Halo::new(s.p);
        let mut scaled = vec![0.0; s.group() * s.rows() * s.padded];
        for group in groups(self.images, s.group()) {
            // SAFETY: the buffers of `forward` hold all images; this thread alone has these.
            unsafe {
                if self.first {
                    self.call.up_to_gelu::<L>(group.clone(), &mut halo);
                }
                if self.second {
                    self.call.after_gelu::<L>(group, &mut scaled);
                }
            }
        }
    }
}

impl Call<'_> {
    /// Depthwise, LayerNorm, first product with GELU and `Σ a²`.
    #[inline(always)]
    unsafe fn up_to_gelu<L: Lanes>(&self, images: Range<usize>, halo: &mut Halo) {
        let s = &self.s;
        let (positions, first_row) = (s.p * s.p, images.start * s.rows());
        // SAFETY: rows of `images` only; `dw_bias` has C numbers.
        unsafe {
            for tile in images.start * s.tiles..images.end * s.tiles {
                halo.set(self.layout, tile);
                let out = self.normalised.0.add(tile * positions * s.c);
                let bias = Start {
                    from: self.dw_bias.as_ptr(),
                    stride: 0,
                };
                convolve_tile::<L>(halo, self.x.as_ptr(), self.folded.taps.as_ptr(), s.c, bias, out);
                for row in 0..positions {
                    *self.rstd.0.add(tile * positions + row) = normalise::<L>(out.add(row * s.c), s.c);
                }
            }
            let left = Left {
                start: self.normalised.0.add(first_row * s.c),
                row: s.c,
                col: 1,
            };
            let w1 = Right::packed::<L>(self.folded.w1.numbers.as_ptr(), self.folded.w1.k);
            let offset = first_row * s.padded;
            for panel in 0..panels::<L>(s.h) {
                for image in images.clone() {
                    let mut hidden = Hidden {
                        bias: self.folded.b1.as_ptr(),
                        a: self.a.0.add(offset),
                        slope: self.slope.0.add(offset),
                        squares: self.norms.0.add(image * s.padded),
                        stride: s.padded,
                    };
                    let from = (image - images.start) * s.rows();
                    gemm::<L, _>(from, s.rows(), s.c, s.h, left, w1, panel..panel + 1, &mut hidden);
                }
            }
            for image in images {
                let norms = std::slice::from_raw_parts_mut(self.norms.0.add(image * s.padded), s.padded);
                norms.iter_mut().for_each(|square| *square = square.sqrt());
            }
        }
    }

    /// GRN's scale, second product, residual.
    #[inline(always)]
    unsafe fn after_gelu<L: Lanes>(&self, images: Range<usize>, scaled: &mut [f32]) {
        let s = &self.s;
        let first_row = images.start * s.rows();
        // SAFETY: as above; `scaled` holds a group's hidden layer.
        unsafe {
            let mut input = self.a.0.add(first_row * s.padded).cast_const();
            if let Some(gamma) = &self.folded.gamma {
                let mut scale = vec![0.0; s.padded];
                for image in images.clone() {
                    let norms = std::slice::from_raw_parts(self.norms.0.add(image * s.padded), s.padded);
                    grn_scale(norms, gamma, s.h, &mut scale);
                    let local = (image - images.start) * s.rows() * s.padded;
                    let (from, to) = (input.add(local), scaled.as_mut_ptr().add(local));
                    scale_rows::<L>(from, scale.as_ptr(), to, s.rows(), s.padded);
                }
                input = scaled.as_ptr();
            }
            let left = Left {
                start: input,
                row: s.padded,
                col: 1,
            };
            let w2 = Right::packed::<L>(self.folded.w2.numbers.as_ptr(), self.folded.w2.k);
            let offset = first_row * s.c;
            for panel in 0..panels::<L>(s.c) {
                for image in images.clone() {
                    let mut residual = Residual {
                        bias: self.folded.b2.as_ptr(),
                        x: self.x.as_ptr().add(offset),
                        y: self.y.0.add(offset),
                        factor: self.drop_path.map_or(1.0, |factors| factors[image]),
                        stride: s.c,
                    };
                    let from = (image - images.start) * s.rows();
                    gemm::<L, _>(
                        from,
                        s.rows(),
                        s.h,
                        s.c,
                        left,
                        w2,
                        panel..panel + 1,
                        &mut residual,
                    );
                }
            }
        }
    }
}

/// `γ·G / (mean G + eps) + 1` per channel.
pub(super) fn grn_scale(norms: &[f32], gamma: &[f32], h: usize, scale: &mut [f32]) {
    let divisor = norms.iter().sum::<f32>() / h as f32 + GRN_EPS as f32;
    for ((scale, g), gamma) in scale.iter_mut().zip(norms).zip(gamma) {
        *scale = gamma * (g / divisor) + 1.0;
    }
}

/// `to[row, k] = from[row, k]·scale[k]`.
#[inline(always)]
unsafe fn scale_rows<L: Lanes>(from: *const f32, scale: *const f32, to: *mut f32, rows: usize, width: usize) {
    // SAFETY: the caller's; widths are whole vectors.
    unsafe {
        for row in 0..rows {
            for (at, _) in vectors::<L>(width) {
                let v = L::load(from.add(row * width + at));
                L::store(to.add(row * width + at), L::mul(v, L::load(scale.add(at))));
            }
        }
    }
}
