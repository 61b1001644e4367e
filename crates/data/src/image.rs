//! Decoded pixels: 8-bit grey or RGB, row by row, and the moves that change no value.

use serde::{Deserialize, Serialize};

/// How many channels the network sees, and so what every image becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Three channels; grey images repeat their one.
    #[default]
    Rgb,
    /// One channel: ITU-R 601 luma of colour images.
    Grey,
}

impl Color {
    /// Number of channels: 3 or 1.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Color::Rgb => 3,
            Color::Grey => 1,
        }
    }

    /// The word used in config files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Color::Rgb => "rgb",
            Color::Grey => "grey",
        }
    }
}

/// A rectangle inside an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Column of the left edge.
    pub left: usize,
    /// Row of the top edge.
    pub top: usize,
    /// Columns covered.
    pub width: usize,
    /// Rows covered.
    pub height: usize,
}

/// An image in memory: `pixels` is `[height, width, channels]`, contiguous, 8 bits each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// Wraps pixels given as `[height, width, channels]`.
    ///
    /// # Panics
    /// When a side is 0, `channels` is neither 1 nor 3, or the buffer's length does not fit.
    #[must_use]
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Image {
        assert!(
            width > 0 && height > 0,
            "an image has at least one pixel, got {width}×{height}"
        );
        assert!(
            channels == 1 || channels == 3,
            "an image has 1 or 3 channels, got {channels}"
        );
        assert_eq!(
            pixels.len(),
            width * height * channels,
            "buffer of a {width}×{height}×{channels} image"
        );
        Image {
            width,
            height,
            channels,
            pixels,
        }
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// 1 (grey) or 3 (RGB).
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The pixels, `[height, width, channels]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels, to be changed in place.
    pub(crate) fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Gives the pixels away, `[height, width, channels]`.
    #[must_use]
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// The whole image as a rectangle.
    #[must_use]
    pub fn bounds(&self) -> Rect {
        Rect {
            left: 0,
            top: 0,
            width: self.width,
            height: self.height,
        }
    }

    /// Bytes from one row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.width * self.channels
    }

    /// The bytes of row `y` between the left and right edge of `rect`.
    pub(crate) fn row(&self, y: usize, rect: Rect) -> &[u8] {
        let start = y * self.stride() + rect.left * self.channels;
        &self.pixels[start..start + rect.width * self.channels]
    }

    /// A copy of the pixels inside `rect`.
    ///
    /// # Panics
    /// When `rect` is empty or reaches beyond the image.
    #[must_use]
    pub fn crop(&self, rect: Rect) -> Image {
        self.assert_inside(rect);
        let mut pixels = Vec::with_capacity(rect.width * rect.height * self.channels);
        for y in rect.top..rect.top + rect.height {
            pixels.extend_from_slice(self.row(y, rect));
        }
        Image::new(rect.width, rect.height, self.channels, pixels)
    }

    pub(crate) fn assert_inside(&self, rect: Rect) {
        assert!(
            rect.width > 0
                && rect.height > 0
                && rect.left + rect.width <= self.width
                && rect.top + rect.height <= self.height,
            "{rect:?} is not inside a {}×{} image",
            self.width,
            self.height
        );
    }

    /// Mirrors left and right, in place.
    pub fn flip_horizontal(&mut self) {
        for row in self.pixels.chunks_exact_mut(self.width * self.channels) {
            match self.channels {
                3 => row.as_chunks_mut::<3>().0.reverse(),
                _ => row.reverse(),
            }
        }
    }

    /// Mirrors top and bottom, in place.
    pub fn flip_vertical(&mut self) {
        let stride = self.stride();
        let (top, bottom) = self.pixels.split_at_mut(self.height / 2 * stride);
        for (a, b) in top
            .chunks_exact_mut(stride)
            .zip(bottom.chunks_exact_mut(stride).rev())
        {
            a.swap_with_slice(b);
        }
    }

    /// Mirrors at the main diagonal: rows become columns.
    #[must_use]
    pub fn transpose(&self) -> Image {
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for x in 0..self.width {
            for y in 0..self.height {
                let at = y * self.stride() + x * self.channels;
                pixels.extend_from_slice(&self.pixels[at..at + self.channels]);
            }
        }
        Image::new(self.height, self.width, self.channels, pixels)
    }

    /// The same picture with the channels of `color`: grey is repeated, colour becomes ITU-R 601 luma
    /// `(19595 R + 38470 G + 7471 B + 0x8000) >> 16`, as in Pillow's mode `L`.
    #[must_use]
    pub fn into_color(self, color: Color) -> Image {
        match (self.channels, color) {
            (1, Color::Rgb) => {
                let pixels = self.pixels.iter().flat_map(|&v| [v; 3]).collect();
                Image::new(self.width, self.height, 3, pixels)
            }
            (3, Color::Grey) => {
                let pixels = self
                    .pixels
                    .chunks_exact(3)
                    .map(|p| luma([p[0], p[1], p[2]]))
                    .collect();
                Image::new(self.width, self.height, 1, pixels)
            }
            _ => self,
        }
    }
}

/// ITU-R 601 luma in 16-bit fixed point.
pub(crate) fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbered(width: usize, height: usize, channels: usize) -> Image {
        let n = width * height * channels;
        Image::new(
            width,
            height,
            channels,
            (0..n).map(|i| (i * 37 + 11) as u8).collect(),
        )
    }

    #[test]
    fn flips_of_a_small_picture() {
        let mut image = Image::new(2, 2, 3, vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        image.flip_horizontal();
        assert_eq!(image.pixels(), [4, 5, 6, 1, 2, 3, 10, 11, 12, 7, 8, 9]);
        image.flip_vertical();
        assert_eq!(image.pixels(), [10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3]);
    }

    #[test]
    fn luma_is_pillows() {
        assert_eq!(luma([255, 255, 255]), 255);
        assert_eq!(luma([255, 0, 0]), 76);
        assert_eq!(luma([0, 255, 0]), 150);
        assert_eq!(luma([0, 0, 255]), 29);
    }

    proptest! {
        #[test]
        fn moves_are_involutions(w in 1usize..9, h in 1usize..9, colour in any::<bool>()) {
            let image = numbered(w, h, if colour { 3 } else { 1 });
            let mut twice = image.clone();
            twice.flip_horizontal();
            twice.flip_horizontal();
            prop_assert_eq!(&twice, &image);
            twice.flip_vertical();
            twice.flip_vertical();
            prop_assert_eq!(&twice, &image);
            prop_assert_eq!(image.transpose().transpose(), image);
        }

        #[test]
        fn grey_survives_a_detour_through_rgb(w in 1usize..9, h in 1usize..9) {
            let image = numbered(w, h, 1);
            prop_assert_eq!(image.clone().into_color(Color::Rgb).into_color(Color::Grey), image);
        }
    }
}
