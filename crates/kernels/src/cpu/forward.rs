//! A whole block forward, image by image: the hidden layer stays in cache between its two matrix products.

use fcmae_masking::VisibleLayout;

use super::buffer::Buffer;
use super::depthwise::{Halo, Start, convolve_tile, taps_first};
use super::epilogue::{Hidden, Residual};
use super::fold::product;
use super::gemm::{Extent, Left, Right, gemm, panels};
use super::isa::Kernel;
use super::lanes::Lanes;
use super::number::Number;
use super::pack::{Matrix, Packed};
use super::plan::{Group, Job, Shared, Sizes, Weights, on_threads};
use super::rows::{normalise, pad, vectors};
use crate::block::Activation;
use crate::grn::GRN_EPS;

/// What the backward pass needs of the forward pass.
pub(super) struct Saved<T: Number> {
    /// LayerNorm's output before its affine map, `[rows, row]`.
    pub(super) normalised: Buffer<T>,
    /// LayerNorm's `1 / √(var + eps)`, `[rows]`.
    pub(super) rstd: Buffer<f32>,
    /// The hidden layer, unless backward computes it again.
    pub(super) hidden: Option<HiddenLayer<T>>,
    /// GRN's norms per image, `[N, padded]`; equal rows in scope `batch`.
    pub(super) norms: Buffer<f32>,
}

/// GELU's output and derivative, `[rows, padded]` each.
pub(super) struct HiddenLayer<T: Number> {
    pub(super) a: Buffer<T>,
    pub(super) slope: Buffer<T>,
}

/// The first linear map with LayerNorm's affine map folded into it, exactly.
pub(super) struct First {
    pub(super) w1: Packed,
    b1: Vec<f32>,
}

impl First {
    pub(super) fn new<T: Number>(w: &Weights, s: &Sizes) -> First {
        let mut b1 = product(s.isa, w.w1, w.norm_bias);
        b1.iter_mut().zip(w.b1).for_each(|(to, b)| *to += b);
        b1.resize(s.padded.next_multiple_of(3 * s.isa.lanes()), 0.0);
        let matrix = Matrix::transposed(w.w1).scale_rows(Some(w.norm));
        First {
            w1: Packed::new::<T>(s.isa, s.c, s.c, s.h, matrix),
            b1,
        }
    }

    /// The first product of a group: GELU's output, its derivative unless `slope` is null, and `Σ a²` per image.
    ///
    /// # Safety
    /// The CPU must have `L`; pointers are at the group's first row, `squares` at its first image.
    #[inline(always)]
    pub(super) unsafe fn product<T: Number, L: Lanes>(
        &self,
        s: &Sizes,
        group: &Group,
        normalised: *const T,
        a: *mut T,
        slope: *mut T,
        squares: *mut f32,
    ) {
        let extent = Extent {
            rows: group.rows(s),
            k: self.w1.words,
            cols: s.h,
        };
        let left = Left::rows(normalised, s.row);
        let right = Right::packed::<L>(self.w1.start(), self.w1.words);
        for panel in 0..panels::<L>(s.h) {
            for image in 0..group.images.len() {
                // SAFETY: the caller's; `b1` is padded to whole panels.
                unsafe {
                    let mut hidden = Hidden {
                        bias: self.b1.as_ptr(),
                        a,
                        slope,
                        squares: squares.add(image * s.padded),
                        stride: s.padded,
                    };
                    let first = image * extent.rows;
                    gemm::<T, L, _>(extent, first, left, right, panel..panel + 1, &mut hidden);
                }
            }
        }
    }
}

/// The second linear map with GRN's beta and LayerScale folded into it, exactly.
struct Second {
    w2: Packed,
    b2: Vec<f32>,
}

impl Second {
    fn new<T: Number>(w: &Weights, s: &Sizes) -> Second {
        let (c, h) = (s.c, s.h);
        let mut b2 = match w.grn {
            Some((_, beta)) => product(s.isa, w.w2, beta),
            None => vec![0.0; c],
        };
        for (o, to) in b2.iter_mut().enumerate() {
            *to = w.scale(o) * (*to + w.b2[o]);
        }
        let matrix = Matrix::transposed(w.w2).scale_columns(w.scale);
        Second {
            w2: Packed::new::<T>(s.isa, h, s.padded, c, matrix),
            b2,
        }
    }
}

/// A vector of `h` numbers with zeros up to the padded width.
pub(super) fn padded(v: &[f32], s: &Sizes) -> Vec<f32> {
    let mut out = v.to_vec();
    out.resize(s.padded, 0.0);
    out
}

/// The block's output into `y`; what backward needs comes back unless `keep` is `None`.
pub(super) fn forward<T: Number>(
    x: &[T],
    y: &mut [T],
    job: &Job,
    keep: Option<Activation>,
) -> Option<Saved<T>> {
    let (s, weights, waits) = (job.sizes, job.weights, job.waits());
    let rows = s.all_rows();
    let keeps_hidden = keep == Some(Activation::Keep);
    let mut normalised = keep.map(|_| Buffer::new(rows * s.row));
    let mut rstd = keep.map(|_| Buffer::new(rows));
    let mut a = (keeps_hidden || waits).then(|| Buffer::new(rows * s.padded));
    let mut slope = keeps_hidden.then(|| Buffer::new(rows * s.padded));
    let mut squares = Buffer::zeros(job.split.slots.len() * s.padded);
    let mut norms = Buffer::new(s.images * s.padded);
    {
        let share = |buffer: &mut Option<Buffer<T>>| buffer.as_mut().map(|buffer| Shared::new(buffer));
        let call = Call {
            x,
            y: Shared::new(y),
            normalised: share(&mut normalised),
            rstd: rstd.as_mut().map(|rstd| Shared::new(rstd)),
            a: share(&mut a),
            slope: share(&mut slope),
            squares: Shared::new(&mut squares),
            norms: Shared::new(&mut norms),
            dw_bias: weights.dw_bias,
            taps: taps_first(weights.dw, s.c, false),
            first: First::new::<T>(weights, s),
            second: Second::new::<T>(weights, s),
            gamma: weights.grn.map(|(gamma, _)| padded(gamma, s)),
            layout: job.layout,
            drop_path: job.drop_path,
            job,
        };
        let run = |first, second| {
            on_threads(s.isa, job.split.groups.len(), |thread| Part {
                call: &call,
                groups: &job.split.groups[thread],
                first,
                second,
            });
        };
        if waits {
            run(true, false);
            call.join_norms();
            run(false, true);
        } else {
            run(true, true);
        }
    }
    Some(Saved {
        normalised: normalised?,
        rstd: rstd?,
        hidden: slope.and_then(|slope| Some(HiddenLayer { a: a?, slope })),
        norms,
    })
}

struct Call<'a, T: Number> {
    x: &'a [T],
    y: Shared<T>,
    /// Whole where backward needs them; else a thread has room for a group.
    normalised: Option<Shared<T>>,
    rstd: Option<Shared>,
    a: Option<Shared<T>>,
    slope: Option<Shared<T>>,
    /// `Σ a²` per image and group, `[slots, padded]`.
    squares: Shared,
    /// `[N, padded]`.
    norms: Shared,
    dw_bias: &'a [f32],
    taps: Vec<f32>,
    first: First,
    second: Second,
    gamma: Option<Vec<f32>>,
    layout: &'a VisibleLayout,
    drop_path: Option<&'a [f32]>,
    job: &'a Job<'a>,
}

/// One thread's groups, up to GELU, from GELU on, or both.
struct Part<'a, T: Number> {
    call: &'a Call<'a, T>,
    groups: &'a [Group],
    first: bool,
    second: bool,
}

/// Room for a group, where nothing is kept, and for a tile.
struct Scratch<T: Number> {
    halo: Halo,
    tile: Buffer<f32>,
    normalised: Buffer<T>,
    a: Buffer<T>,
    scaled: Buffer<T>,
}

impl<T: Number> Kernel for Part<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (call, s) = (self.call, self.call.job.sizes);
        let rows = call.job.split.group_rows(s);
        let room = |is_needed: bool, width| Buffer::new(if is_needed { rows * width } else { 0 });
        let mut scratch = Scratch {
            halo: Halo::new(s.p),
            tile: Buffer::new(s.positions() * s.c),
            normalised: room(call.normalised.is_none() && self.first, s.row),
            a: room(call.a.is_none(), s.padded),
            scaled: room(call.gamma.is_some() && self.second, s.padded),
        };
        for group in self.groups {
            // SAFETY: the buffers of `forward` hold all rows; this thread alone has these.
            unsafe {
                let first_row = group.first_row(s);
                let a = match call.a {
                    Some(a) => a.at(first_row * s.padded),
                    None => scratch.a.as_mut_ptr(),
                };
                if self.first {
                    call.up_to_gelu::<L>(group, a, &mut scratch);
                }
                if self.second {
                    call.after_gelu::<L>(group, a, &mut scratch.scaled);
                }
            }
        }
    }
}

impl<T: Number> Call<'_, T> {
    /// Depthwise, LayerNorm, first product with GELU and `Σ a²`.
    #[inline(always)]
    unsafe fn up_to_gelu<L: Lanes>(&self, group: &Group, a: *mut T, scratch: &mut Scratch<T>) {
        let s = self.job.sizes;
        let (positions, first_row) = (s.positions(), group.first_row(s));
        // SAFETY: rows of the group only; `dw_bias` has C numbers.
        unsafe {
            let normalised = match self.normalised {
                Some(all) => all.at(first_row * s.row),
                None => scratch.normalised.as_mut_ptr(),
            };
            let tile = scratch.tile.as_mut_ptr();
            for (i, number) in group.tiles.clone().enumerate() {
                scratch.halo.set(self.layout, number);
                let bias = Start {
                    from: self.dw_bias.as_ptr(),
                    stride: 0,
                };
                convolve_tile::<T, f32, f32, L>(
                    &scratch.halo,
                    self.x.as_ptr(),
                    self.taps.as_ptr(),
                    s.c,
                    bias,
                    tile,
                );
                for position in 0..positions {
                    let row = i * positions + position;
                    let to = normalised.add(row * s.row);
                    let rstd = normalise::<f32, T, L>(tile.add(position * s.c), to, s.c);
                    pad(to, s.c, s.row);
                    if let Some(all) = self.rstd {
                        *all.at(first_row + row) = rstd;
                    }
                }
            }
            let slope = match self.slope {
                Some(all) => all.at(first_row * s.padded),
                None => std::ptr::null_mut(),
            };
            let squares = self.squares.at(group.slot * s.padded);
            self.first
                .product::<T, L>(s, group, normalised, a, slope, squares);
            if !self.job.waits() {
                for i in 0..group.images.len() * s.padded {
                    *self.norms.at(group.slot * s.padded + i) = (*squares.add(i)).sqrt();
                }
            }
        }
    }

    /// The norms of all images, once every thread has its sums.
    fn join_norms(&self) {
        let (job, s) = (self.job, self.job.sizes);
        // SAFETY: called between two parallel phases; the sizes are those of `forward`.
        let (squares, norms) = unsafe {
            (
                std::slice::from_raw_parts(self.squares.at(0), job.split.slots.len() * s.padded),
                std::slice::from_raw_parts_mut(self.norms.at(0), s.images * s.padded),
            )
        };
        job.join(squares, norms);
        norms.iter_mut().for_each(|square| *square = square.sqrt());
    }

    /// GRN's scale, second product, residual.
    #[inline(always)]
    unsafe fn after_gelu<L: Lanes>(&self, group: &Group, a: *const T, scaled: &mut [T]) {
        let s = self.job.sizes;
        let rows = group.rows(s);
        // SAFETY: as above; `scaled` holds a group's hidden layer.
        unsafe {
            let mut input = a;
            if let Some(gamma) = &self.gamma {
                let mut scale = vec![0.0; s.padded];
                for (i, image) in group.images.clone().enumerate() {
                    let norms = std::slice::from_raw_parts(self.norms.at(image * s.padded), s.padded);
                    grn_scale(norms, gamma, s.h, &mut scale);
                    let local = i * rows * s.padded;
                    let to = scaled.as_mut_ptr().add(local);
                    scale_columns::<T, L>(a.add(local), scale.as_ptr(), to, rows, s.padded);
                }
                input = scaled.as_ptr();
            }
            let extent = Extent {
                rows,
                k: self.second.w2.words,
                cols: s.c,
            };
            let left = Left::rows(input, s.padded);
            let right = Right::packed::<L>(self.second.w2.start(), self.second.w2.words);
            let offset = group.first_row(s) * s.c;
            for panel in 0..panels::<L>(s.c) {
                for (i, image) in group.images.clone().enumerate() {
                    let mut residual = Residual {
                        bias: self.second.b2.as_ptr(),
                        x: self.x.as_ptr().add(offset),
                        y: self.y.at(offset),
                        factor: self.drop_path.map_or(1.0, |factors| factors[image]),
                        stride: s.c,
                    };
                    gemm::<T, L, _>(extent, i * rows, left, right, panel..panel + 1, &mut residual);
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
unsafe fn scale_columns<T: Number, L: Lanes>(
    from: *const T,
    scale: *const f32,
    to: *mut T,
    rows: usize,
    width: usize,
) {
    // SAFETY: the caller's; widths are whole vectors.
    unsafe {
        for row in 0..rows {
            for (at, _) in vectors::<L>(width) {
                let v = T::load::<L>(from.add(row * width + at));
                T::store::<L>(to.add(row * width + at), L::mul(v, L::load(scale.add(at))));
            }
        }
    }
}
