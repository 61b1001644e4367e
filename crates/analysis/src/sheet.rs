//! Many reconstructions in one picture.

use image::{RgbImage, imageops};

use crate::reconstruct::Reconstruction;

/// Pixels between pictures.
const GAP: u32 = 4;

/// One row per image: input, masked input, prediction; white between. Small images are enlarged (whole factors,
/// nearest neighbour) so that a picture is at least 192 px high.
#[must_use]
pub fn contact_sheet(rows: &[Reconstruction]) -> RgbImage {
    let (width, height) = rows.first().map_or((0, 0), |row| row.input.dimensions());
    let zoom = (192 / height.max(1)).clamp(1, 8);
    let (width, height) = (width * zoom, height * zoom);
    let size = (3 * width + 4 * GAP, rows.len() as u32 * (height + GAP) + GAP);
    let mut sheet = RgbImage::from_pixel(size.0, size.1, image::Rgb([255; 3]));
    for (r, row) in rows.iter().enumerate() {
        for (c, picture) in [&row.input, &row.masked, &row.prediction].into_iter().enumerate() {
            let picture = imageops::resize(picture, width, height, imageops::FilterType::Nearest);
            let (x, y) = (GAP + c as u32 * (width + GAP), GAP + r as u32 * (height + GAP));
            imageops::replace(&mut sheet, &picture, i64::from(x), i64::from(y));
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_pictures_a_row_with_gaps() {
        let picture = |grey| RgbImage::from_pixel(100, 96, image::Rgb([grey; 3]));
        let row = Reconstruction {
            input: picture(10),
            masked: picture(20),
            prediction: picture(30),
            loss: 0.0,
        };
        let sheet = contact_sheet(&[row.clone(), row]);
        assert_eq!(sheet.dimensions(), (3 * 200 + 16, 2 * 192 + 12)); // enlarged twice
        let at = |x, y| sheet.get_pixel(x, y).0[0];
        assert_eq!([at(0, 0), at(5, 5), at(209, 5), at(413, 205)], [255, 10, 20, 30]);
    }

    #[test]
    fn no_images_make_an_empty_sheet() {
        assert_eq!(contact_sheet(&[]).dimensions(), (16, 4));
    }
}
