//! Operations on 8-bit images to the byte as Pillow does them: integers where Pillow is integer, f32 where it
//! blends, f64 where it samples. Grey images are treated as Pillow's mode `L`.

mod affine;
mod enhance;
mod tables;

use crate::image::Image;

/// One operation with its argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ImageOp {
    /// Stretches each channel to 0..255.
    AutoContrast,
    /// Makes each channel's histogram flat.
    Equalize,
    /// `255 − x`.
    Invert,
    /// Counter-clockwise about the centre.
    Rotate {
        /// Angle in degrees.
        degrees: f64,
    },
    /// Keeps the upper bits of each value.
    Posterize {
        /// Bits kept, from 0 (black) to 8 (nothing changes).
        bits: u8,
    },
    /// Inverts values from the threshold on.
    Solarize {
        /// From 0 (all) to 256 (none).
        threshold: u16,
    },
    /// Adds to values below 128, at most to 255.
    SolarizeAdd {
        /// What is added.
        add: u8,
    },
    /// Away from (above 1) or towards (below 1) the grey picture; does nothing to a grey one.
    Color {
        /// 1 changes nothing.
        factor: f64,
    },
    /// Away from or towards the mean grey.
    Contrast {
        /// 1 changes nothing.
        factor: f64,
    },
    /// Away from or towards black.
    Brightness {
        /// 1 changes nothing.
        factor: f64,
    },
    /// Away from or towards the smoothed picture.
    Sharpness {
        /// 1 changes nothing.
        factor: f64,
    },
    /// Row y looks `factor · y` pixels further right.
    ShearX {
        /// Pixels per row.
        factor: f64,
    },
    /// Column x looks `factor · x` pixels further down.
    ShearY {
        /// Pixels per column.
        factor: f64,
    },
    /// Every pixel looks further right.
    TranslateX {
        /// Share of the width.
        share: f64,
    },
    /// Every pixel looks further down.
    TranslateY {
        /// Share of the height.
        share: f64,
    },
}

impl ImageOp {
    /// Applies the operation. What comes from outside the picture is `fill`, one value per channel; moved
    /// pixels are interpolated bicubically, without antialiasing.
    ///
    /// # Panics
    /// When `fill` has fewer values than the image channels.
    #[must_use]
    pub fn apply(&self, image: Image, fill: &[u8]) -> Image {
        let (width, height) = (image.width() as f64, image.height() as f64);
        match *self {
            ImageOp::AutoContrast => tables::auto_contrast(image),
            ImageOp::Equalize => tables::equalize(image),
            ImageOp::Invert => tables::invert(image),
            ImageOp::Posterize { bits } => tables::posterize(image, bits),
            ImageOp::Solarize { threshold } => tables::solarize(image, threshold),
            ImageOp::SolarizeAdd { add } => tables::solarize_add(image, add),
            ImageOp::Color { factor } => enhance::color(image, factor),
            ImageOp::Contrast { factor } => enhance::contrast(image, factor),
            ImageOp::Brightness { factor } => enhance::brightness(image, factor),
            ImageOp::Sharpness { factor } => enhance::sharpness(image, factor),
            ImageOp::Rotate { degrees } => affine::rotate(image, degrees, fill),
            ImageOp::ShearX { factor } => affine::transform(&image, [1.0, factor, 0.0, 0.0, 1.0, 0.0], fill),
            ImageOp::ShearY { factor } => affine::transform(&image, [1.0, 0.0, 0.0, factor, 1.0, 0.0], fill),
            ImageOp::TranslateX { share } => {
                affine::transform(&image, [1.0, 0.0, share * width, 0.0, 1.0, 0.0], fill)
            }
            ImageOp::TranslateY { share } => {
                affine::transform(&image, [1.0, 0.0, 0.0, 0.0, 1.0, share * height], fill)
            }
        }
    }
}
