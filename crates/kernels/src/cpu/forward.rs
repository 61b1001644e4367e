//! A whole block forward, image by image: the hidden layer stays in cache between its two matrix products.

use super::buffer::Buffer;
use super::depthwise::{Halo, Start, convolve_tile, taps_first};
use super::epilogue::{Hidden, Residual, Store};
use super::gemm::{Extent, Left, Right, gemm, panels, whole};
use super::grn::grn_scale;
use super::isa::Kernel;
use super::lanes::Lanes;
use super::number::Number;
use super::pack::{Matrix, Packed};
use super::plan::{Group, Job, Shared, Sizes, Weights, on_threads};
use super::rows::{normalise, pad, vectors};
use crate::block::Activation;

/// What the backward pass needs of the forward pass.
pub(super) struct Saved<T: Number> {
    /// LayerNorm's output before its affine map, `[rows, row]`.
    pub(super) normalised: Buffer<T>,
    /// LayerNorm's `1 / √(var + eps)`, `[rows]`.
    pub(super) rstd: Buffer<f32>,
    /// What GELU is taken of, `[rows, padded]`, unless backward computes it again.
    pub(super) h: Option<Buffer<T>>,
    /// GRN's norms per image, `[N, padded]`; equal rows in scope `batch`.
    pub(super) norms: Buffer<f32>,
}

/// The first linear map with LayerNorm's affine map folded into it, exactly.
pub(super) struct First {
    pub(super) w1: Packed,
    b1: Vec<f32>,
}

impl First {
    pub(super) fn new<T: Number>(w: &Weights, s: &Sizes) -> First {
        let matrix = Matrix::transposed(w.w1).scale_rows(Some(w.norm));
        let mut w1 = Packed::new::<T>(s.isa, s.c, s.c, s.h, matrix.times(Some(w.norm_bias)));
        let mut b1 = std::mem::take(&mut w1.products);
        b1.iter_mut().zip(w.b1).for_each(|(to, b)| *to += b);
        First { w1, b1 }
    }

    /// The first product of a group: `h` unless it is null, GELU's output, and `Σ a²` per image.
    ///
    /// # Safety
    /// The CPU must have `L`; pointers are at the group's first row, `squares` at its first image.
    #[inline(always)]
    unsafe fn gelu<T: Number, L: Lanes>(
        &self,
        s: &Sizes,
        group: &Group,
        normalised: *const T,
        h: *mut T,
        a: *mut T,
        squares: *mut f32,
    ) {
        let extent = self.extent(s, group.rows(s));
        let left = Left::rows(normalised, s.row);
        let right = Right::packed::<L>(self.w1.start(), self.w1.words);
        for panel in 0..panels::<L>(s.h) {
            for image in 0..group.images.len() {
                // SAFETY: the caller's; `b1` is padded to whole panels.
                unsafe {
                    let mut hidden = Hidden {
                        bias: self.b1.as_ptr(),
                        h,
                        a,
                        squares: squares.add(image * s.padded),
                        stride: s.padded,
                    };
                    let first = image * extent.rows;
                    gemm::<T, L, _>(extent, first, left, right, panel..panel + 1, &mut hidden);
                }
            }
        }
    }

    /// The first product of a group alone: `h`, as [`gelu`](First::gelu) keeps it.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(super) unsafe fn h<T: Number, L: Lanes>(
        &self,
        s: &Sizes,
        group: &Group,
        normalised: *const T,
        h: *mut T,
    ) {
        let mut store = Store {
            c: h,
            bias: self.b1.as_ptr(),
            stride: s.padded,
        };
        let right = Right::packed::<L>(self.w1.start(), self.w1.words);
        // SAFETY: the caller's.
        unsafe {
            let left = Left::rows(normalised, s.row);
            whole::<T, L, _>(self.extent(s, group.all_rows(s)), left, right, &mut store);
        }
    }

    fn extent(&self, s: &Sizes, rows: usize) -> Extent {
        Extent {
            rows,
            k: self.w1.words,
            cols: s.h,
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
        let matrix = Matrix::transposed(w.w2).scale_columns(w.scale);
        let beta = w.grn.map(|(_, beta)| beta);
        let mut w2 = Packed::new::<T>(s.isa, s.h, s.padded, s.c, matrix.times(beta));
        let mut b2 = std::mem::take(&mut w2.products);
        for (o, (to, b)) in b2.iter_mut().zip(w.b2).enumerate() {
            *to = w.scale(o) * (*to + b);
        }
        Second { w2, b2 }
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
    let mut normalised = keep.map(|_| Buffer::new(rows * s.row));
    let mut rstd = keep.map(|_| Buffer::new(rows));
    let mut h = (keep == Some(Activation::Keep)).then(|| Buffer::new(rows * s.padded));
    let mut a = waits.then(|| Buffer::new(rows * s.padded));
    let mut squares = Buffer::zeros(job.split.slots.len() * s.padded);
    let mut norms = Buffer::new(s.images * s.padded);
    {
        let share = |buffer: &mut Option<Buffer<T>>| buffer.as_mut().map(|buffer| Shared::new(buffer));
        let call = Call {
            x,
            y: Shared::new(y),
            normalised: share(&mut normalised),
            rstd: rstd.as_mut().map(|rstd| Shared::new(rstd)),
            h: share(&mut h),
            a: share(&mut a),
            squares: Shared::new(&mut squares),
            norms: Shared::new(&mut norms),
            taps: taps_first(weights.dw, s.c, false),
            first: First::new::<T>(weights, s),
            second: Second::new::<T>(weights, s),
            gamma: weights.grn.map(|(gamma, _)| padded(gamma, s)),
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
        h,
        norms,
    })
}

struct Call<'a, T: Number> {
    x: &'a [T],
    y: Shared<T>,
    /// Whole where backward needs them.
    normalised: Option<Shared<T>>,
    rstd: Option<Shared>,
    h: Option<Shared<T>>,
    /// Whole where threads wait for each other before they go on; else a thread has room for a group.
    a: Option<Shared<T>>,
    /// `Σ a²` per image and group, `[slots, padded]`.
    squares: Shared,
    /// `[N, padded]`.
    norms: Shared,
    taps: Vec<f32>,
    first: First,
    second: Second,
    gamma: Option<Vec<f32>>,
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
                    call.after_gelu::<L>(group, a);
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
                scratch.halo.set(self.job.layout, number);
                let bias = Start {
                    from: self.job.weights.dw_bias.as_ptr(),
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
            let h = match self.h {
                Some(all) => all.at(first_row * s.padded),
                None => std::ptr::null_mut(),
            };
            let squares = self.squares.at(group.slot * s.padded);
            self.first.gelu::<T, L>(s, group, normalised, h, a, squares);
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
    unsafe fn after_gelu<L: Lanes>(&self, group: &Group, a: *mut T) {
        let s = self.job.sizes;
        let rows = group.rows(s);
        // SAFETY: as above.
        unsafe {
            if let Some(gamma) = &self.gamma {
                let mut scale = vec![0.0; s.padded];
                for (i, image) in group.images.clone().enumerate() {
                    let norms = std::slice::from_raw_parts(self.norms.at(image * s.padded), s.padded);
                    grn_scale(norms, gamma, s.h, &mut scale);
                    scale_columns::<T, L>(a.add(i * rows * s.padded), scale.as_ptr(), rows, s.padded);
                }
            }
            let extent = Extent {
                rows,
                k: self.second.w2.words,
                cols: s.c,
            };
            let left = Left::rows(a.cast_const(), s.padded);
            let right = Right::packed::<L>(self.second.w2.start(), self.second.w2.words);
            let offset = group.first_row(s) * s.c;
            for panel in 0..panels::<L>(s.c) {
                for (i, image) in group.images.clone().enumerate() {
                    let mut residual = Residual {
                        bias: self.second.b2.as_ptr(),
                        x: self.x.as_ptr().add(offset),
                        y: self.y.at(offset),
                        factor: self.job.drop_path.map_or(1.0, |factors| factors[image]),
                        stride: s.c,
                    };
                    gemm::<T, L, _>(extent, i * rows, left, right, panel..panel + 1, &mut residual);
                }
            }
        }
    }
}

/// `a[row, k] *= scale[k]`.
#[inline(always)]
unsafe fn scale_columns<T: Number, L: Lanes>(a: *mut T, scale: *const f32, rows: usize, width: usize) {
    // SAFETY: the caller's; widths are whole vectors.
    unsafe {
        for row in 0..rows {
            for (at, _) in vectors::<L>(width) {
                let place = a.add(row * width + at);
                T::store::<L>(place, L::mul(T::load::<L>(place), L::load(scale.add(at))));
            }
        }
    }
}
