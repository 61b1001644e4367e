//! Operations that replace each value by another: a table of 256 bytes per channel.

use crate::image::Image;

type Table = [u8; 256];

fn table(value: impl Fn(u8) -> u8) -> Table {
    std::array::from_fn(|x| value(x as u8))
}

/// The same table for all channels.
fn replace(mut image: Image, table: &Table) -> Image {
    for value in image.pixels_mut() {
        *value = table[usize::from(*value)];
    }
    image
}

/// A table for each channel, made from its histogram; `None` leaves it as it is.
fn replace_by_histogram(mut image: Image, make: impl Fn(&[u32; 256]) -> Option<Table>) -> Image {
    let channels = image.channels();
    for channel in 0..channels {
        let mut histogram = [0; 256];
        for &value in image.pixels()[channel..].iter().step_by(channels) {
            histogram[usize::from(value)] += 1;
        }
        if let Some(table) = make(&histogram) {
            for value in image.pixels_mut()[channel..].iter_mut().step_by(channels) {
                *value = table[usize::from(*value)];
            }
        }
    }
    image
}

pub(super) fn invert(image: Image) -> Image {
    replace(image, &table(|x| !x))
}

pub(super) fn posterize(image: Image, bits: u8) -> Image {
    let mask = (0xff_u16 << 8_u8.saturating_sub(bits)) as u8;
    replace(image, &table(|x| x & mask))
}

pub(super) fn solarize(image: Image, threshold: u16) -> Image {
    replace(image, &table(|x| if u16::from(x) < threshold { x } else { !x }))
}

pub(super) fn solarize_add(image: Image, add: u8) -> Image {
    replace(image, &table(|x| if x < 128 { x.saturating_add(add) } else { x }))
}

/// As Pillow's `ImageOps.autocontrast`: f64, truncated.
pub(super) fn auto_contrast(image: Image) -> Image {
    replace_by_histogram(image, |histogram| {
        let low = histogram.iter().position(|&n| n > 0)?;
        let high = histogram
            .iter()
            .rposition(|&n| n > 0)
            .filter(|&high| high > low)?;
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        Some(table(|x| (f64::from(x) * scale + offset) as u8))
    })
}

/// As Pillow's `ImageOps.equalize`: integers.
pub(super) fn equalize(image: Image) -> Image {
    replace_by_histogram(image, |histogram| {
        let last = histogram.iter().rev().find(|&&n| n > 0)?;
        let step = (histogram.iter().sum::<u32>() - last) / 255;
        if step == 0 {
            return None; // a single value, or too few pixels
        }
        let mut sum = step / 2;
        Some(std::array::from_fn(|x| {
            let value = (sum / step).min(255) as u8;
            sum += histogram[x];
            value
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[u8]) -> Image {
        Image::new(values.len(), 1, 1, values.to_vec())
    }

    #[test]
    fn ends_of_the_arguments() {
        let image = || row(&[0, 1, 127, 128, 254, 255]);
        assert_eq!(posterize(image(), 8), image());
        assert_eq!(posterize(image(), 1), row(&[0, 0, 0, 128, 128, 128]));
        assert_eq!(posterize(image(), 0), row(&[0; 6]));
        assert_eq!(solarize(image(), 256), image());
        assert_eq!(solarize(image(), 0), invert(image()));
        assert_eq!(solarize_add(image(), 200), row(&[200, 201, 255, 128, 254, 255]));
    }

    #[test]
    fn a_flat_channel_stays() {
        let flat = row(&[9; 1000]);
        assert_eq!(auto_contrast(flat.clone()), flat);
        assert_eq!(equalize(flat.clone()), flat);
        let few = row(&[1, 2, 3]);
        assert_eq!(equalize(few.clone()), few);
        assert_eq!(auto_contrast(few), row(&[0, 127, 255]));
    }
}
