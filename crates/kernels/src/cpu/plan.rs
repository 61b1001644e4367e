//! What forward and backward share: sizes, folded and packed weights, the split into threads and groups.

use std::ops::Range;

use fcmae_masking::VisibleLayout;
use fcmae_torch_ext::parallel_for;

use super::gemm::pack_panel;
use super::isa::{Isa, Kernel, enter};
use super::lanes::Lanes;
use crate::grn::GrnScope;

/// A block's parameters as plain numbers.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) dw: &'a [f32],
    pub(super) dw_bias: &'a [f32],
    pub(super) norm: &'a [f32],
    pub(super) norm_bias: &'a [f32],
    pub(super) w1: &'a [f32],
    pub(super) b1: &'a [f32],
    /// GRN's gamma and beta, of V2.
    pub(super) grn: Option<(&'a [f32], &'a [f32])>,
    pub(super) w2: &'a [f32],
    pub(super) b2: &'a [f32],
    /// LayerScale, of V1.
    pub(super) scale: Option<&'a [f32]>,
}

impl Weights<'_> {
    /// Checks every length once: from here on, kernels trust them.
    ///
    /// # Panics
    /// When a parameter does not fit a block of width `C`.
    pub(super) fn check(&self, s: &Sizes) {
        let (c, h) = (s.c, s.h);
        let lengths = [
            ("dwconv weight", self.dw.len(), 49 * c),
            ("dwconv bias", self.dw_bias.len(), c),
            ("norm weight", self.norm.len(), c),
            ("norm bias", self.norm_bias.len(), c),
            ("pwconv1 weight", self.w1.len(), h * c),
            ("pwconv1 bias", self.b1.len(), h),
            ("pwconv2 weight", self.w2.len(), c * h),
            ("pwconv2 bias", self.b2.len(), c),
            ("GRN gamma", self.grn.map_or(h, |(gamma, _)| gamma.len()), h),
            ("GRN beta", self.grn.map_or(h, |(_, beta)| beta.len()), h),
            ("LayerScale gamma", self.scale.map_or(c, <[f32]>::len), c),
        ];
        for (name, got, expected) in lengths {
            assert_eq!(got, expected, "numbers in the {name} of a block of width {c}");
        }
    }

    /// LayerScale of channel `c`; 1 where there is none.
    pub(super) fn scale(&self, c: usize) -> f32 {
        self.scale.map_or(1.0, |scale| scale[c])
    }
}

/// The sizes of one call.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) images: usize,
    /// Tiles per image, `K`.
    pub(super) tiles: usize,
    /// Side of a tile.
    pub(super) p: usize,
    /// Width of the block, `C`.
    pub(super) c: usize,
    /// Width of the hidden layer, `4·C`.
    pub(super) h: usize,
    /// `h` rounded up to whole vectors: the padding stays zero from end to end.
    pub(super) padded: usize,
    pub(super) isa: Isa,
}

impl Sizes {
    pub(super) fn new(layout: &VisibleLayout, p: usize, c: usize, isa: Isa) -> Sizes {
        let h = 4 * c;
        let padded = h.next_multiple_of(isa.lanes());
        Sizes {
            images: layout.images(),
            tiles: layout.visible_per_image(),
            p,
            c,
            h,
            padded,
            isa,
        }
    }

    /// Positions per image.
    pub(super) fn rows(&self) -> usize {
        self.tiles * self.p * self.p
    }

    /// Positions in all.
    pub(super) fn all_rows(&self) -> usize {
        self.images * self.rows()
    }

    /// Images that go through the matrix products together: enough rows to use a packed panel well, few enough to
    /// stay in cache.
    pub(super) fn group(&self) -> usize {
        (304 / self.rows().max(1)).clamp(1, 8)
    }

    /// The images of each thread: equal, contiguous shares.
    pub(super) fn shares(&self, threads: usize) -> Vec<Range<usize>> {
        let threads = threads.clamp(1, self.images.max(1));
        (0..threads)
            .map(|t| self.images * t / threads..self.images * (t + 1) / threads)
            .collect()
    }
}

/// One call of the block: everything but the features.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) weights: &'a Weights<'a>,
    pub(super) layout: &'a VisibleLayout,
    pub(super) sizes: &'a Sizes,
    pub(super) scope: GrnScope,
    /// DropPath's factor per image.
    pub(super) drop_path: Option<&'a [f32]>,
    pub(super) threads: usize,
}

impl Job<'_> {
    /// Whether GRN's norm runs over the batch: then all images wait for each other between the two products.
    pub(super) fn couples_images(&self) -> bool {
        self.scope == GrnScope::Batch && self.weights.grn.is_some()
    }
}

/// Cuts a range into groups.
pub(super) fn groups(images: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = images.end;
    images
        .step_by(size.max(1))
        .map(move |first| first..(first + size).min(end))
}

/// A pointer that threads share while they write disjoint rows.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub(super) *mut f32);

// SAFETY: every user writes rows of its own images only (`Sizes::shares` are disjoint) and reads what no other
// thread writes in the same phase.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(numbers: &mut [f32]) -> Shared {
        Shared(numbers.as_mut_ptr())
    }

    /// A place within.
    ///
    /// # Safety
    /// `offset` must lie within the buffer.
    pub(super) unsafe fn at(self, offset: usize) -> *mut f32 {
        // SAFETY: the caller's.
        unsafe { self.0.add(offset) }
    }
}

/// A weight matrix packed for the right side of a product.
pub(super) struct Packed {
    pub(super) numbers: Vec<f32>,
    pub(super) k: usize,
}

impl Packed {
    /// Packs a `k × cols` matrix whose element is `value(k, col)`, in parallel.
    pub(super) fn new(isa: Isa, k: usize, cols: usize, value: impl Fn(usize, usize) -> f32 + Sync) -> Packed {
        let width = 3 * isa.lanes();
        let panels = cols.div_ceil(width);
        let mut numbers = vec![0.0; panels * k * width];
        let start = Shared::new(&mut numbers);
        parallel_for(panels, |panel| {
            // SAFETY: panel `panel` is `k·width` numbers of `numbers`, and no other task's.
            let to = unsafe { std::slice::from_raw_parts_mut(start.at(panel * k * width), k * width) };
            enter(
                isa,
                PackPanel {
                    to,
                    panel,
                    k,
                    cols,
                    value: &value,
                },
            );
        });
        Packed { numbers, k }
    }
}

struct PackPanel<'a, F> {
    to: &'a mut [f32],
    panel: usize,
    k: usize,
    cols: usize,
    value: &'a F,
}

impl<F: Fn(usize, usize) -> f32> Kernel for PackPanel<'_, F> {
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        pack_panel::<L>(self.to, self.panel, self.k, self.cols, self.value);
    }
}

/// Runs one kernel per share on libtorch's threads.
pub(super) fn each_share<K: Kernel>(
    isa: Isa,
    shares: &[Range<usize>],
    kernel: impl Fn(usize, Range<usize>) -> K + Sync,
) {
    parallel_for(shares.len(), |task| {
        enter(isa, kernel(task, shares[task].clone()))
    });
}
