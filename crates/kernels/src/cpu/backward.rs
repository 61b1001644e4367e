//! A whole block backward, image by image, with every gradient.
//!
//! Each thread adds the weight gradients of its images in buffers of its own; they are joined in the order of the
//! threads, so the result depends on nothing but instruction set and thread count.

use super::buffer::Buffer;
use super::columns::{Columns, pad_words, summed};
use super::depthwise::{Halo, Start, convolve_tile, taps_first, weight_gradient};
use super::epilogue::{Accumulate, HiddenGradient, Store};
use super::forward::{First, Saved, padded};
use super::gelu::gelu_with_derivative;
use super::gemm::{Extent, Left, Right, gemm, panels, whole};
use super::grn::{HiddenRows, grn_scale, grn_slope};
use super::isa::Kernel;
use super::lanes::Lanes;
use super::number::Number;
use super::pack::{Matrix, Packed};
use super::plan::{Group, Job, Shared, Sizes, on_threads};
use super::rows::{add_rows, normalise_backward, scale_rows};
use super::unfold::{Gradients, unfold};

/// What one thread adds up: gradients in the folded parameters.
pub(super) struct Sums {
    /// `duᵀ·a'`, `[C, padded]`.
    pub(super) w2: Buffer<f32>,
    /// `x̂ᵀ·dh`, `[C, padded]`.
    pub(super) w1: Buffer<f32>,
    /// Whether nothing is in the two yet.
    is_empty: bool,
    /// `Σ dh`, `[padded]`.
    pub(super) b1: Buffer<f32>,
    /// `Σ du`, `[C]`.
    pub(super) b2: Buffer<f32>,
    /// Depthwise taps, `[49, C]`.
    pub(super) taps: Buffer<f32>,
    /// `Σ` of the depthwise output's gradient, `[C]`.
    pub(super) dw_bias: Buffer<f32>,
}

impl Sums {
    /// `has_work`: otherwise nobody writes to the large ones.
    fn new(s: &Sizes, has_work: bool) -> Sums {
        let large = || {
            let n = s.c * s.padded;
            if has_work {
                Buffer::new(n)
            } else {
                Buffer::zeros(n)
            }
        };
        Sums {
            w2: large(),
            w1: large(),
            is_empty: true,
            b1: Buffer::zeros(s.padded),
            b2: Buffer::zeros(s.c),
            taps: Buffer::zeros(49 * s.c),
            dw_bias: Buffer::zeros(s.c),
        }
    }
}

/// All gradients of a block from the gradient `dy` of its output: that of `x` goes into `dx`, those of the parameters
/// into `gradients`.
pub(super) fn backward<T: Number>(
    x: &[T],
    dy: &[T],
    dx: &mut [T],
    saved: &Saved<T>,
    job: &Job,
    gradients: &mut Gradients,
) {
    let (s, weights, waits) = (job.sizes, job.weights, job.waits());
    let rows = s.all_rows();
    let threads = job.split.groups.len();
    let mut du = Buffer::new(if waits { rows * s.row } else { 0 });
    let mut dz = Buffer::new(if waits { rows * s.spread } else { 0 });
    let mut dots = Buffer::zeros(job.split.slots.len() * s.padded);
    let mut image_dots = Buffer::new(if waits { s.images * s.padded } else { 0 });
    let mut dd = Buffer::new(rows * s.c);
    let work = job.split.groups.iter().map(|groups| !groups.is_empty());
    let mut sums: Vec<Sums> = work.map(|has_work| Sums::new(s, has_work)).collect();
    {
        let w1 = Matrix::new(weights.w1).scale_columns(Some(weights.norm));
        let w2 = Matrix::new(weights.w2).scale_rows(weights.scale);
        let call = Call {
            x,
            dy,
            saved,
            taps: taps_first(weights.dw, s.c, true),
            w1: Packed::new::<T>(s.isa, s.h, s.padded, s.c, w1),
            w2: Packed::new::<T>(s.isa, s.c, s.c, s.h, w2),
            again: saved.h.is_none().then(|| First::new::<T>(weights, s)),
            gamma: weights.grn.map(|(gamma, _)| padded(gamma, s)),
            dx: Shared::new(dx),
            dd: Shared::new(&mut dd),
            du: waits.then(|| Shared::new(&mut du)),
            dz: waits.then(|| Shared::new(&mut dz)),
            dots: Shared::new(&mut dots),
            image_dots: waits.then(|| Shared::new(&mut image_dots)),
            job,
        };
        let own = Shared::new(&mut sums);
        let run = |phases: [bool; 3]| {
            on_threads(s.isa, threads, |thread| Part {
                call: &call,
                groups: &job.split.groups[thread],
                // SAFETY: one `Sums` per thread.
                sums: unsafe { own.at(thread) },
                phases,
            });
        };
        if waits {
            run([true, false, false]);
            call.join_dots();
            run([false, true, false]);
            run([false, false, true]); // reads `dd` of neighbours that another thread may have
        } else {
            run([true; 3]);
        }
    }
    let dots = if waits { &image_dots } else { &dots };
    unfold(&sums, &saved.norms, dots, job, gradients);
}

struct Call<'a, T: Number> {
    x: &'a [T],
    dy: &'a [T],
    saved: &'a Saved<T>,
    /// Depthwise taps turned by 180°.
    taps: Vec<f32>,
    w1: Packed,
    w2: Packed,
    /// The first linear map, where its result was not kept.
    again: Option<First>,
    gamma: Option<Vec<f32>>,
    dx: Shared<T>,
    /// Gradient of the depthwise output, `[rows, C]`: neighbours read it.
    dd: Shared,
    /// `[rows, row]` and `[rows, spread]` of all images, where threads wait between phases.
    du: Option<Shared<T>>,
    dz: Option<Shared<T>>,
    /// `Σ dz·a` per image and group, `[slots, padded]`.
    dots: Shared,
    /// The same per image, where threads wait.
    image_dots: Option<Shared>,
    job: &'a Job<'a>,
}

/// One thread's groups: up to the gradient of the calibrated hidden layer, on to that of the depthwise output, to the
/// input.
struct Part<'a, T: Number> {
    call: &'a Call<'a, T>,
    groups: &'a [Group],
    sums: *mut Sums,
    phases: [bool; 3],
}

/// Room for a group. Words hold rows in pairs in bf16, for products over rows.
struct Scratch<T: Number> {
    du: Buffer<T>,
    dz: Buffer<T>,
    /// What GELU is taken of, where it is computed again.
    h: Buffer<T>,
    /// GELU and its derivative, `[rows, padded]`.
    a: Buffer<T>,
    slope: Buffer<T>,
    /// Words `[rows, spread]`.
    calibrated: Buffer<f32>,
    dh_words: Buffer<f32>,
    du_columns: Columns,
    normalised_columns: Columns,
    halos: Vec<Halo>,
}

impl<T: Number> Scratch<T> {
    fn new<L: Lanes>(call: &Call<T>, phases: [bool; 3]) -> Scratch<T> {
        let s = call.job.sizes;
        let groups = call.job.split.groups.iter().flatten();
        let rows = call.job.split.group_rows(s);
        let words = |group: &Group| words_of::<T>(group.rows(s)) * group.images.len();
        let words = groups.map(words).max().unwrap_or(0);
        let columns = || Columns::new::<T, L>(s.c, if phases[1] { words } else { 0 });
        let words = summed::<T, L>(words);
        let pairs = T::PER_WORD > 1 && phases[1];
        let has_hidden = phases[0] || phases[1];
        Scratch {
            du: room(call.du.is_none(), rows * s.row),
            dz: room(call.dz.is_none(), rows * s.spread),
            h: room(call.again.is_some() && has_hidden, rows * s.padded),
            a: room(has_hidden, rows * s.padded),
            slope: room(has_hidden, rows * s.padded),
            calibrated: room(phases[1], words * s.spread),
            dh_words: room(pairs, words * s.spread),
            du_columns: columns(),
            normalised_columns: columns(),
            halos: match phases[2] {
                true => (0..call.job.split.group_tiles())
                    .map(|_| Halo::new(s.p))
                    .collect(),
                false => Vec::new(),
            },
        }
    }
}

/// `n` numbers where they are needed.
fn room<T: Number>(is_needed: bool, n: usize) -> Buffer<T> {
    Buffer::new(if is_needed { n } else { 0 })
}

/// Rows of words that hold `rows` rows.
fn words_of<T: Number>(rows: usize) -> usize {
    rows.div_ceil(T::PER_WORD)
}

impl<T: Number> Kernel for Part<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (call, s) = (self.call, self.call.job.sizes);
        let mut scratch = Scratch::new::<L>(call, self.phases);
        // SAFETY: this thread's own.
        let sums = unsafe { &mut *self.sums };
        for group in self.groups {
            let first_row = group.first_row(s);
            // SAFETY: buffers hold all rows, scratch a group; this thread alone has these rows and `sums`.
            unsafe {
                let du = match call.du {
                    Some(all) => all.at(first_row * s.row),
                    None => scratch.du.as_mut_ptr(),
                };
                let dz = match call.dz {
                    Some(all) => all.at(first_row * s.spread),
                    None => scratch.dz.as_mut_ptr(),
                };
                if self.phases[0] {
                    call.to_hidden::<L>(group, du, dz, &mut scratch, sums);
                } else if self.phases[1] {
                    call.hidden_again::<L>(group, &mut scratch);
                }
                if self.phases[1] {
                    call.through_grn::<L>(group, dz, &mut scratch, sums);
                    call.to_depthwise::<L>(group, du, dz, &mut scratch, sums);
                }
                if self.phases[2] {
                    call.to_input::<L>(group, &mut scratch.halos, sums);
                }
            }
        }
    }
}

impl<T: Number> Call<'_, T> {
    /// The group's part of what GELU is taken of: kept, or computed again.
    #[inline(always)]
    unsafe fn h<L: Lanes>(&self, group: &Group, room: &mut [T]) -> *const T {
        let s = self.job.sizes;
        let first_row = group.first_row(s);
        // SAFETY: rows of the group only.
        unsafe {
            if let Some(h) = &self.saved.h {
                return h.as_ptr().add(first_row * s.padded);
            }
            if let Some(first) = &self.again {
                let normalised = self.saved.normalised.as_ptr().add(first_row * s.row);
                first.h::<T, L>(s, group, normalised, room.as_mut_ptr());
            }
            room.as_ptr()
        }
    }

    /// GELU and its derivative, which [`to_hidden`](Call::to_hidden) left before the threads waited.
    #[inline(always)]
    unsafe fn hidden_again<L: Lanes>(&self, group: &Group, scratch: &mut Scratch<T>) {
        let s = self.job.sizes;
        // SAFETY: a group's rows of `padded` numbers, a multiple of the vector's.
        unsafe {
            let h = self.h::<L>(group, &mut scratch.h);
            for at in (0..group.all_rows(s) * s.padded).step_by(L::N) {
                let (a, slope) = gelu_with_derivative::<T, L>(T::load::<L>(h.add(at)));
                T::store::<L>(scratch.a.as_mut_ptr().add(at), a);
                T::store::<L>(scratch.slope.as_mut_ptr().add(at), slope);
            }
        }
    }

    /// `du = factor·dy`, `dz = du·W₂`, GELU and its derivative, `Σ dz·a`.
    #[inline(always)]
    unsafe fn to_hidden<L: Lanes>(
        &self,
        group: &Group,
        du: *mut T,
        dz: *mut T,
        scratch: &mut Scratch<T>,
        sums: &mut Sums,
    ) {
        let s = self.job.sizes;
        let (rows, first_row) = (group.rows(s), group.first_row(s));
        // SAFETY: rows of the group only.
        unsafe {
            for (i, image) in group.images.clone().enumerate() {
                let factor = self.job.drop_path.map_or(1.0, |factors| factors[image]);
                let from = self.dy.as_ptr().add((first_row + i * rows) * s.c);
                scale_rows::<T, L>(from, factor, du.add(i * rows * s.row), s.row, rows, s.c);
            }
            add_rows::<T, L>(du, s.row, group.all_rows(s), s.c, sums.b2.as_mut_ptr());
            let h = self.h::<L>(group, &mut scratch.h);
            let extent = Extent {
                rows,
                k: self.w2.words,
                cols: s.h,
            };
            let left = Left::rows(du.cast_const(), s.row);
            let right = Right::packed::<L>(self.w2.start(), self.w2.words);
            for panel in 0..panels::<L>(s.h) {
                for i in 0..group.images.len() {
                    let mut epilogue = HiddenGradient {
                        dz,
                        dz_stride: s.spread,
                        h,
                        a: scratch.a.as_mut_ptr(),
                        slope: scratch.slope.as_mut_ptr(),
                        dots: self.dots.at((group.slot + i) * s.padded),
                        stride: s.padded,
                    };
                    gemm::<T, L, _>(extent, i * rows, left, right, panel..panel + 1, &mut epilogue);
                }
            }
        }
    }

    /// `Σ dz·a` of all images, once every thread has its own.
    fn join_dots(&self) {
        let (job, s) = (self.job, self.job.sizes);
        let Some(to) = self.image_dots else { return };
        // SAFETY: called between two parallel phases; the sizes are those of `backward`.
        let (parts, images) = unsafe {
            (
                std::slice::from_raw_parts(self.dots.at(0), job.split.slots.len() * s.padded),
                std::slice::from_raw_parts_mut(to.at(0), s.images * s.padded),
            )
        };
        job.join(parts, images);
    }

    /// `dz → dh` in place and in words, the calibrated hidden layer again in words, `Σ dh`.
    #[inline(always)]
    unsafe fn through_grn<L: Lanes>(
        &self,
        group: &Group,
        dz: *mut T,
        scratch: &mut Scratch<T>,
        sums: &mut Sums,
    ) {
        let s = self.job.sizes;
        let (rows, words) = (group.rows(s), words_of::<T>(group.rows(s)));
        let (mut factor, mut slope) = (vec![1.0; s.padded], vec![0.0; s.padded]);
        let dots = self.image_dots.unwrap_or(self.dots);
        for (i, image) in group.images.clone().enumerate() {
            // SAFETY: rows of the group only; vectors of `padded` numbers.
            unsafe {
                if let Some(gamma) = &self.gamma {
                    let norms = &self.saved.norms[image * s.padded..][..s.padded];
                    let dots = std::slice::from_raw_parts(dots.at(image * s.padded), s.padded);
                    grn_scale(norms, gamma, s.h, &mut factor);
                    grn_slope(norms, gamma, dots, s.h, &mut slope);
                }
                let (numbers, in_words) = (i * rows * s.padded, i * words * s.spread);
                let dh_words = match T::PER_WORD {
                    1 => std::ptr::null_mut(), // `dz` itself
                    _ => scratch.dh_words.as_mut_ptr().add(in_words),
                };
                let image = HiddenRows {
                    rows,
                    width: s.padded,
                    spread: s.spread,
                    a: scratch.a.as_ptr().add(numbers),
                    gelu: scratch.slope.as_ptr().add(numbers),
                    dz: dz.add(i * rows * s.spread),
                    dh_words,
                    calibrated: scratch.calibrated.as_mut_ptr().add(in_words),
                };
                image.backward::<L>(factor.as_ptr(), slope.as_ptr(), sums.b1.as_mut_ptr());
            }
        }
    }

    /// Weight gradients of both products, the gradient of LayerNorm's input.
    #[inline(always)]
    unsafe fn to_depthwise<L: Lanes>(
        &self,
        group: &Group,
        du: *const T,
        dh: *const T,
        scratch: &mut Scratch<T>,
        sums: &mut Sums,
    ) {
        let s = self.job.sizes;
        let (rows, first_row) = (group.all_rows(s), group.first_row(s));
        let images = group.images.len();
        let words = words_of::<T>(group.rows(s)) * images;
        // SAFETY: rows of the group only; `sums` are this thread's.
        unsafe {
            let normalised = self.saved.normalised.as_ptr().add(first_row * s.row);
            scratch.du_columns.set::<T, L>(du, s.row, group.rows(s), images);
            scratch
                .normalised_columns
                .set::<T, L>(normalised, s.row, group.rows(s), images);
            pad_words::<T, L>(scratch.calibrated.as_mut_ptr(), s.spread, words);
            let dh_words: *const f32 = match T::PER_WORD {
                1 => dh.cast(),
                _ => {
                    pad_words::<T, L>(scratch.dh_words.as_mut_ptr(), s.spread, words);
                    scratch.dh_words.as_ptr()
                }
            };
            let extent = Extent {
                rows: s.c,
                k: summed::<T, L>(words),
                cols: s.padded,
            };
            for (left, right, to) in [
                (&scratch.du_columns, scratch.calibrated.as_ptr(), &mut sums.w2),
                (&scratch.normalised_columns, dh_words, &mut sums.w1),
            ] {
                let mut epilogue = Accumulate {
                    c: to.as_mut_ptr(),
                    stride: s.padded,
                    is_first: sums.is_empty,
                };
                let left = left.left::<T, L>(words);
                let right = Right::in_place::<L>(right, s.spread);
                whole::<T, L, _>(extent, left, right, &mut epilogue);
            }
            sums.is_empty = false;
            let dd = self.dd.at(first_row * s.c);
            let extent = Extent {
                rows,
                k: self.w1.words,
                cols: s.c,
            };
            let mut epilogue = Store {
                c: dd,
                bias: std::ptr::null(),
                stride: s.c,
            };
            let right = Right::packed::<L>(self.w1.start(), self.w1.words);
            whole::<T, L, _>(extent, Left::rows(dh, s.spread), right, &mut epilogue);
            for row in 0..rows {
                let (g, rstd) = (dd.add(row * s.c), self.saved.rstd[first_row + row]);
                normalise_backward::<T, f32, L>(g, normalised.add(row * s.row), rstd, g, s.c);
            }
            add_rows::<f32, L>(dd, s.c, rows, s.c, sums.dw_bias.as_mut_ptr());
        }
    }

    /// Depthwise backward: taps and input.
    #[inline(always)]
    unsafe fn to_input<L: Lanes>(&self, group: &Group, halos: &mut [Halo], sums: &mut Sums) {
        let s = self.job.sizes;
        let halos = &mut halos[..group.tiles.len()];
        for (halo, tile) in halos.iter_mut().zip(group.tiles.clone()) {
            halo.set(self.job.layout, tile);
        }
        // SAFETY: rows of the group are written, `dd` of its images read; `sums` are this thread's.
        unsafe {
            let dd = self.dd.at(group.first_row(s) * s.c);
            weight_gradient::<T, L>(halos, self.x.as_ptr(), dd, s.c, sums.taps.as_mut_ptr());
            for (halo, tile) in halos.iter().zip(group.tiles.clone()) {
                let offset = tile * s.positions() * s.c;
                let beside = Start {
                    from: self.dy.as_ptr().add(offset),
                    stride: s.c,
                };
                let (all, dx) = (self.dd.at(0).cast_const(), self.dx.at(offset));
                convolve_tile::<f32, T, T, L>(halo, all, self.taps.as_ptr(), s.c, beside, dx);
            }
        }
    }
}
