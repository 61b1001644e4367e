//! A crop out of a padded image, as torchvision's `RandomCrop(size, padding=4, pad_if_needed=True)`.

use fcmae_random::Stream;

use crate::image::Image;

/// Black pixels around the image, the reference's number.
const PADDING: usize = 4;

/// A window of `width` × `height` at a random place of the image with its padding; where that is smaller
/// than the window, the missing pixels are added on either side.
pub(super) fn padded_crop(image: &Image, width: usize, height: usize, stream: &mut Stream) -> Image {
    let top = Offset::draw(image.height(), height, stream);
    let left = Offset::draw(image.width(), width, stream);
    let channels = image.channels();
    let mut pixels = vec![0; width * height * channels];
    let columns = left.overlap(image.width(), width);
    for y in top
        .overlap(image.height(), height)
        .filter(|_| !columns.is_empty())
    {
        let row = &mut pixels[y * width * channels..(y + 1) * width * channels];
        let source = (top.source(y) * image.width() + left.source(columns.start)) * channels;
        let part = columns.start * channels..columns.end * channels;
        let length = part.len();
        row[part].copy_from_slice(&image.pixels()[source..source + length]);
    }
    Image::new(width, height, channels, pixels)
}

/// Where the window begins along one axis, in pixels of the image: negative in the padding.
#[derive(Clone, Copy)]
struct Offset(isize);

impl Offset {
    fn draw(side: usize, window: usize, stream: &mut Stream) -> Offset {
        let padding = PADDING + window.saturating_sub(side + 2 * PADDING);
        let slack = side + 2 * padding - window;
        Offset(stream.below(slack as u32 + 1) as isize - padding as isize)
    }

    /// The places of the window that show the image; empty where it shows padding alone.
    fn overlap(self, side: usize, window: usize) -> std::ops::Range<usize> {
        let start = ((-self.0).max(0) as usize).min(window);
        let end = (side as isize - self.0).clamp(start as isize, window as isize) as usize;
        start..end
    }

    /// The image's pixel that a place of the window shows.
    fn source(self, place: usize) -> usize {
        (place as isize + self.0).max(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fcmae_random::Purpose;
    use proptest::prelude::*;

    /// The definition, pixel by pixel, for an image without a 0.
    fn shows(image: &Image, window: &Image) -> bool {
        let at = |top: isize, left: isize| {
            (0..window.height()).all(|y| {
                (0..window.width()).all(|x| {
                    let (row, column) = (y as isize + top, x as isize + left);
                    let inside = (0..image.height() as isize).contains(&row)
                        && (0..image.width() as isize).contains(&column);
                    let expected = if inside {
                        image.pixels()[row as usize * image.width() + column as usize]
                    } else {
                        0
                    };
                    window.pixels()[y * window.width() + x] == expected
                })
            })
        };
        (-60..60).any(|top| (-60..60).any(|left| at(top, left)))
    }

    #[test]
    fn all_places_are_drawn() {
        let image = Image::new(32, 32, 1, (0..1024).map(|i| (i % 255 + 1) as u8).collect());
        let mut tops = [0; 9];
        for sample in 0..900 {
            let mut stream = Stream::new(0, Purpose::Augment, 0, sample);
            tops[(Offset::draw(32, 32, &mut stream).0 + 4) as usize] += 1;
        }
        // Mean 100, deviation 9.4; five of them.
        assert!(tops.iter().all(|n| (53..=147).contains(n)), "{tops:?}");
        let mut stream = Stream::new(0, Purpose::Augment, 0, 0);
        assert!(shows(&image, &padded_crop(&image, 32, 32, &mut stream)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_window_on_the_padded_image(w in 1usize..14, h in 1usize..14, out_w in 1usize..20, out_h in 1usize..20, sample in any::<u64>()) {
            let image = Image::new(w, h, 1, (0..w * h).map(|i| (i % 255 + 1) as u8).collect());
            let mut stream = Stream::new(0, Purpose::Augment, 0, sample);
            let window = padded_crop(&image, out_w, out_h, &mut stream);
            prop_assert!(shows(&image, &window));
        }
    }
}
