//! The bytes of one image as they go into a shard.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::PackOptions;
use crate::decode::{DecodeOptions, decode_as_stored, look_at};
use crate::error::DataError;
use crate::image::Image;
use crate::resize::resize_bicubic;
use crate::storage::{Location, Reads};

/// An image ready to be written.
pub(super) struct Shaped {
    pub(super) bytes: Vec<u8>,
    /// The usual ending for its format.
    pub(super) extension: &'static str,
    /// Whether it was made smaller.
    pub(super) smaller: bool,
}

/// Reads the image; makes it smaller where it is longer than `options` want.
pub(super) fn shape(
    location: &Location,
    decode: &DecodeOptions,
    options: &PackOptions,
    reads: &Reads,
) -> Result<Shaped, DataError> {
    let bytes = reads.read(location)?;
    let name = location.path().display().to_string();
    let ([width, height], extension) = look_at(&bytes, &name, decode)?;
    let Some(side) = options.max_side.filter(|&side| width.max(height) > side) else {
        return Ok(Shaped {
            bytes,
            extension,
            smaller: false,
        });
    };
    let image = decode_as_stored(&bytes, &name, decode)?;
    let [width, height] = shrunk(image.width(), image.height(), side);
    let image = resize_bicubic(&image, image.bounds(), width, height);
    Ok(Shaped {
        bytes: jpeg(&image, options.quality, &name)?,
        extension: "jpg",
        smaller: true,
    })
}

/// Width and height with the longer one as `side`; the other keeps the proportion, rounded, and is at least 1.
fn shrunk(width: usize, height: usize, side: usize) -> [usize; 2] {
    let longer = width.max(height);
    [width, height].map(|length| ((length * side + longer / 2) / longer).max(1))
}

fn jpeg(image: &Image, quality: u8, name: &str) -> Result<Vec<u8>, DataError> {
    let color = if image.channels() == 1 {
        ExtendedColorType::L8
    } else {
        ExtendedColorType::Rgb8
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode(image.pixels(), image.width() as u32, image.height() as u32, color)
        .map_err(|error| DataError::Decode {
            file: name.to_owned(),
            problem: format!("(and write as JPEG): {error}"),
        })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::shrunk;

    #[test]
    fn proportions_are_kept_to_a_pixel() {
        assert_eq!(shrunk(500, 375, 256), [256, 192]);
        assert_eq!(shrunk(375, 500, 256), [192, 256]);
        assert_eq!(shrunk(10_000, 3, 100), [100, 1]);
        assert_eq!(shrunk(3, 2, 2), [2, 1]);
    }
}
