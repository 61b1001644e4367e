//! A picture in a terminal: each cell is two pixels, one above the other.

use std::env;

use image::RgbImage;
use image::imageops::{self, FilterType};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::widgets::Widget;

/// A picture, as large as it fits.
pub(super) struct Picture<'a> {
    pub(super) image: &'a RgbImage,
    pub(super) colors: Colors,
}

/// Colours of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colors {
    /// All of them.
    True,
    /// The 256 of xterm.
    Indexed,
}

impl Colors {
    /// Those that the terminal says it has.
    pub(super) fn of_terminal() -> Colors {
        let says = env::var("COLORTERM").unwrap_or_default();
        if says.contains("truecolor") || says.contains("24bit") {
            Colors::True
        } else {
            Colors::Indexed
        }
    }

    fn color(self, [r, g, b]: [u8; 3]) -> Color {
        match self {
            Colors::True => Color::Rgb(r, g, b),
            Colors::Indexed => Color::Indexed(indexed([r, g, b])),
        }
    }
}

/// The nearest of xterm's colours: 24 greys, or a cube of 6×6×6.
fn indexed([r, g, b]: [u8; 3]) -> u8 {
    let spread = r.max(g).max(b) - r.min(g).min(b);
    if spread < 12 {
        // the ramp runs from 8 to 238 in steps of 10
        let grey = (u16::from(r) + u16::from(g) + u16::from(b)) / 3;
        return 232 + (grey.saturating_sub(3) / 10).min(23) as u8;
    }
    // the cube's levels are 0, 95, 135, 175, 215, 255
    let level = |value: u8| if value < 48 { 0 } else { (value.max(75) - 35) / 40 };
    16 + 36 * level(r) + 6 * level(g) + level(b)
}

impl Widget for Picture<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (width, height) = self.image.dimensions();
        let (columns, rows) = (u32::from(area.width), 2 * u32::from(area.height));
        if columns == 0 || rows == 0 || width == 0 || height == 0 {
            return;
        }
        let scale = f64::min(
            f64::from(columns) / f64::from(width),
            f64::from(rows) / f64::from(height),
        );
        let side = |pixels: u32| ((f64::from(pixels) * scale) as u32).max(1);
        let small = imageops::resize(self.image, side(width), side(height), FilterType::Triangle);
        for y in 0..small.height().div_ceil(2) {
            for x in 0..small.width() {
                let Some(cell) = buffer.cell_mut((area.x + x as u16, area.y + y as u16)) else {
                    continue;
                };
                cell.set_char('▀')
                    .set_fg(self.colors.color(small.get_pixel(x, 2 * y).0));
                if 2 * y + 1 < small.height() {
                    cell.set_bg(self.colors.color(small.get_pixel(x, 2 * y + 1).0));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pixels_are_one_cell() {
        let image = RgbImage::from_fn(2, 2, |_, y| image::Rgb([if y == 0 { 255 } else { 0 }, 9, 9]));
        let area = Rect::new(0, 0, 6, 1);
        let mut buffer = Buffer::empty(area);
        let picture = Picture {
            image: &image,
            colors: Colors::True,
        };
        picture.render(area, &mut buffer);
        let cell = &buffer[(1, 0)];
        assert_eq!(
            (cell.symbol(), cell.fg, cell.bg),
            ("▀", Color::Rgb(255, 9, 9), Color::Rgb(0, 9, 9))
        );
        assert_eq!(buffer[(2, 0)].symbol(), " ", "a square of two by two pixels");
    }

    #[test]
    fn the_nearest_of_256_colours() {
        assert_eq!(indexed([0, 0, 0]), 232);
        assert_eq!(indexed([255, 255, 255]), 255);
        assert_eq!(indexed([128, 128, 128]), 244);
        assert_eq!(indexed([255, 0, 0]), 196);
        assert_eq!(indexed([95, 135, 255]), 16 + 36 + 12 + 5);
    }

    #[test]
    fn no_room_and_no_picture_draw_nothing() {
        for (image, area) in [
            (RgbImage::new(0, 0), Rect::new(0, 0, 3, 3)),
            (RgbImage::new(3, 3), Rect::ZERO),
        ] {
            let mut buffer = Buffer::empty(area);
            let picture = Picture {
                image: &image,
                colors: Colors::Indexed,
            };
            picture.render(area, &mut buffer);
            assert_eq!(buffer, Buffer::empty(area));
        }
    }
}
