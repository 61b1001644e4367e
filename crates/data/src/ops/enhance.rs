//! Pillow's `ImageEnhance`: `base + factor · (image − base)` in f32, cut to 0..255 and truncated.

use crate::image::{Image, luma};

/// Away from (`factor` above 1) or towards the base.
fn blend(base: u8, value: u8, factor: f32) -> u8 {
    let base = f32::from(base);
    (base + factor * (f32::from(value) - base)) as u8 // `as` cuts and truncates
}

/// A base that is the same everywhere.
fn away_from(mut image: Image, base: u8, factor: f64) -> Image {
    let table: [u8; 256] = std::array::from_fn(|x| blend(base, x as u8, factor as f32));
    for value in image.pixels_mut() {
        *value = table[usize::from(*value)];
    }
    image
}

pub(super) fn brightness(image: Image, factor: f64) -> Image {
    away_from(image, 0, factor)
}

/// The base is the mean of the grey picture, rounded.
pub(super) fn contrast(image: Image, factor: f64) -> Image {
    let count = (image.width() * image.height()) as f64;
    let sum: u64 = greys(&image).map(u64::from).sum();
    away_from(image, (sum as f64 / count + 0.5) as u8, factor)
}

pub(super) fn color(mut image: Image, factor: f64) -> Image {
    if image.channels() == 3 {
        for pixel in image.pixels_mut().chunks_exact_mut(3) {
            let base = luma([pixel[0], pixel[1], pixel[2]]);
            pixel.iter_mut().for_each(|x| *x = blend(base, *x, factor as f32));
        }
    }
    image
}

/// The luma of every pixel.
fn greys(image: &Image) -> impl Iterator<Item = u8> {
    let channels = image.channels();
    image.pixels().chunks_exact(channels).map(move |p| match *p {
        [r, g, b] => luma([r, g, b]),
        _ => p[0],
    })
}

/// The base is the picture under the kernel (1 1 1, 1 5 1, 1 1 1) / 13, rounded; its border is the
/// picture's, which so does not change.
pub(super) fn sharpness(image: Image, factor: f64) -> Image {
    let (stride, channels) = (image.stride(), image.channels());
    let pixels = image.pixels();
    let mut out = pixels.to_vec();
    for y in 1..image.height().max(2) - 1 {
        let [above, here, below] = [y - 1, y, y + 1].map(|y| &pixels[y * stride..(y + 1) * stride]);
        // Where two pixels or fewer stand in a row, nothing is inside.
        for x in channels..stride.max(2 * channels) - channels {
            let beside = |row: &[u8]| {
                [x - channels, x, x + channels]
                    .iter()
                    .map(|&x| u16::from(row[x]))
                    .sum::<u16>()
            };
            let sum = beside(above) + beside(here) + beside(below) + 4 * u16::from(here[x]);
            // sum / 13 + ½, truncated: never near a whole number, so that integers say what f32 does.
            let base = ((2 * sum + 13) / 26) as u8;
            out[y * stride + x] = blend(base, here[x], factor as f32);
        }
    }
    Image::new(image.width(), image.height(), channels, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grey_has_no_colour_and_its_own_mean() {
        let grey = Image::new(2, 2, 1, vec![0, 100, 200, 255]);
        assert_eq!(color(grey.clone(), 1.9), grey);
        // Mean 138.75, rounded 139: 139 + 2 (x − 139).
        assert_eq!(contrast(grey, 2.0).pixels(), [0, 61, 255, 255]);
    }

    #[test]
    fn smoothing_rounds() {
        let image = Image::new(3, 3, 1, vec![0, 0, 0, 0, 100, 0, 0, 0, 7]);
        // (5 · 100 + 7) / 13 = 39 exactly; factor 0 shows the base.
        assert_eq!(sharpness(image, 0.0).pixels(), [0, 0, 0, 0, 39, 0, 0, 0, 7]);
    }

    proptest! {
        #[test]
        fn a_factor_of_one_changes_nothing(w in 1usize..6, h in 1usize..6, colour in any::<bool>(), seed in any::<u8>()) {
            let channels = if colour { 3 } else { 1 };
            let pixels = (0..w * h * channels).map(|i| (i * 37) as u8 ^ seed).collect();
            let image = Image::new(w, h, channels, pixels);
            for enhance in [brightness, contrast, color, sharpness] {
                prop_assert_eq!(enhance(image.clone(), 1.0), image.clone());
            }
        }
    }
}
