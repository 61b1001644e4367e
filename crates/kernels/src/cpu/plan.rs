//! What forward and backward of a block share: sizes and the split of the work into threads and groups.

use std::ops::Range;

use fcmae_masking::VisibleLayout;
use fcmae_torch_ext::parallel_for;

use super::gemm::spread;
use super::isa::{Isa, Kernel, enter};
use super::number::Number;
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
    /// `c` rounded up to whole words: rows that a product reads.
    pub(super) row: usize,
    /// Width of the hidden layer, `4·C`.
    pub(super) h: usize,
    /// `h` rounded up to whole vectors: the padding stays zero from end to end.
    pub(super) padded: usize,
    /// Numbers per row of a gradient of the hidden layer, at least `padded`.
    pub(super) spread: usize,
    pub(super) isa: Isa,
}

impl Sizes {
    pub(super) fn new<T: Number>(layout: &VisibleLayout, p: usize, c: usize, isa: Isa) -> Sizes {
        let h = 4 * c;
        let padded = h.next_multiple_of(isa.lanes());
        Sizes {
            images: layout.images(),
            tiles: layout.visible_per_image(),
            p,
            c,
            row: c.next_multiple_of(T::PER_WORD),
            h,
            padded,
            spread: spread(padded),
            isa,
        }
    }

    /// Positions of a tile.
    pub(super) fn positions(&self) -> usize {
        self.p * self.p
    }

    /// Positions per image.
    pub(super) fn rows(&self) -> usize {
        self.tiles * self.positions()
    }

    /// Positions in all.
    pub(super) fn all_rows(&self) -> usize {
        self.images * self.rows()
    }

    /// Images that go through the matrix products together: enough rows to use a packed panel well, few enough to
    /// stay in cache.
    fn group(&self) -> usize {
        (304 / self.rows().max(1)).clamp(1, 8)
    }
}

/// Tiles that go through the matrix products together: whole images, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// Packed tiles, consecutive.
    pub(super) tiles: Range<usize>,
    /// The images, each with the same number of these tiles.
    pub(super) images: Range<usize>,
    /// Row of the first image's sums among those of all groups; the others follow.
    pub(super) slot: usize,
}

impl Group {
    /// Positions per image.
    pub(super) fn rows(&self, s: &Sizes) -> usize {
        self.all_rows(s) / self.images.len()
    }

    /// Positions of all images.
    pub(super) fn all_rows(&self, s: &Sizes) -> usize {
        self.tiles.len() * s.positions()
    }

    /// The first position.
    pub(super) fn first_row(&self, s: &Sizes) -> usize {
        self.tiles.start * s.positions()
    }
}

/// Who does what: the groups of each thread, in order. It depends on sizes and the number of threads alone.
#[derive(Debug)]
pub(super) struct Split {
    /// Per thread.
    pub(super) groups: Vec<Vec<Group>>,
    /// The image of each row of sums.
    pub(super) slots: Vec<usize>,
    /// Whether images are cut: then threads wait for each other wherever an image's sums are needed.
    pub(super) cuts_images: bool,
}

impl Split {
    pub(super) fn new(s: &Sizes, threads: usize) -> Split {
        let threads = threads.max(1);
        if s.images >= threads || s.tiles < 2 || s.images == 0 {
            Split::whole_images(s, threads)
        } else {
            Split::parts_of_images(s, threads)
        }
    }

    /// Equal, contiguous shares of the images.
    fn whole_images(s: &Sizes, threads: usize) -> Split {
        let threads = threads.clamp(1, s.images.max(1));
        let share = |t| s.images * t / threads..s.images * (t + 1) / threads;
        let group = |images: Range<usize>| Group {
            tiles: images.start * s.tiles..images.end * s.tiles,
            slot: images.start,
            images,
        };
        let groups = |images| chunks(images, s.group()).map(group).collect();
        Split {
            groups: (0..threads).map(share).map(groups).collect(),
            slots: (0..s.images).collect(),
            cuts_images: false,
        }
    }

    /// As many parts of each image as give every thread work.
    fn parts_of_images(s: &Sizes, threads: usize) -> Split {
        let parts = threads.div_ceil(s.images).min(s.tiles);
        let mut groups = vec![Vec::new(); threads];
        let mut slots = Vec::new();
        for image in 0..s.images {
            let first = image * s.tiles;
            for part in 0..parts {
                let slot = slots.len();
                groups[slot % threads].push(Group {
                    tiles: first + s.tiles * part / parts..first + s.tiles * (part + 1) / parts,
                    images: image..image + 1,
                    slot,
                });
                slots.push(image);
            }
        }
        Split {
            groups,
            slots,
            cuts_images: true,
        }
    }

    /// Positions of the largest group.
    pub(super) fn group_rows(&self, s: &Sizes) -> usize {
        let rows = |group: &Group| group.all_rows(s);
        self.groups.iter().flatten().map(rows).max().unwrap_or(0)
    }

    /// Tiles of the largest group.
    pub(super) fn group_tiles(&self) -> usize {
        let tiles = |group: &Group| group.tiles.len();
        self.groups.iter().flatten().map(tiles).max().unwrap_or(0)
    }
}

/// One call of the block: everything but the features.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) weights: &'a Weights<'a>,
    pub(super) layout: &'a VisibleLayout,
    pub(super) sizes: &'a Sizes,
    pub(super) split: &'a Split,
    pub(super) scope: GrnScope,
    /// DropPath's factor per image.
    pub(super) drop_path: Option<&'a [f32]>,
}

impl Job<'_> {
    /// Whether GRN's norm runs over the batch.
    fn couples_images(&self) -> bool {
        self.scope == GrnScope::Batch && self.weights.grn.is_some()
    }

    /// Whether threads wait for each other where an image's sums are needed.
    pub(super) fn waits(&self) -> bool {
        self.split.cuts_images || self.couples_images()
    }

    /// Sums of the groups, `[slots, padded]` → sums of each image, `[images, padded]`; in scope `batch` all are equal.
    pub(super) fn join(&self, parts: &[f32], images: &mut [f32]) {
        let width = self.sizes.padded;
        images.fill(0.0);
        for (part, &image) in parts.chunks_exact(width).zip(&self.split.slots) {
            let image = if self.couples_images() { 0 } else { image };
            let to = images[image * width..][..width].iter_mut();
            to.zip(part).for_each(|(to, part)| *to += part);
        }
        if self.couples_images() {
            let (first, others) = images.split_at_mut(width);
            others
                .chunks_exact_mut(width)
                .for_each(|to| to.copy_from_slice(first));
        }
    }
}

/// Cuts a range into chunks of at most `size`.
pub(super) fn chunks(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range
        .step_by(size.max(1))
        .map(move |first| first..(first + size).min(end))
}

/// A pointer that threads share while they write disjoint rows.
pub(super) struct Shared<T = f32>(*mut T);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        *self
    }
}

impl<T> Copy for Shared<T> {}

// SAFETY: every user writes rows of its own groups only, and reads what no other thread writes in the same phase.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(super) fn new(numbers: &mut [T]) -> Shared<T> {
        Shared(numbers.as_mut_ptr())
    }

    /// A place within.
    ///
    /// # Safety
    /// `offset` must lie within the buffer.
    pub(super) unsafe fn at(self, offset: usize) -> *mut T {
        // SAFETY: the caller's.
        unsafe { self.0.add(offset) }
    }
}

/// Runs one kernel per thread on libtorch's threads.
pub(super) fn on_threads<K: Kernel>(isa: Isa, threads: usize, kernel: impl Fn(usize) -> K + Sync) {
    parallel_for(threads, |task| enter(isa, kernel(task)));
}

#[cfg(test)]
mod tests {
    use fcmae_masking::PatchGrid;

    use super::*;

    fn sizes(images: usize, tiles: usize, p: usize) -> Sizes {
        let layout = VisibleLayout::full(images, PatchGrid { rows: 1, cols: tiles });
        Sizes::new::<f32>(&layout, p, 8, Isa::Portable)
    }

    /// Every tile is in exactly one group, and threads differ by one unit of work at most.
    #[test]
    fn a_split_covers_all_tiles_once() {
        for (images, tiles, threads) in [(5, 19, 2), (1, 49, 2), (1, 3, 8), (3, 7, 4), (2, 1, 4), (0, 4, 2)] {
            let s = sizes(images, tiles, 2);
            let split = Split::new(&s, threads);
            let mut all: Vec<usize> = split
                .groups
                .iter()
                .flatten()
                .flat_map(|g| g.tiles.clone())
                .collect();
            all.sort_unstable();
            assert_eq!(
                all,
                (0..images * tiles).collect::<Vec<_>>(),
                "{images} {tiles} {threads}"
            );
            for group in split.groups.iter().flatten() {
                let image = split.slots[group.slot];
                assert_eq!(image, group.images.start);
                assert_eq!(group.tiles.start / tiles, image);
            }
        }
    }

    #[test]
    fn few_images_are_cut_and_many_are_not() {
        let one = Split::new(&sizes(1, 49, 8), 2);
        assert!(one.cuts_images);
        assert_eq!(one.groups[0][0].tiles, 0..24);
        assert_eq!(one.groups[1][0].tiles, 24..49);
        assert!(!Split::new(&sizes(2, 49, 8), 2).cuts_images);
    }
}
