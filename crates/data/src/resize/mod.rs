//! Bicubic resizing with antialiasing, to the byte as Pillow does it.
//!
//! Two passes, horizontal first; weights in 22-bit fixed point; sums in `i32`; 8 bits between the
//! passes; a pass that would change nothing is left out. The kernel is Keys' cubic with a = −0.5,
//! stretched by the scale when shrinking. (Pillow up to 12 always did this, Pillow 13 takes the vertical
//! pass first where that is cheaper and there rounds differently; the fixed order is the one kept.)
//!
//! Both inner loops run over [`LANES`] neighbouring bytes whose sums stay in registers; for the horizontal
//! pass a strip of [`LANES`] rows is turned first, so that neighbours in memory are the same column of
//! different rows.

mod taps;
mod turn;

use crate::image::{Image, Rect};

use taps::{Axis, PRECISION, Taps};
use turn::{TURN, turn_in, turn_out};

/// Bytes that one inner loop sums side by side.
const LANES: usize = 32;

/// A result is made in parts where a strip of rows, or what lies between the passes, would have more bytes than this
/// and than the image. Photographs stay far below; a picture of one column, made wider, would take hundreds of times
/// its own bytes.
const BETWEEN: usize = 64 << 20;

/// Cuts `crop` out of `image` and resizes it to `out_width` × `out_height`: the bytes of Pillow's
/// `image.crop(…).resize((out_width, out_height), BICUBIC)`, and so of torchvision's `resized_crop`.
///
/// # Panics
/// When `crop` is empty or not inside the image, or an output side is 0.
#[must_use]
pub fn resize_bicubic(image: &Image, crop: Rect, out_width: usize, out_height: usize) -> Image {
    let all = Rect {
        left: 0,
        top: 0,
        width: out_width,
        height: out_height,
    };
    resize_window(image, crop, [out_width, out_height], all)
}

/// The part `window` of what [`resize_bicubic`] makes, to the byte; nothing else is computed.
///
/// # Panics
/// When `crop` is not inside the image, `window` not inside the result, or either is empty.
pub(crate) fn resize_window(image: &Image, crop: Rect, out: [usize; 2], window: Rect) -> Image {
    resize_within(image, crop, out, window, BETWEEN.max(image.pixels().len()))
}

fn resize_within(image: &Image, crop: Rect, out: [usize; 2], window: Rect, between: usize) -> Image {
    image.assert_inside(crop);
    let [out_width, out_height] = out;
    assert!(
        window.width > 0
            && window.height > 0
            && window.left + window.width <= out_width
            && window.top + window.height <= out_height,
        "resizing to {window:?} of {out_width}×{out_height}"
    );
    let across = Axis {
        size: crop.width,
        out: out_width,
        window: window.left..window.left + window.width,
    };
    let down = Axis {
        size: crop.height,
        out: out_height,
        window: window.top..window.top + window.height,
    };
    let (columns, rows) = (across.reads(), down.reads());
    let read = Rect {
        left: crop.left + columns.start,
        top: crop.top + rows.start,
        width: columns.len(),
        height: rows.len(),
    };
    let channels = image.channels();
    let is_wide = LANES * read.width * channels > between;
    let is_tall = read.height * (window.width * channels).next_multiple_of(LANES) > between;
    // Parts side by side read next to nothing twice; below a block, narrower ones take no less.
    let side_by_side = window.width > 1 && (is_wide || is_tall && window.width * channels > LANES);
    if side_by_side || is_tall && window.height > 1 {
        let half = |part| (part, resize_within(image, crop, out, part, between));
        return join(window, channels, halves(window, side_by_side).map(half));
    }
    // Compiled for each level of the CPU's instructions; the best one it has is taken.
    let arch = pulp::Arch::new();
    let rows = match &Taps::new(&across) {
        None => Rows::copied(image, read),
        Some(taps) => arch.dispatch(Horizontal {
            image,
            crop: read,
            taps,
        }),
    };
    let pixels = match &Taps::new(&down) {
        None => rows.trimmed(),
        Some(taps) => arch.dispatch(Vertical { rows: &rows, taps }),
    };
    Image::new(window.width, window.height, channels, pixels)
}

/// The window in two, side by side or one below the other.
fn halves(window: Rect, side_by_side: bool) -> [Rect; 2] {
    let (mut first, mut second) = (window, window);
    if side_by_side {
        first.width /= 2;
        second.width -= first.width;
        second.left += first.width;
    } else {
        first.height /= 2;
        second.height -= first.height;
        second.top += first.height;
    }
    [first, second]
}

/// One image of parts that cover `window`.
fn join(window: Rect, channels: usize, parts: [(Rect, Image); 2]) -> Image {
    let stride = window.width * channels;
    let mut pixels = vec![0; stride * window.height];
    for (place, part) in parts {
        let start = (place.top - window.top) * stride + (place.left - window.left) * channels;
        let rows = pixels[start..].chunks_mut(stride);
        for (row, from) in rows.zip(part.pixels().chunks_exact(part.stride())) {
            row[..from.len()].copy_from_slice(from);
        }
    }
    Image::new(window.width, window.height, channels, pixels)
}

/// Rows of bytes in blocks of [`LANES`], the last block of a row padded.
struct Rows {
    width: usize,
    blocks: usize,
    data: Vec<[u8; LANES]>,
}

impl Rows {
    fn new(width: usize, height: usize) -> Rows {
        let blocks = width.div_ceil(LANES);
        Rows {
            width,
            blocks,
            data: vec![[0; LANES]; blocks * height],
        }
    }

    fn row_mut(&mut self, y: usize) -> &mut [u8] {
        &mut self.data[y * self.blocks..(y + 1) * self.blocks].as_flattened_mut()[..self.width]
    }

    fn copied(image: &Image, crop: Rect) -> Rows {
        let mut rows = Rows::new(crop.width * image.channels(), crop.height);
        for y in 0..crop.height {
            rows.row_mut(y).copy_from_slice(image.row(crop.top + y, crop));
        }
        rows
    }

    fn trimmed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.data.len() / self.blocks * self.width);
        for row in self.data.chunks_exact(self.blocks) {
            bytes.extend_from_slice(&row.as_flattened()[..self.width]);
        }
        bytes
    }
}

/// The weighted sum of every `stride`-th block of `column`, rounded to bytes, [`LANES`] side by side.
#[inline(always)]
fn weighted(column: &[[u8; LANES]], stride: usize, weights: &[i32]) -> [u8; LANES] {
    let mut sums = [1 << (PRECISION - 1); LANES];
    for (blocks, &weight) in column.chunks(stride).zip(weights) {
        for (sum, &byte) in sums.iter_mut().zip(&blocks[0]) {
            *sum += weight * i32::from(byte);
        }
    }
    std::array::from_fn(|i| (sums[i] >> PRECISION).clamp(0, 255) as u8)
}

/// The horizontal pass over `crop`, a strip of [`LANES`] rows at a time.
struct Horizontal<'a> {
    image: &'a Image,
    crop: Rect,
    taps: &'a Taps,
}

impl pulp::NullaryFnOnce for Horizontal<'_> {
    type Output = Rows;

    #[inline(always)]
    fn call(self) -> Rows {
        let Horizontal { image, crop, taps } = self;
        let channels = image.channels();
        let mut out = Rows::new(taps.spans.len() * channels, crop.height);
        let mut strip = vec![[0u8; LANES]; (crop.width * channels).next_multiple_of(TURN)];
        let mut turned = vec![[0u8; LANES]; out.blocks * LANES];
        for top in (0..crop.height).step_by(LANES) {
            turn_in(image, crop, top, &mut strip);
            for (span, cells) in taps.spans.iter().zip(turned.chunks_exact_mut(channels)) {
                for (channel, cell) in cells.iter_mut().enumerate() {
                    let column = &strip[span.first * channels + channel..];
                    *cell = weighted(column, channels, taps.weights(span));
                }
            }
            turn_out(&turned, top, &mut out);
        }
        out
    }
}

/// The vertical pass, [`LANES`] bytes of one output row at a time.
struct Vertical<'a> {
    rows: &'a Rows,
    taps: &'a Taps,
}

impl pulp::NullaryFnOnce for Vertical<'_> {
    type Output = Vec<u8>;

    #[inline(always)]
    fn call(self) -> Vec<u8> {
        let Vertical { rows, taps } = self;
        let mut out = vec![0; rows.width * taps.spans.len()];
        for (span, row) in taps.spans.iter().zip(out.chunks_exact_mut(rows.width)) {
            for (block, bytes) in row.chunks_mut(LANES).enumerate() {
                let column = &rows.data[span.first * rows.blocks + block..];
                let sums = weighted(column, rows.blocks, taps.weights(span));
                bytes.copy_from_slice(&sums[..bytes.len()]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, one output byte at a time.
    fn naive(image: &Image, crop: Rect, out_width: usize, out_height: usize) -> Image {
        let along = |image: &Image, out: usize| {
            let axis = Axis {
                size: image.width(),
                out,
                window: 0..out,
            };
            let taps = Taps::new(&axis).unwrap();
            let mut pixels = Vec::new();
            for y in 0..image.height() {
                for span in &taps.spans {
                    for c in 0..image.channels() {
                        let sum: i64 = (0..span.len)
                            .map(|k| {
                                let at = (y * image.width() + span.first + k) * image.channels() + c;
                                i64::from(image.pixels()[at]) * i64::from(taps.weights[span.offset + k])
                            })
                            .sum();
                        pixels.push(((sum + (1 << 21)) >> 22).clamp(0, 255) as u8);
                    }
                }
            }
            Image::new(out, image.height(), image.channels(), pixels)
        };
        let mut image = image.crop(crop);
        if out_width != image.width() {
            image = along(&image, out_width);
        }
        if out_height != image.height() {
            image = along(&image.transpose(), out_height).transpose();
        }
        image
    }

    /// Hard to compress and full of black-white edges, so that sums overshoot.
    fn noise(width: usize, height: usize, channels: usize, seed: u64) -> Image {
        let mut stream = fcmae_random::Stream::new(seed, fcmae_random::Purpose::Verify, 0, 0);
        let pixels = (0..width * height * channels)
            .map(|_| match stream.below(4) {
                0 => 0,
                1 => 255,
                _ => stream.below(256) as u8,
            })
            .collect();
        Image::new(width, height, channels, pixels)
    }

    #[test]
    fn a_constant_image_stays_constant() {
        for value in [0, 1, 127, 254, 255] {
            let image = Image::new(50, 40, 3, vec![value; 50 * 40 * 3]);
            let out = resize_bicubic(&image, image.bounds(), 31, 77);
            assert!(out.pixels().iter().all(|&v| v == value));
        }
    }

    /// A part of `width` × `height`; each number of `cut` chooses among what is possible.
    fn part(width: usize, height: usize, cut: (f64, f64, f64, f64)) -> Rect {
        let (left, top) = ((cut.0 * width as f64) as usize, (cut.1 * height as f64) as usize);
        Rect {
            left,
            top,
            width: 1 + (cut.2 * (width - left - 1) as f64) as usize,
            height: 1 + (cut.3 * (height - top - 1) as f64) as usize,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_window_is_cut_out_of_the_whole(
            w in 1usize..90, h in 1usize..90, cut in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
            out_w in 1usize..120, out_h in 1usize..120, window in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
            between in 1usize..20_000, colour in any::<bool>(), seed in any::<u64>(),
        ) {
            let image = noise(w, h, if colour { 3 } else { 1 }, seed);
            let (crop, window) = (part(w, h, cut), part(out_w, out_h, window));
            let expected = naive(&image, crop, out_w, out_h).crop(window);
            prop_assert_eq!(&resize_window(&image, crop, [out_w, out_h], window), &expected);
            // However little lies between the passes.
            prop_assert_eq!(&resize_within(&image, crop, [out_w, out_h], window, between), &expected);
        }

        #[test]
        fn equals_the_definition(
            w in 1usize..90, h in 1usize..90, cut in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
            out_w in 1usize..70, out_h in 1usize..70, colour in any::<bool>(), seed in any::<u64>(),
        ) {
            let image = noise(w, h, if colour { 3 } else { 1 }, seed);
            let crop = part(w, h, cut);
            prop_assert_eq!(resize_bicubic(&image, crop, out_w, out_h), naive(&image, crop, out_w, out_h));
        }
    }
}
