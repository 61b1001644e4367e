//! JPEG, by `zune-jpeg`: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{DecodeOptions, check_size, corrupt};
use crate::error::DataError;
use crate::image::Image;

/// Decodes to grey where the file is grey, else to RGB; the orientation is only reported.
pub(super) fn decode(
    bytes: &[u8],
    name: &str,
    options: &DecodeOptions,
) -> Result<(Image, Orientation), DataError> {
    let failed = |error: zune_jpeg::errors::DecodeErrors| corrupt(name, format!("{error:?}"));
    let lenient = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), lenient);
    decoder.decode_headers().map_err(failed)?;
    let (width, height) = decoder
        .dimensions()
        .ok_or_else(|| corrupt(name, "no frame header"))?;
    check_size(name, width as u64, height as u64, options)?;
    let (channels, out) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        Some(ColorSpace::YCbCr | ColorSpace::RGB | ColorSpace::CMYK | ColorSpace::YCCK) => {
            (3, ColorSpace::RGB)
        }
        other => return Err(corrupt(name, format!("colour space {other:?} is not supported"))),
    };
    // Past the end of the data the decoder goes on with grey: say so instead.
    if !is_complete(bytes) {
        return Err(corrupt(name, "the file is truncated (no end-of-image marker)"));
    }
    decoder.set_options(lenient.jpeg_set_out_colorspace(out));
    let pixels = decoder.decode().map_err(failed)?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let image = Image::new(width, height, channels, pixels);
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether an end-of-image marker follows the first scan.
///
/// The segments before the scan are walked by their lengths, because a thumbnail in them has a marker of
/// its own. Inside a scan every 0xFF is followed by a zero or a marker, so the two bytes cannot be data.
fn is_complete(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    let mut at = 2;
    while let Some(&[marker, high, low]) = bytes.get(at + 1..at + 4) {
        if bytes[at] != 0xff || marker == 0xff {
            at += 1; // fill bytes, and junk between segments
            continue;
        }
        if marker == START_OF_SCAN {
            return bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]);
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_count() {
        let head = [
            0xff, 0xd8, 0xff, 0xe1, 0, 6, 1, 0xff, 0xd9, 2, 0xff, 0xda, 0, 2, 9, 9,
        ];
        assert!(!is_complete(&head));
        let mut whole = head.to_vec();
        whole.extend([0xff, 0xd9, b'j', b'u', b'n', b'k']);
        assert!(is_complete(&whole));
        assert!(!is_complete(&[0xff, 0xd8]));
        assert!(!is_complete(&[]));
    }
}
