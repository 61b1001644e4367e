//! Targets, their normalisation, the masked loss and its gradient, in one pass over the hidden patches.

use std::ops::Range;

use fcmae_masking::VisibleLayout;
use fcmae_torch_ext::{Backward, attach, records};
use tch::{Device, Kind, Tensor};

use super::buffer::Buffer;
use super::isa::{Isa, Kernel};
use super::lanes::Lanes;
use super::number::{Bf16, Number};
use super::plan::{Shared, on_threads};
use super::rows::vectors;
use super::tensor::{fresh, is_plain, numbers, numbers_mut};
use crate::loss::TARGET_EPS;
use crate::profile;

/// The loss of `pred [N·(L−K), P·P·C]` on `images [N, C, H, W]`; `None` where this path does not apply.
pub(crate) fn masked_loss(
    isa: Isa,
    pred: &Tensor,
    images: &Tensor,
    layout: &VisibleLayout,
    norm_pix_loss: bool,
) -> Option<Tensor> {
    let (_, channels, height, width) = images.size4().ok()?;
    let patch = height / (layout.grid().rows.max(1) as i64);
    let values = (patch * patch * channels) as usize;
    let (pred, images) = (pred.contiguous(), images.contiguous());
    let fits = is_plain(&images, Kind::Float)
        && !images.requires_grad()
        && width == patch * layout.grid().cols as i64
        && values > 1
        && !layout.hidden().is_empty()
        && pred.numel() == layout.hidden().len() * values;
    let targets = Targets {
        layout,
        patch: patch as usize,
        channels: channels as usize,
        norm_pix_loss,
    };
    match pred.kind() {
        kind if !fits || !is_plain(&pred, kind) => None,
        Kind::Float => Some(run::<f32>(isa, &pred, &images, &targets)),
        Kind::BFloat16 => Some(run::<Bf16>(isa, &pred, &images, &targets)),
        _ => None,
    }
}

fn run<T: Number>(isa: Isa, pred: &Tensor, images: &Tensor, targets: &Targets) -> Tensor {
    let patches = targets.layout.hidden().len();
    let mut gradient = records(&[pred]).then(|| fresh(&pred.size(), T::KIND));
    let mut losses = vec![0.0f64; patches];
    {
        let (pred, images) = (numbers::<T>(pred), numbers(images));
        let to = gradient
            .as_mut()
            .map(|gradient| Shared::new(numbers_mut(gradient)));
        let sums = Shared::new(&mut losses);
        let threads = tch::get_num_threads().max(1) as usize;
        on_threads(isa, threads, |thread| Part {
            targets,
            patches: patches * thread / threads..patches * (thread + 1) / threads,
            pred,
            images,
            losses: sums,
            gradient: to,
        });
    }
    // In the order of patches: the sum depends on no thread.
    let loss = losses.iter().sum::<f64>() / (patches * targets.values()) as f64;
    let loss = tch::no_grad(|| Tensor::from(loss as f32)).to_device(Device::Cpu);
    match gradient {
        None => loss,
        Some(gradient) => {
            attach(&[pred], loss, Box::new(Node { gradient })).expect("a fresh tensor takes a history")
        }
    }
}

struct Targets<'a> {
    layout: &'a VisibleLayout,
    /// Side of a patch in pixels.
    patch: usize,
    channels: usize,
    norm_pix_loss: bool,
}

impl Targets<'_> {
    /// Numbers per patch.
    fn values(&self) -> usize {
        self.patch * self.patch * self.channels
    }

    /// Pixels of a hidden patch, channel fastest.
    #[inline(always)]
    unsafe fn read(&self, images: *const f32, hidden: usize, to: *mut f32) {
        let (grid, p, c) = (self.layout.grid(), self.patch, self.channels);
        let flat = self.layout.hidden()[hidden] as usize;
        let (image, at) = (flat / grid.patches(), flat % grid.patches());
        let (height, width) = (grid.rows * p, grid.cols * p);
        let (top, left) = (at / grid.cols * p, at % grid.cols * p);
        let plane = height * width;
        for row in 0..p {
            let start = image * c * plane + (top + row) * width + left;
            for col in 0..p {
                for channel in 0..c {
                    // SAFETY: the caller's: a patch of the layout lies in its image.
                    unsafe {
                        *to.add((row * p + col) * c + channel) = *images.add(start + channel * plane + col)
                    };
                }
            }
        }
    }
}

/// One thread's patches.
struct Part<'a, T> {
    targets: &'a Targets<'a>,
    patches: Range<usize>,
    pred: &'a [T],
    images: &'a [f32],
    /// Sum of squares per patch.
    losses: Shared<f64>,
    gradient: Option<Shared<T>>,
}

impl<T: Number> Kernel for Part<'_, T> {
    const HAS_PAIRS: bool = T::PER_WORD == 2;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let n = self.targets.values();
        let mut target: Buffer<f32> = Buffer::new(n);
        let count = (self.targets.layout.hidden().len() * n) as f32;
        for patch in self.patches {
            // SAFETY: patches of this thread; sizes were checked in `masked_loss`.
            unsafe {
                self.targets
                    .read(self.images.as_ptr(), patch, target.as_mut_ptr());
                let (mean, scale) = match self.targets.norm_pix_loss {
                    true => normalisation::<L>(&target),
                    false => (0.0, 1.0),
                };
                let mut squares = L::splat(0.0);
                let pred = self.pred.as_ptr().add(patch * n);
                for (at, len) in vectors::<L>(n) {
                    // Lanes beyond the patch get the mean, so that their target and their difference are zero.
                    let pixels = load_or::<L>(target.as_ptr().add(at), len, mean);
                    let wanted = L::mul(L::sub(pixels, L::splat(mean)), L::splat(scale));
                    let difference = L::sub(T::load_n::<L>(pred.add(at), len), wanted);
                    squares = L::fma(difference, difference, squares);
                    if let Some(gradient) = self.gradient {
                        let to = gradient.at(patch * n + at);
                        T::store_n::<L>(to, L::mul(difference, L::splat(2.0 / count)), len);
                    }
                }
                *self.losses.at(patch) = f64::from(L::sum(squares));
            }
        }
    }
}

/// The first `n` numbers, and `other` in the lanes after them.
#[inline(always)]
unsafe fn load_or<L: Lanes>(from: *const f32, n: usize, other: f32) -> L::V {
    // SAFETY: the caller's.
    unsafe {
        if n == L::N {
            return L::load(from);
        }
        let mut all = [other; 16];
        std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), n);
        L::load(all.as_ptr())
    }
}

/// Mean and `1 / √(var + 1e-6)` of a patch, with Bessel's correction.
#[inline(always)]
unsafe fn normalisation<L: Lanes>(pixels: &[f32]) -> (f32, f32) {
    let n = pixels.len();
    // SAFETY: the caller's CPU has `L`; vectors are inside the slice.
    unsafe {
        let mut sum = L::splat(0.0);
        for (at, len) in vectors::<L>(n) {
            sum = L::add(sum, load_or::<L>(pixels.as_ptr().add(at), len, 0.0));
        }
        let mean = L::sum(sum) / n as f32;
        let mut squares = L::splat(0.0);
        for (at, len) in vectors::<L>(n) {
            let centred = L::sub(load_or::<L>(pixels.as_ptr().add(at), len, mean), L::splat(mean));
            squares = L::fma(centred, centred, squares);
        }
        let variance = L::sum(squares) / (n - 1) as f32;
        (mean, 1.0 / (variance + TARGET_EPS as f32).sqrt())
    }
}

/// The gradient was computed with the loss.
struct Node {
    gradient: Tensor,
}

impl Backward for Node {
    fn backward(&self, _inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
        profile::span(
            || "loss, backward".to_owned(),
            || {
                let factor = grad.double_value(&[]);
                let gradient = match factor {
                    1.0 => self.gradient.shallow_clone(),
                    _ => &self.gradient * factor,
                };
                Ok(vec![Some(gradient)])
            },
        )
    }
}
