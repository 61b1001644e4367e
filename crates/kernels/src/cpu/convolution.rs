//! The depthwise convolution by itself, for blocks that are composed of single operations.

use std::ops::Range;

use fcmae_masking::VisibleLayout;
use fcmae_torch_ext::{Backward, attach};
use tch::{Kind, Tensor};

use super::buffer::Buffer;
use super::depthwise::{Halo, Start, convolve_tile, taps_first, weight_gradient};
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::number::{Bf16, Number};
use super::plan::{Shared, chunks, on_threads};
use super::rows::add_rows;
use super::tensor::{fresh, is_plain, numbers, numbers_mut};
use crate::profile;

/// The 7×7 convolution of each channel of packed tiles `[V, p, p, C]`; `None` where this path does not apply.
pub(crate) fn depthwise(
    isa: Isa,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    layout: &VisibleLayout,
) -> Option<Tensor> {
    let x = x.contiguous();
    let (v, p, _, c) = x.size4().ok()?;
    let fits = v as usize == layout.rows()
        && weight.size() == [c, 1, 7, 7]
        && bias.size() == [c]
        && [weight, bias].iter().all(|t| is_plain(t, Kind::Float));
    let job = Job {
        isa,
        layout: layout.clone(),
        p: p as usize,
        c: c as usize,
        threads: tch::get_num_threads().max(1) as usize,
    };
    match x.kind() {
        kind if !fits || !is_plain(&x, kind) => None,
        Kind::Float => Some(run::<f32>(job, &x, weight, bias)),
        Kind::BFloat16 => Some(run::<Bf16>(job, &x, weight, bias)),
        _ => None,
    }
}

fn run<T: Number>(job: Job, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let y = tch::no_grad(|| {
        let mut y = fresh(&x.size(), T::KIND);
        let taps = taps_first(numbers(weight), job.c, false);
        let (x, bias) = (numbers(x), numbers(bias));
        let to = Shared::new(numbers_mut(&mut y));
        on_threads(job.isa, job.threads, |thread| Forward::<T> {
            job: &job,
            tiles: job.share(thread),
            x,
            taps: &taps,
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

struct Job {
    isa: Isa,
    layout: VisibleLayout,
    /// Side of a tile.
    p: usize,
    c: usize,
    threads: usize,
}

impl Job {
    /// The tiles of a thread.
    fn share(&self, thread: usize) -> Range<usize> {
        let tiles = self.layout.rows();
        tiles * thread / self.threads..tiles * (thread + 1) / self.threads
    }

    /// Numbers of a tile.
    fn tile(&self) -> usize {
        self.p * self.p * self.c
    }

    /// Tiles whose rows stay in cache while every row of taps passes over them.
    fn together(&self) -> usize {
        (256 / (self.p * self.p).max(1)).max(1)
    }
}

struct Forward<'a, T> {
    job: &'a Job,
    tiles: Range<usize>,
    x: &'a [T],
    taps: &'a [f32],
    bias: &'a [f32],
    y: Shared<T>,
}

impl<T: Number> Kernel for Forward<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let Job { layout, p, c, .. } = self.job;
        let mut halo = Halo::new(*p);
        let start = Start {
            from: self.bias.as_ptr(),
            stride: 0,
        };
        for tile in self.tiles {
            halo.set(layout, tile);
            // SAFETY: this thread's tiles; the halo names tiles of `x`.
            unsafe {
                let y = self.y.at(tile * self.job.tile());
                convolve_tile::<T, f32, T, L>(&halo, self.x.as_ptr(), self.taps.as_ptr(), *c, start, y);
            }
        }
    }
}

/// What a thread adds up.
struct Sums {
    /// `[49, C]`.
    taps: Buffer<f32>,
    /// `[C]`.
    bias: Buffer<f32>,
}

struct Backwards<'a, T> {
    job: &'a Job,
    tiles: Range<usize>,
    x: &'a [T],
    dy: &'a [f32],
    /// Taps turned by 180°.
    taps: &'a [f32],
    zeros: &'a [f32],
    dx: Shared<T>,
    sums: *mut Sums,
}

impl<T: Number> Kernel for Backwards<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let (job, c) = (self.job, self.job.c);
        let mut halos: Vec<Halo> = (0..job.together()).map(|_| Halo::new(job.p)).collect();
        // SAFETY: this thread's own.
        let sums = unsafe { &mut *self.sums };
        let start = Start {
            from: self.zeros.as_ptr(),
            stride: 0,
        };
        for tiles in chunks(self.tiles, job.together()) {
            let halos = &mut halos[..tiles.len()];
            for (halo, tile) in halos.iter_mut().zip(tiles.clone()) {
                halo.set(&job.layout, tile);
            }
            // SAFETY: this thread's tiles are written; halos name tiles of `x` and `dy`; sums have `49·C` and `C`
            // numbers.
            unsafe {
                let all = self.dy.as_ptr();
                let dy = all.add(tiles.start * job.tile());
                let rows = tiles.len() * job.p * job.p;
                add_rows::<f32, L>(dy, c, rows, c, sums.bias.as_mut_ptr());
                weight_gradient::<T, L>(halos, self.x.as_ptr(), dy, c, sums.taps.as_mut_ptr());
                for (halo, tile) in halos.iter().zip(tiles) {
                    let dx = self.dx.at(tile * job.tile());
                    convolve_tile::<f32, f32, T, L>(halo, all, self.taps.as_ptr(), c, start, dx);
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
        let job = &self.job;
        profile::span(
            || format!("depthwise {}, backward", job.c),
            || {
                let [x, weight, _] = inputs else {
                    return Err("a convolution has three inputs".into());
                };
                let grad = grad.to_kind(Kind::Float).contiguous();
                let mut dx = fresh(&x.size(), T::KIND);
                let zeros = |_| Sums {
                    taps: Buffer::zeros(49 * job.c),
                    bias: Buffer::zeros(job.c),
                };
                let mut sums: Vec<Sums> = (0..job.threads).map(zeros).collect();
                let taps = taps_first(numbers(weight), job.c, true);
                {
                    let (x, dy, zeros) = (numbers(x), numbers(&grad), vec![0.0; job.c]);
                    let (own, to) = (Shared::new(&mut sums), Shared::new(numbers_mut(&mut dx)));
                    on_threads(job.isa, job.threads, |thread| Backwards::<T> {
                        job,
                        tiles: job.share(thread),
                        x,
                        dy,
                        taps: &taps,
                        zeros: &zeros,
                        dx: to,
                        // SAFETY: one `Sums` per thread.
                        sums: unsafe { own.at(thread) },
                    });
                }
                let total = |of: fn(&Sums) -> &[f32], i: usize| sums.iter().map(|sums| of(sums)[i]).sum();
                let dw: Vec<f32> = (0..job.c)
                    .flat_map(|c| (0..49).map(move |t| t * job.c + c))
                    .map(|i| total(|sums| &sums.taps, i))
                    .collect();
                let db: Vec<f32> = (0..job.c).map(|c| total(|sums| &sums.bias, c)).collect();
                Ok(vec![
                    Some(dx),
                    Some(Tensor::from_slice(&dw).view_as(weight)),
                    Some(Tensor::from_slice(&db)),
                ])
            },
        )
    }
}
