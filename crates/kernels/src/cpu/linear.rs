//! Linear maps of rows, wherever the rows lie: plain rows, the stem's patches of pixels, downsampling's 2×2 positions.
//!
//! Threads take equal, contiguous shares of the rows, and a share is cut into chunks that stay in cache. Each thread
//! adds the weight gradient of its rows in a buffer of its own; they are joined in the order of the threads.

use std::ops::Range;

use fcmae_torch_ext::{Backward, attach, parallel_for};
use tch::{Kind, Tensor};

use super::buffer::Buffer;
use super::columns::{Columns, pad_words, summed};
use super::epilogue::{Accumulate, Store};
use super::gemm::{Extent, Left, Right, spread, whole};
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::number::{Bf16, Number};
use super::pack::{Matrix, Packed};
use super::plan::{Shared, chunks, on_threads};
use super::rows::{add_rows, pad, pair_rows, scale_rows};
use super::tensor::{fresh, is_plain, numbers, numbers_mut};
use crate::profile;

/// Rows of a chunk.
const CHUNK: usize = 512;

/// Which numbers of a tensor are the rows of a product.
///
/// # Safety
/// `read` and `write` touch numbers inside the tensor that [`size`](Rows::size) describes, for rows below
/// [`count`](Rows::count); different rows of `write` are disjoint.
pub(super) unsafe trait Rows: Send + Sync + 'static {
    /// Numbers of the tensor.
    fn size(&self) -> usize;
    /// Number of rows.
    fn count(&self) -> usize;
    /// Numbers per row, `K`.
    fn width(&self) -> usize;
    /// Name of the operation in a profile, from the widths before and after.
    fn name(&self, outputs: usize) -> String;
    /// Copies a row of `x` to `to`.
    unsafe fn read<T: Number>(&self, x: *const T, row: usize, to: *mut T);
    /// Copies a row's gradient to its place in `dx`.
    unsafe fn write<T: Number>(&self, from: *const T, row: usize, dx: *mut T);
}

/// `x·Wᵀ + b` of rows in the last axis; `out` is the result's shape. `None` where this path does not apply.
pub(super) fn linear<R: Rows>(
    isa: Isa,
    rows: R,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    out: &[i64],
) -> Option<Tensor> {
    let (weight, bias) = (weight.contiguous(), bias.contiguous());
    let x = x.contiguous();
    let fits = is_plain(&weight, Kind::Float) && is_plain(&bias, Kind::Float) && is_plain(&x, x.kind());
    match x.kind() {
        Kind::Float if fits => Some(run::<f32, R>(isa, rows, &x, &weight, &bias, out)),
        Kind::BFloat16 if fits => Some(run::<Bf16, R>(isa, rows, &x, &weight, &bias, out)),
        _ => None,
    }
}

fn run<T: Number, R: Rows>(
    isa: Isa,
    rows: R,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    out: &[i64],
) -> Tensor {
    let (o, k) = weight.size2().expect("weights are [O, K]");
    let job = Job {
        isa,
        rows,
        k: k as usize,
        o: o as usize,
        threads: tch::get_num_threads().max(1) as usize,
    };
    assert_eq!(
        job.rows.width(),
        job.k,
        "numbers per row and columns of the weights"
    );
    assert_eq!(job.rows.size(), x.numel(), "numbers that rows are read from");
    assert_eq!(bias.numel(), job.o, "numbers in the bias of {o} outputs");
    let y = tch::no_grad(|| {
        let mut y = fresh(out, T::KIND);
        assert_eq!(y.numel(), job.rows.count() * job.o, "numbers of the result");
        job.forward::<T>(numbers(x), numbers(weight), numbers(bias), numbers_mut(&mut y));
        y
    });
    let node = Node::<T, R> {
        job,
        kind: std::marker::PhantomData,
    };
    attach(&[x, weight, bias], y, Box::new(node)).expect("a fresh tensor takes a history")
}

/// A linear map from `k` to `o` numbers.
struct Job<R> {
    isa: Isa,
    rows: R,
    k: usize,
    o: usize,
    threads: usize,
}

/// What a thread adds up.
struct Sums {
    /// `[O, K]`.
    weight: Buffer<f32>,
    /// `[O]`.
    bias: Buffer<f32>,
}

impl<R: Rows> Job<R> {
    /// The rows of a thread.
    fn share(&self, thread: usize) -> Range<usize> {
        let rows = self.rows.count();
        rows * thread / self.threads..rows * (thread + 1) / self.threads
    }

    /// Rows of the largest chunk.
    fn chunk(&self) -> usize {
        self.rows.count().div_ceil(self.threads).clamp(1, CHUNK)
    }

    fn forward<T: Number>(&self, x: &[T], weight: &[f32], bias: &[f32], y: &mut [T]) {
        let packed = Packed::new::<T>(self.isa, self.k, self.k, self.o, Matrix::transposed(weight));
        let y = Shared::new(y);
        on_threads(self.isa, self.threads, |thread| Forward {
            job: self,
            rows: self.share(thread),
            x,
            packed: &packed,
            bias,
            y,
        });
    }

    /// Gradients of `x` (where there is room for it), weight and bias.
    fn backward<T: Number>(
        &self,
        x: &[T],
        weight: &[f32],
        dy: &[T],
        dx: Option<&mut [T]>,
        d_weight: &mut [f32],
        d_bias: &mut [f32],
    ) {
        let packed = dx.as_ref().map(|_| {
            let rows = self.o.next_multiple_of(T::PER_WORD);
            Packed::new::<T>(self.isa, self.o, rows, self.k, Matrix::new(weight))
        });
        let has_rows = |thread| !self.share(thread).is_empty();
        let room = |n, has_rows| {
            if has_rows {
                Buffer::new(n)
            } else {
                Buffer::zeros(n)
            }
        };
        let mut sums: Vec<Sums> = (0..self.threads)
            .map(|thread| Sums {
                weight: room(self.o * self.k, has_rows(thread)),
                bias: Buffer::zeros(self.o),
            })
            .collect();
        let own = Shared::new(&mut sums);
        let dx = dx.map(Shared::new);
        on_threads(self.isa, self.threads, |thread| Backwards {
            job: self,
            rows: self.share(thread),
            x,
            dy,
            dx: dx.zip(packed.as_ref()),
            // SAFETY: one `Sums` per thread.
            sums: unsafe { own.at(thread) },
        });
        join(&sums, |sums| &sums.weight, d_weight);
        join(&sums, |sums| &sums.bias, d_bias);
    }
}

/// Sums of all threads, in their order.
fn join(sums: &[Sums], of: impl Fn(&Sums) -> &[f32] + Sync, to: &mut [f32]) {
    const PART: usize = 1 << 14;
    let n = to.len();
    let to = Shared::new(to);
    parallel_for(n.div_ceil(PART), |part| {
        let range = part * PART..((part + 1) * PART).min(n);
        // SAFETY: the part of this task alone.
        let to = unsafe { std::slice::from_raw_parts_mut(to.at(range.start), range.len()) };
        to.fill(0.0);
        for sums in sums {
            let from = &of(sums)[range.clone()];
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    });
}

/// One thread's rows forward.
struct Forward<'a, T, R> {
    job: &'a Job<R>,
    rows: Range<usize>,
    x: &'a [T],
    packed: &'a Packed,
    bias: &'a [f32],
    y: Shared<T>,
}

impl<T: Number, R: Rows> Kernel for Forward<'_, T, R> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Job { k, o, .. } = *self.job;
        let width = k.next_multiple_of(T::PER_WORD);
        let mut scratch: Buffer<T> = Buffer::new(self.job.chunk() * width);
        for chunk in chunks(self.rows, self.job.chunk()) {
            let extent = Extent {
                rows: chunk.len(),
                k: self.packed.words,
                cols: o,
            };
            // SAFETY: rows of this thread; sizes were checked in `run`; scratch holds a chunk.
            unsafe {
                let to = scratch.as_mut_ptr();
                for (i, row) in chunk.clone().enumerate() {
                    self.job.rows.read(self.x.as_ptr(), row, to.add(i * width));
                    pad(to.add(i * width), k, width);
                }
                let mut epilogue = Store {
                    c: self.y.at(chunk.start * o),
                    bias: self.bias.as_ptr(),
                    stride: o,
                };
                let right = Right::packed::<L>(self.packed.start(), self.packed.words);
                whole::<T, L, _>(extent, Left::rows(to.cast_const(), width), right, &mut epilogue);
            }
        }
    }
}

/// One thread's rows backward.
struct Backwards<'a, T, R> {
    job: &'a Job<R>,
    rows: Range<usize>,
    x: &'a [T],
    dy: &'a [T],
    /// Where the gradient of `x` goes and the weights for it.
    dx: Option<(Shared<T>, &'a Packed)>,
    sums: *mut Sums,
}

impl<T: Number, R: Rows> Kernel for Backwards<'_, T, R> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Job { k, o, .. } = *self.job;
        let (width, dy_width) = (k.next_multiple_of(T::PER_WORD), o.next_multiple_of(T::PER_WORD));
        let rows = self.job.chunk();
        let words = rows.div_ceil(T::PER_WORD);
        let mut x: Buffer<T> = Buffer::new(rows * width);
        let mut x_words: Buffer<f32> = Buffer::new(summed::<T, L>(words) * spread(k));
        let mut dy_columns = Columns::new::<T, L>(o, words);
        let mut padded: Buffer<T> = Buffer::new(if o == dy_width { 0 } else { rows * dy_width });
        // SAFETY: this thread's own.
        let sums = unsafe { &mut *self.sums };
        let mut is_first = true;
        for chunk in chunks(self.rows, rows) {
            let (rows, words) = (chunk.len(), chunk.len().div_ceil(T::PER_WORD));
            // SAFETY: rows of this thread; sizes were checked in `run`; scratch holds a chunk.
            unsafe {
                let dy = self.dy.as_ptr().add(chunk.start * o);
                add_rows::<T, L>(dy, o, rows, o, sums.bias.as_mut_ptr());
                let to = x.as_mut_ptr();
                for (i, row) in chunk.clone().enumerate() {
                    self.job.rows.read(self.x.as_ptr(), row, to.add(i * width));
                }
                pair_rows::<T, L>(x.as_ptr(), width, rows, k, x_words.as_mut_ptr(), spread(k));
                pad_words::<T, L>(x_words.as_mut_ptr(), spread(k), words);
                dy_columns.set::<T, L>(dy, o, rows, 1);
                let mut epilogue = Accumulate {
                    c: sums.weight.as_mut_ptr(),
                    stride: k,
                    is_first,
                };
                let extent = Extent {
                    rows: o,
                    k: summed::<T, L>(words),
                    cols: k,
                };
                let left = dy_columns.left::<T, L>(words);
                let right = Right::in_place::<L>(x_words.as_ptr(), spread(k));
                whole::<T, L, _>(extent, left, right, &mut epilogue);
                is_first = false;

                let Some((dx, packed)) = self.dx else { continue };
                let left = if o == dy_width {
                    Left::rows(dy, o)
                } else {
                    scale_rows::<T, L>(dy, 1.0, padded.as_mut_ptr(), dy_width, rows, o);
                    Left::rows(padded.as_ptr(), dy_width)
                };
                let extent = Extent {
                    rows,
                    k: packed.words,
                    cols: k,
                };
                let mut epilogue = Store {
                    c: to,
                    bias: std::ptr::null(),
                    stride: k,
                };
                let right = Right::packed::<L>(packed.start(), packed.words);
                whole::<T, L, _>(extent, left, right, &mut epilogue);
                for (i, row) in chunk.enumerate() {
                    self.job.rows.write(to.cast_const().add(i * k), row, dx.at(0));
                }
            }
        }
    }
}

struct Node<T, R> {
    job: Job<R>,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number, R: Rows> Backward for Node<T, R> {
    fn backward(&self, inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
        let name = || format!("{}, backward", self.job.rows.name(self.job.o));
        profile::span(name, || {
            let [x, weight, bias] = inputs else {
                return Err("a linear map has three inputs".into());
            };
            let grad = grad.to_kind(T::KIND).contiguous();
            let mut dx = x.requires_grad().then(|| fresh(&x.size(), T::KIND));
            let mut d_weight = fresh(&weight.size(), Kind::Float);
            let mut d_bias = fresh(&bias.size(), Kind::Float);
            self.job.backward::<T>(
                numbers(x),
                numbers(weight),
                numbers(&grad),
                dx.as_mut().map(numbers_mut),
                numbers_mut(&mut d_weight),
                numbers_mut(&mut d_bias),
            );
            Ok(vec![dx, Some(d_weight), Some(d_bias)])
        })
    }
}
