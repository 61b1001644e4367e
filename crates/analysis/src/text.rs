//! Words on pictures, in Noto Sans Mono (16 px, Latin letters; any other is shown as a box).

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// Height of a line in pixels.
pub(crate) const HEIGHT: u32 = RasterHeight::Size16.val() as u32;
const WIDTH: u32 = get_raster_width(FontWeight::Regular, RasterHeight::Size16) as u32;

/// Width of a line in pixels.
pub(crate) fn width(text: &str) -> u32 {
    text.chars().count() as u32 * WIDTH
}

/// One line of text in one colour, blended into what it is written on.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    text: &'a str,
    ink: Rgb<u8>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(text: &'a str, ink: Rgb<u8>) -> Text<'a> {
        Text { text, ink }
    }

    /// Around a point.
    pub(crate) fn centred(&self, picture: &mut RgbImage, x: u32, y: u32) {
        let (left, top) = (
            x.saturating_sub(width(self.text) / 2),
            y.saturating_sub(HEIGHT / 2),
        );
        self.draw(|along, down, ink| blend(picture, left + along, top + down, ink));
    }

    /// Ends at `right`, centred on `y`.
    pub(crate) fn right_aligned(&self, picture: &mut RgbImage, right: u32, y: u32) {
        let (left, top) = (
            right.saturating_sub(width(self.text)),
            y.saturating_sub(HEIGHT / 2),
        );
        self.draw(|along, down, ink| blend(picture, left + along, top + down, ink));
    }

    /// From bottom to top around a point.
    pub(crate) fn upward(&self, picture: &mut RgbImage, x: u32, y: u32) {
        self.upward_from(picture, x, y + width(self.text) / 2);
    }

    /// From `bottom` upward, centred on `x`.
    pub(crate) fn upward_from(&self, picture: &mut RgbImage, x: u32, bottom: u32) {
        let left = x.saturating_sub(HEIGHT / 2);
        self.draw(|along, down, ink| {
            if let Some(y) = bottom.checked_sub(1 + along) {
                blend(picture, left + down, y, ink);
            }
        });
    }

    /// Calls `put` with place along the line, place down from its top, and colour with its coverage.
    fn draw(&self, mut put: impl FnMut(u32, u32, (Rgb<u8>, u8))) {
        for (at, letter) in self.text.chars().enumerate() {
            let raster = |letter| get_raster(letter, FontWeight::Regular, RasterHeight::Size16);
            let Some(raster) = raster(letter).or_else(|| raster('\u{fffd}')) else {
                continue;
            };
            for (down, row) in raster.rows().enumerate() {
                for (along, &coverage) in row.iter().enumerate() {
                    if coverage > 0 {
                        put(
                            at as u32 * WIDTH + along as u32,
                            down as u32,
                            (self.ink, coverage),
                        );
                    }
                }
            }
        }
    }
}

/// Mixes ink into a pixel; outside of the picture there is none.
fn blend(picture: &mut RgbImage, x: u32, y: u32, (ink, coverage): (Rgb<u8>, u8)) {
    if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
        for (value, ink) in pixel.0.iter_mut().zip(ink.0) {
            let mixed =
                u32::from(*value) * (255 - u32::from(coverage)) + u32::from(ink) * u32::from(coverage);
            *value = (mixed / 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Rgb<u8> = Rgb([255; 3]);
    const BLACK: Rgb<u8> = Rgb([0; 3]);

    /// Bounds of what is not white: left, top, right, bottom.
    fn bounds(picture: &RgbImage) -> Option<[u32; 4]> {
        let inked = picture
            .enumerate_pixels()
            .filter(|(_, _, pixel)| **pixel != WHITE);
        inked.fold(None, |bounds, (x, y, _)| {
            let [l, t, r, b] = bounds.unwrap_or([x, y, x, y]);
            Some([l.min(x), t.min(y), r.max(x), b.max(y)])
        })
    }

    #[test]
    fn lines_lie_where_they_are_put() {
        let mut picture = RgbImage::from_pixel(100, 60, WHITE);
        Text::new("III", BLACK).centred(&mut picture, 50, 30);
        let [l, t, r, b] = bounds(&picture).unwrap();
        assert!(l >= 50 - width("III") / 2 && r <= 50 + width("III") / 2 && t >= 22 && b < 38);
        let mut picture = RgbImage::from_pixel(60, 100, WHITE);
        Text::new("III", BLACK).upward_from(&mut picture, 30, 90);
        let [l, t, r, b] = bounds(&picture).unwrap();
        assert!(l >= 22 && r < 38 && t >= 90 - width("III") && b < 90);
    }

    #[test]
    fn what_does_not_fit_is_cut_off() {
        let mut picture = RgbImage::from_pixel(10, 10, WHITE);
        Text::new("wide and long", BLACK).centred(&mut picture, 0, 0);
        Text::new("wide and long", BLACK).upward_from(&mut picture, 9, 3);
        Text::new("", BLACK).right_aligned(&mut picture, 5, 5);
    }

    #[test]
    fn an_unknown_letter_is_a_box() {
        let draw = |text| {
            let mut picture = RgbImage::from_pixel(20, 20, WHITE);
            Text::new(text, BLACK).centred(&mut picture, 10, 10);
            picture
        };
        assert_eq!(draw("猫"), draw("\u{fffd}"));
        assert!(bounds(&draw("é")).is_some() && draw("é") != draw("e"));
    }
}
