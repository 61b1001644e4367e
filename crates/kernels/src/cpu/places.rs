//! The rows of linear maps: plain, the stem's pixels, downsampling's positions.

use fcmae_masking::VisibleLayout;
use tch::Tensor;

use super::isa::Isa;
use super::linear::{Rows, linear as product};
use super::number::Number;

/// Rows that follow each other.
struct Plain {
    count: usize,
    width: usize,
}

// SAFETY: row `i` is numbers `i·width .. (i + 1)·width` of `count·width`.
unsafe impl Rows for Plain {
    fn size(&self) -> usize {
        self.count * self.width
    }
    fn count(&self) -> usize {
        self.count
    }
    fn width(&self) -> usize {
        self.width
    }
    fn name(&self, outputs: usize) -> String {
        format!("linear {}-{outputs}", self.width)
    }
    #[inline(always)]
    unsafe fn read<T: Number>(&self, x: *const T, row: usize, to: *mut T) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(x.add(row * self.width), to, self.width) }
    }
    #[inline(always)]
    unsafe fn write<T: Number>(&self, from: *const T, row: usize, dx: *mut T) {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from, dx.add(row * self.width), self.width) }
    }
}

/// `x·Wᵀ + b` over the last axis; `None` where this path does not apply.
pub(crate) fn linear(isa: Isa, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let mut shape = x.size();
    let width = shape.pop()? as usize;
    shape.push(weight.size()[0]);
    let count = x.numel().checked_div(width).unwrap_or(0);
    product(isa, Plain { count, width }, x, weight, bias, &shape)
}

/// The 2×2 positions of packed tiles `[V, p, p, C]` in the order row, column, channel; `p` is even.
struct Quads {
    tiles: usize,
    p: usize,
    c: usize,
}

impl Quads {
    /// Where the upper two positions of a row begin, and the lower two.
    #[inline(always)]
    fn halves(&self, row: usize) -> [usize; 2] {
        let half = self.p / 2;
        let (tile, y, x) = (row / (half * half), row / half % half, row % half);
        let upper = ((tile * self.p + 2 * y) * self.p + 2 * x) * self.c;
        [upper, upper + self.p * self.c]
    }
}

// SAFETY: both positions of each half lie in tile `row / (p/2)²`; each position is in one row.
unsafe impl Rows for Quads {
    fn size(&self) -> usize {
        self.tiles * self.p * self.p * self.c
    }
    fn count(&self) -> usize {
        self.tiles * (self.p / 2) * (self.p / 2)
    }
    fn width(&self) -> usize {
        4 * self.c
    }
    fn name(&self, outputs: usize) -> String {
        format!("downsample {}-{outputs}", self.c)
    }
    #[inline(always)]
    unsafe fn read<T: Number>(&self, x: *const T, row: usize, to: *mut T) {
        for (i, place) in self.halves(row).into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { std::ptr::copy_nonoverlapping(x.add(place), to.add(i * 2 * self.c), 2 * self.c) }
        }
    }
    #[inline(always)]
    unsafe fn write<T: Number>(&self, from: *const T, row: usize, dx: *mut T) {
        for (i, place) in self.halves(row).into_iter().enumerate() {
            // SAFETY: the caller's.
            unsafe { std::ptr::copy_nonoverlapping(from.add(i * 2 * self.c), dx.add(place), 2 * self.c) }
        }
    }
}

/// The 2×2 stride-2 convolution of tiles `[V, p, p, C]`; `None` where this path does not apply.
pub(crate) fn downsample(isa: Isa, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Option<Tensor> {
    let (v, p, _, c) = x.size4().ok()?;
    if p % 2 != 0 {
        return None;
    }
    let quads = Quads {
        tiles: v as usize,
        p: p as usize,
        c: c as usize,
    };
    let d = weight.size()[0];
    // [d, C, 2, 2] → the order in which positions are read.
    let weight = weight.permute([0, 2, 3, 1]).reshape([d, 4 * c]);
    product(isa, quads, x, &weight, bias, &[v, p / 2, p / 2, d])
}

/// The stem's patches of the visible tiles of images `[N, C, H, W]`, in the order channel, row, column.
struct Pixels {
    layout: VisibleLayout,
    channels: usize,
    /// Side of a tile in positions.
    p: usize,
    /// Side of a position in pixels.
    stride: usize,
}

impl Pixels {
    fn height(&self) -> usize {
        self.layout.grid().rows * self.p * self.stride
    }

    fn width_of_image(&self) -> usize {
        self.layout.grid().cols * self.p * self.stride
    }

    /// Where a row's pixels begin in channel 0.
    #[inline(always)]
    fn start(&self, row: usize) -> usize {
        let grid = self.layout.grid();
        let (tile, y, x) = (row / (self.p * self.p), row / self.p % self.p, row % self.p);
        let flat = self.layout.visible()[tile] as usize;
        let (image, patch) = (flat / grid.patches(), flat % grid.patches());
        let top = (patch / grid.cols * self.p + y) * self.stride;
        let left = (patch % grid.cols * self.p + x) * self.stride;
        (image * self.channels * self.height() + top) * self.width_of_image() + left
    }
}

// SAFETY: a visible patch lies in its image; positions do not overlap.
unsafe impl Rows for Pixels {
    fn size(&self) -> usize {
        self.layout.images() * self.channels * self.height() * self.width_of_image()
    }
    fn count(&self) -> usize {
        self.layout.rows() * self.p * self.p
    }
    fn width(&self) -> usize {
        self.channels * self.stride * self.stride
    }
    fn name(&self, _outputs: usize) -> String {
        "stem".to_owned()
    }
    #[inline(always)]
    unsafe fn read<T: Number>(&self, images: *const T, row: usize, to: *mut T) {
        let (start, width, s) = (self.start(row), self.width_of_image(), self.stride);
        for channel in 0..self.channels {
            for y in 0..s {
                for x in 0..s {
                    // SAFETY: the caller's.
                    unsafe {
                        let pixel = *images.add(start + (channel * self.height() + y) * width + x);
                        *to.add((channel * s + y) * s + x) = pixel;
                    }
                }
            }
        }
    }
    #[inline(always)]
    unsafe fn write<T: Number>(&self, from: *const T, row: usize, images: *mut T) {
        let (start, width, s) = (self.start(row), self.width_of_image(), self.stride);
        for channel in 0..self.channels {
            for y in 0..s {
                for x in 0..s {
                    // SAFETY: the caller's.
                    unsafe {
                        let to = images.add(start + (channel * self.height() + y) * width + x);
                        *to = *from.add((channel * s + y) * s + x);
                    }
                }
            }
        }
    }
}

/// The stem's convolution on visible patches; `None` where this path does not apply, which includes images that
/// require a gradient and are not wholly visible (hidden pixels have a gradient of zero, which nobody writes here).
pub(crate) fn stem(
    isa: Isa,
    images: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    layout: &VisibleLayout,
) -> Option<Tensor> {
    let (_, channels, height, _) = images.size4().ok()?;
    let (d, c, s, _) = weight.size4().ok()?;
    let p = height as usize / layout.grid().rows.max(1) / s as usize;
    if c != channels || p == 0 || (images.requires_grad() && !layout.is_full()) {
        return None;
    }
    let pixels = Pixels {
        layout: layout.clone(),
        channels: channels as usize,
        p,
        stride: s as usize,
    };
    let side = p as i64;
    let shape = [layout.rows() as i64, side, side, d];
    product(isa, pixels, images, &weight.view([d, -1]), bias, &shape)
}
