//! LayerNorm over the last axis, statistics in f32.

use std::ops::Range;

use fcmae_torch_ext::{Backward, attach};
use tch::{Kind, Tensor};

use super::buffer::Buffer;
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::number::{Bf16, Number};
use super::plan::{Shared, on_threads};
use super::rows::{statistics, vectors};
use super::tensor::{fresh, is_plain, numbers, numbers_mut};
use crate::profile;

/// LayerNorm of `x [.., C]`; `None` where this path does not apply.
pub(crate) fn layer_norm(isa: Isa, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let x = x.contiguous();
    let c = *x.size().last()?;
    let fits = [weight, bias]
        .iter()
        .all(|t| is_plain(t, Kind::Float) && t.size() == [c]);
    match x.kind() {
        kind if !fits || c == 0 || !is_plain(&x, kind) => None,
        Kind::Float => Some(run::<f32>(isa, &x, weight, bias)),
        Kind::BFloat16 => Some(run::<Bf16>(isa, &x, weight, bias)),
        _ => None,
    }
}

fn run<T: Number>(isa: Isa, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let job = Job {
        isa,
        c: weight.numel(),
        rows: x.numel() / weight.numel(),
        threads: tch::get_num_threads().max(1) as usize,
    };
    let y = tch::no_grad(|| {
        let mut y = fresh(&x.size(), T::KIND);
        let (x, weight, bias) = (numbers::<T>(x), numbers(weight), numbers(bias));
        let to = Shared::new(numbers_mut(&mut y));
        on_threads(isa, job.threads, |thread| Forward {
            c: job.c,
            rows: job.share(thread),
            x,
            weight,
            bias,
            y: to,
        });
        y
    });
    let node = Node::<T> {
        job,
        kind: std::marker::PhantomData,
    };
    attach(&[x, weight, bias], y, Box::new(node)).expect("a fresh tensor takes a history")
}

#[derive(Clone, Copy)]
struct Job {
    isa: Isa,
    c: usize,
    rows: usize,
    threads: usize,
}

impl Job {
    /// The rows of a thread.
    fn share(&self, thread: usize) -> Range<usize> {
        self.rows * thread / self.threads..self.rows * (thread + 1) / self.threads
    }
}

struct Forward<'a, T> {
    c: usize,
    rows: Range<usize>,
    x: &'a [T],
    weight: &'a [f32],
    bias: &'a [f32],
    y: Shared<T>,
}

impl<T: Number> Kernel for Forward<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for row in self.rows {
            // SAFETY: rows of this thread; weight and bias have C numbers.
            unsafe {
                let (x, y) = (self.x.as_ptr().add(row * self.c), self.y.at(row * self.c));
                let (mean, rstd) = statistics::<T, L>(x, self.c);
                for (at, n) in vectors::<L>(self.c) {
                    let centred = L::sub(T::load_n::<L>(x.add(at), n), L::splat(mean));
                    let factor = L::mul(f32::load_n::<L>(self.weight.as_ptr().add(at), n), L::splat(rstd));
                    let shift = f32::load_n::<L>(self.bias.as_ptr().add(at), n);
                    T::store_n::<L>(y.add(at), L::fma(centred, factor, shift), n);
                }
            }
        }
    }
}

/// What a thread adds up, `[C]` each.
struct Sums {
    weight: Buffer<f32>,
    bias: Buffer<f32>,
}

struct Backwards<'a, T> {
    c: usize,
    rows: Range<usize>,
    x: &'a [T],
    dy: &'a [T],
    weight: &'a [f32],
    dx: Shared<T>,
    sums: *mut Sums,
}

impl<T: Number> Kernel for Backwards<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let c = self.c;
        // SAFETY: this thread's own.
        let sums = unsafe { &mut *self.sums };
        for row in self.rows {
            // SAFETY: rows of this thread; weight and sums have C numbers.
            unsafe {
                let (x, dy) = (self.x.as_ptr().add(row * c), self.dy.as_ptr().add(row * c));
                let (mean, rstd) = statistics::<T, L>(x, c);
                let (mean, rstd) = (L::splat(mean), L::splat(rstd));
                let (mut sum, mut dot) = (L::splat(0.0), L::splat(0.0));
                for (at, n) in vectors::<L>(c) {
                    let normalised = L::mul(L::sub(T::load_n::<L>(x.add(at), n), mean), rstd);
                    let dy = T::load_n::<L>(dy.add(at), n);
                    let g = L::mul(dy, f32::load_n::<L>(self.weight.as_ptr().add(at), n));
                    sum = L::add(sum, g);
                    dot = L::fma(g, normalised, dot);
                    let to = sums.weight.as_mut_ptr().add(at);
                    f32::store_n::<L>(to, L::fma(dy, normalised, f32::load_n::<L>(to, n)), n);
                    let to = sums.bias.as_mut_ptr().add(at);
                    f32::store_n::<L>(to, L::add(dy, f32::load_n::<L>(to, n)), n);
                }
                // Lanes beyond C hold `-mean·rstd` for the normalised value, but `g` is zero there.
                let mean_g = L::splat(L::sum(sum) / c as f32);
                let slope = L::splat(-L::sum(dot) / c as f32);
                let dx = self.dx.at(row * c);
                for (at, n) in vectors::<L>(c) {
                    let normalised = L::mul(L::sub(T::load_n::<L>(x.add(at), n), mean), rstd);
                    let dy = T::load_n::<L>(dy.add(at), n);
                    let g = L::mul(dy, f32::load_n::<L>(self.weight.as_ptr().add(at), n));
                    let g = L::fma(normalised, slope, L::sub(g, mean_g));
                    T::store_n::<L>(dx.add(at), L::mul(g, rstd), n);
                }
            }
        }
    }
}

struct Node<T> {
    job: Job,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number> Backward for Node<T> {
    fn backward(&self, inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
        let job = self.job;
        profile::span(
            || format!("layer norm {}, backward", job.c),
            || {
                let [x, weight, _] = inputs else {
                    return Err("LayerNorm has three inputs".into());
                };
                let grad = grad.to_kind(T::KIND).contiguous();
                let mut dx = fresh(&x.size(), T::KIND);
                let zeros = |_| Sums {
                    weight: Buffer::zeros(job.c),
                    bias: Buffer::zeros(job.c),
                };
                let mut sums: Vec<Sums> = (0..job.threads).map(zeros).collect();
                {
                    let (x, dy, weight) = (numbers(x), numbers(&grad), numbers(weight));
                    let (own, dx) = (Shared::new(&mut sums), Shared::new(numbers_mut(&mut dx)));
                    on_threads(job.isa, job.threads, |thread| Backwards::<T> {
                        c: job.c,
                        rows: job.share(thread),
                        x,
                        dy,
                        weight,
                        dx,
                        // SAFETY: one `Sums` per thread.
                        sums: unsafe { own.at(thread) },
                    });
                }
                let join = |of: fn(&Sums) -> &[f32]| {
                    let total = |c| sums.iter().map(|sums| of(sums)[c]).sum();
                    Some(Tensor::from_slice(&(0..job.c).map(total).collect::<Vec<f32>>()))
                };
                Ok(vec![Some(dx), join(|sums| &sums.weight), join(|sums| &sums.bias)])
            },
        )
    }
}
