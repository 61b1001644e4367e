//! Every format but JPEG, by the `image` crate.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::{DecodeOptions, check_size, corrupt};
use crate::error::DataError;
use crate::image::Image;

/// Decodes to grey where the file is grey, else to RGB; the orientation is only reported.
pub(super) fn decode(
    bytes: &[u8],
    name: &str,
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<(Image, Orientation), DataError> {
    let failed = |error: image::ImageError| failure(name, format, &error);
    let mut decoder = open(bytes, name, format, options)?;
    // Broken EXIF data do not spoil the pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let decoded = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok((to_8_bits(decoded), orientation))
}

/// Width and height.
pub(super) fn size(
    bytes: &[u8],
    name: &str,
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<[usize; 2], DataError> {
    let (width, height) = open(bytes, name, format, options)?.dimensions();
    Ok([width as usize, height as usize])
}

/// The head is read and the size is allowed.
fn open<'a>(
    bytes: &'a [u8],
    name: &str,
    format: ImageFormat,
    options: &DecodeOptions,
) -> Result<impl ImageDecoder + use<'a>, DataError> {
    if format == ImageFormat::WebP {
        check_webp(bytes).map_err(|problem| corrupt(name, problem))?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits(options));
    let decoder = reader
        .into_decoder()
        .map_err(|error| failure(name, format, &error))?;
    let (width, height) = decoder.dimensions();
    check_size(name, u64::from(width), u64::from(height), options)?;
    Ok(decoder)
}

/// Refuses a WebP whose chunks do not fit into it: the decoder takes memory on their word (up to 4 GiB for the EXIF data
/// of a file of 500 bytes).
fn check_webp(bytes: &[u8]) -> Result<(), String> {
    let word = |at: usize| {
        let bytes = bytes.get(at..at + 4)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    let end = word(4).unwrap_or(0).saturating_add(8).min(bytes.len());
    let mut at = 12; // behind `RIFF`, its length and `WEBP`
    while let Some(len) = word(at + 4).filter(|_| at < end) {
        let left = bytes.len() - (at + 8);
        if len > left {
            return Err(format!("a part claims to have {len} bytes, {left} are left"));
        }
        at += 8 + len.next_multiple_of(2);
    }
    Ok(())
}

/// Four floats per pixel, and as much again for the decoder's own needs.
fn limits(options: &DecodeOptions) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(options.max_pixels.saturating_mul(32).max(1 << 26));
    limits
}

fn failure(name: &str, format: ImageFormat, error: &image::ImageError) -> DataError {
    match error {
        image::ImageError::Unsupported(_) if !format.reading_enabled() => DataError::UnknownFormat {
            file: name.to_owned(),
            problem: format!("{format:?} is not supported"),
        },
        other => corrupt(name, other.to_string()),
    }
}

/// Drops alpha and brings every depth to 8 bits.
fn to_8_bits(decoded: DynamicImage) -> Image {
    use DynamicImage as D;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let (channels, pixels) = match decoded {
        D::ImageLuma8(p) => (1, p.into_raw()),
        D::ImageLumaA8(p) => (1, keep::<_, 2, 1>(p.as_raw(), |v| v)),
        D::ImageRgb8(p) => (3, p.into_raw()),
        D::ImageRgba8(p) => (3, keep::<_, 4, 3>(p.as_raw(), |v| v)),
        D::ImageLuma16(p) => (1, keep::<_, 1, 1>(p.as_raw(), high_byte)),
        D::ImageLumaA16(p) => (1, keep::<_, 2, 1>(p.as_raw(), high_byte)),
        D::ImageRgb16(p) => (3, keep::<_, 3, 3>(p.as_raw(), high_byte)),
        D::ImageRgba16(p) => (3, keep::<_, 4, 3>(p.as_raw(), high_byte)),
        D::ImageRgb32F(p) => (3, keep::<_, 3, 3>(p.as_raw(), unit_to_byte)),
        D::ImageRgba32F(p) => (3, keep::<_, 4, 3>(p.as_raw(), unit_to_byte)),
        // The enum may grow; the crate's own conversion is right for whatever comes.
        other => (3, other.into_rgb8().into_raw()),
    };
    Image::new(width, height, channels, pixels)
}

/// The first `KEPT` of every `FOUND` samples, each brought to 8 bits.
fn keep<T: Copy, const FOUND: usize, const KEPT: usize>(samples: &[T], byte: fn(T) -> u8) -> Vec<u8> {
    samples
        .chunks_exact(FOUND)
        .flat_map(|pixel| &pixel[..KEPT])
        .map(|&sample| byte(sample))
        .collect()
}

fn high_byte(sample: u16) -> u8 {
    (sample >> 8) as u8
}

fn unit_to_byte(sample: f32) -> u8 {
    (sample.clamp(0.0, 1.0) * 255.0).round() as u8 // NaN becomes 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::ImageBuffer;

    #[test]
    fn deep_colours_keep_their_high_byte() {
        let pixels = vec![0x1234u16, 0xffff, 0x00ff, 0x8000];
        let decoded = DynamicImage::ImageRgba16(ImageBuffer::from_raw(1, 1, pixels).unwrap());
        assert_eq!(to_8_bits(decoded), Image::new(1, 1, 3, vec![0x12, 0xff, 0x00]));
    }

    #[test]
    fn floats_are_clipped_and_rounded() {
        let pixels = vec![0.5f32, -3.0, 7.0, f32::NAN, 1.0, 0.1];
        let decoded = DynamicImage::ImageRgb32F(ImageBuffer::from_raw(2, 1, pixels).unwrap());
        assert_eq!(
            to_8_bits(decoded),
            Image::new(2, 1, 3, vec![128, 0, 255, 0, 255, 26])
        );
    }

    /// Found by `cargo xtask fuzz`.
    #[test]
    fn a_webp_cannot_claim_parts_that_are_not_there() {
        let part = |name: &[u8; 4], len: u32, bytes: &[u8]| [name, &len.to_le_bytes(), bytes].concat();
        let file = |parts: &[Vec<u8>]| {
            let parts = parts.concat();
            [
                b"RIFF",
                &(4 + parts.len() as u32).to_le_bytes(),
                b"WEBP",
                parts.as_slice(),
            ]
            .concat()
        };
        let (odd, exif) = (part(b"VP8L", 3, b"abc\0"), part(b"EXIF", 2, b"xy"));
        let whole = file(&[odd.clone(), exif]);
        check_webp(&whole).unwrap();
        check_webp(&[whole, b"junk behind it".to_vec()].concat()).unwrap();
        let liar = file(&[odd, part(b"EXIF", u32::MAX, b"xy")]);
        let message = check_webp(&liar).unwrap_err();
        assert_eq!(message, "a part claims to have 4294967295 bytes, 2 are left");
        check_webp(b"RIFF").unwrap(); // for the decoder to refuse
    }
}
