//! Bicubic resizing with antialiasing, to the byte as Pillow does it.
//!
//! Two passes, horizontal first; weights in 22-bit fixed point; sums in `i32`; 8 bits between the
//! passes; a pass that would change nothing is left out. The kernel is Keys' cubic with a = −0.5,
//! stretched by the scale when shrinking. Both inner loops run over [`LANES`] neighbouring bytes whose
//! sums stay in registers; for the horizontal pass a strip of [`LANES`] rows is turned first, so that
//! neighbours in memory are the same column of different rows.

use crate::image::{Image, Rect};

/// Bytes that one inner loop sums side by side.
const LANES: usize = 32;

/// Bits behind the point of a weight: 32 for the sum, less 8 for the pixel and 2 for overshoot.
const PRECISION: u32 = 32 - 8 - 2;

/// Cuts `crop` out of `image` and resizes it to `out_width` × `out_height`: the bytes of Pillow's
/// `image.crop(…).resize((out_width, out_height), BICUBIC)`, and so of torchvision's `resized_crop`.
///
/// # Panics
/// When `crop` is empty or not inside the image, or an output side is 0.
#[must_use]
pub fn resize_bicubic(image: &Image, crop: Rect, out_width: usize, out_height: usize) -> Image {
    image.assert_inside(crop);
    assert!(
        out_width > 0 && out_height > 0,
        "resizing to {out_width}×{out_height}"
    );
    let channels = image.channels();
    let arch = pulp::Arch::new();
    let rows = Rows::new(out_width * channels, crop.height);
    let rows = if out_width == crop.width {
        rows.copied(image, crop)
    } else {
        let taps = Taps::new(crop.width, out_width);
        arch.dispatch(
            #[inline(always)]
            || horizontal(image, crop, &taps, rows),
        )
    };
    let pixels = if out_height == crop.height {
        rows.trimmed()
    } else {
        let taps = Taps::new(crop.height, out_height);
        arch.dispatch(
            #[inline(always)]
            || vertical(&rows, &taps),
        )
    };
    Image::new(out_width, out_height, channels, pixels)
}

/// What one output position reads: `weights[offset..offset + len]` on inputs `first..first + len`.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: usize,
    offset: usize,
    len: usize,
}

/// The weights of one axis.
struct Taps {
    spans: Vec<Span>,
    weights: Vec<i32>,
}

impl Taps {
    /// Weights for bringing `size` samples to `out` (Pillow's `precompute_coeffs`, operation by operation).
    fn new(size: usize, out: usize) -> Taps {
        let scale = size as f64 / out as f64;
        let stretch = scale.max(1.0);
        let (support, inverse) = (2.0 * stretch, 1.0 / stretch);
        let mut taps = Taps {
            spans: Vec::with_capacity(out),
            weights: Vec::new(),
        };
        let mut row = Vec::new();
        for i in 0..out {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(size);
            row.clear();
            row.extend((0..end - first).map(|k| cubic(((k + first) as f64 - centre + 0.5) * inverse)));
            taps.push(first, &row);
        }
        taps
    }

    /// Normalises one row of weights to a sum of 1 and rounds it to fixed point.
    fn push(&mut self, first: usize, row: &[f64]) {
        let total: f64 = row.iter().sum();
        self.spans.push(Span {
            first,
            offset: self.weights.len(),
            len: row.len(),
        });
        let fixed = |w: &f64| {
            let w = w / total * f64::from(1u32 << PRECISION);
            (w + 0.5f64.copysign(w)) as i32 // the cast truncates
        };
        self.weights.extend(row.iter().map(fixed));
    }
}

/// Keys' cubic convolution kernel with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
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

    fn copied(mut self, image: &Image, crop: Rect) -> Rows {
        for y in 0..crop.height {
            self.row_mut(y).copy_from_slice(image.row(crop.top + y, crop));
        }
        self
    }

    fn trimmed(&self) -> Vec<u8> {
        self.data
            .chunks_exact(self.blocks)
            .flat_map(|row| &row.as_flattened()[..self.width])
            .copied()
            .collect()
    }
}

/// `sums += weight · bytes`, lane by lane.
#[inline(always)]
fn add_weighted(sums: &mut [i32; LANES], bytes: &[u8; LANES], weight: i32) {
    for (sum, &byte) in sums.iter_mut().zip(bytes) {
        *sum += weight * i32::from(byte);
    }
}

/// Rounds sums that started at one half back to bytes.
#[inline(always)]
fn to_bytes(sums: &[i32; LANES]) -> [u8; LANES] {
    std::array::from_fn(|i| (sums[i] >> PRECISION).clamp(0, 255) as u8)
}

const HALF: [i32; LANES] = [1 << (PRECISION - 1); LANES];

/// The horizontal pass over `crop`, a strip of [`LANES`] rows at a time.
#[inline(always)]
fn horizontal(image: &Image, crop: Rect, taps: &Taps, mut out: Rows) -> Rows {
    let channels = image.channels();
    let mut strip = vec![[0u8; LANES]; crop.width * channels];
    let mut turned = vec![[0u8; LANES]; taps.spans.len() * channels];
    for top in (0..crop.height).step_by(LANES) {
        let lanes = LANES.min(crop.height - top);
        for lane in 0..lanes {
            for (cell, &byte) in strip.iter_mut().zip(image.row(crop.top + top + lane, crop)) {
                cell[lane] = byte;
            }
        }
        for (span, cells) in taps.spans.iter().zip(turned.chunks_exact_mut(channels)) {
            let weights = &taps.weights[span.offset..span.offset + span.len];
            for (channel, cell) in cells.iter_mut().enumerate() {
                let mut sums = HALF;
                let column = strip[span.first * channels + channel..].iter().step_by(channels);
                for (bytes, &weight) in column.zip(weights) {
                    add_weighted(&mut sums, bytes, weight);
                }
                *cell = to_bytes(&sums);
            }
        }
        for lane in 0..lanes {
            for (byte, cell) in out.row_mut(top + lane).iter_mut().zip(&turned) {
                *byte = cell[lane];
            }
        }
    }
    out
}

/// The vertical pass, one block of [`LANES`] columns of one output row at a time.
#[inline(always)]
fn vertical(rows: &Rows, taps: &Taps) -> Vec<u8> {
    let mut out = vec![0; rows.width * taps.spans.len()];
    for (span, row) in taps.spans.iter().zip(out.chunks_exact_mut(rows.width)) {
        let weights = &taps.weights[span.offset..span.offset + span.len];
        for (block, bytes) in row.chunks_mut(LANES).enumerate() {
            let mut sums = HALF;
            let column = rows.data[span.first * rows.blocks + block..]
                .iter()
                .step_by(rows.blocks);
            for (source, &weight) in column.zip(weights) {
                add_weighted(&mut sums, source, weight);
            }
            bytes.copy_from_slice(&to_bytes(&sums)[..bytes.len()]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, one output byte at a time.
    fn naive(image: &Image, crop: Rect, out_width: usize, out_height: usize) -> Image {
        let along = |image: &Image, out: usize| {
            let taps = Taps::new(image.width(), out);
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
    fn weights_sum_to_one() {
        for (size, out) in [(300, 128), (17, 40), (1, 4), (7, 7), (500, 1)] {
            let taps = Taps::new(size, out);
            for span in &taps.spans {
                let sum: i32 = taps.weights[span.offset..span.offset + span.len].iter().sum();
                assert!(
                    (sum - (1 << PRECISION)).abs() <= span.len as i32,
                    "{size} to {out}: {sum}"
                );
            }
        }
    }

    #[test]
    fn a_constant_image_stays_constant() {
        for value in [0, 1, 127, 254, 255] {
            let image = Image::new(50, 40, 3, vec![value; 50 * 40 * 3]);
            let out = resize_bicubic(&image, image.bounds(), 31, 77);
            assert!(out.pixels().iter().all(|&v| v == value));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn equals_the_definition(
            w in 1usize..90, h in 1usize..90, cut in (0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0),
            out_w in 1usize..70, out_h in 1usize..70, colour in any::<bool>(), seed in any::<u64>(),
        ) {
            let image = noise(w, h, if colour { 3 } else { 1 }, seed);
            let (left, top) = ((cut.0 * w as f64) as usize, (cut.1 * h as f64) as usize);
            let width = 1 + (cut.2 * (w - left) as f64) as usize;
            let height = 1 + (cut.3 * (h - top) as f64) as usize;
            let crop = Rect { left, top, width: width.min(w - left), height: height.min(h - top) };
            prop_assert_eq!(resize_bicubic(&image, crop, out_w, out_h), naive(&image, crop, out_w, out_h));
        }
    }
}
