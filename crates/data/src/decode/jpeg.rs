//! JPEG, by `zune-jpeg` or libjpeg-turbo: baseline and progressive, grey, YCbCr, RGB, CMYK and YCCK.

use image::metadata::Orientation;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{DecodeOptions, JpegDecoder, check_size, corrupt};
use crate::error::DataError;
use crate::image::Image;

type ZuneDecoder<'a> = zune_jpeg::JpegDecoder<ZCursor<&'a [u8]>>;

/// Decodes to grey where the file is grey, else to RGB; the orientation is only reported.
pub(super) fn decode(
    bytes: &[u8],
    name: &str,
    options: &DecodeOptions,
) -> Result<(Image, Orientation), DataError> {
    let (mut decoder, [width, height]) = open(bytes, name, options)?;
    let found = decoder.input_colorspace();
    let (channels, out) = match found {
        Some(ColorSpace::Luma) => (1, ColorSpace::Luma),
        Some(ColorSpace::YCbCr | ColorSpace::RGB | ColorSpace::CMYK | ColorSpace::YCCK) => {
            (3, ColorSpace::RGB)
        }
        other => return Err(corrupt(name, format!("colour space {other:?} is not supported"))),
    };
    // Past the end of the data the decoders go on with grey: say so instead.
    if !is_complete(bytes) {
        return Err(corrupt(name, "the file is truncated (no end-of-image marker)"));
    }
    let has_black = matches!(found, Some(ColorSpace::CMYK | ColorSpace::YCCK));
    let pixels = if options.jpeg == JpegDecoder::Turbo && !has_black {
        turbo(bytes, name, [width, height], channels)?
    } else {
        decoder.set_options(lenient().jpeg_set_out_colorspace(out));
        decoder
            .decode()
            .map_err(|error| corrupt(name, format!("{error:?}")))?
    };
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let image = Image::new(width, height, channels, pixels);
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Width and height.
pub(super) fn size(bytes: &[u8], name: &str, options: &DecodeOptions) -> Result<[usize; 2], DataError> {
    Ok(open(bytes, name, options)?.1)
}

/// The head is read and the size, width and height, is allowed.
fn open<'a>(
    bytes: &'a [u8],
    name: &str,
    options: &DecodeOptions,
) -> Result<(ZuneDecoder<'a>, [usize; 2]), DataError> {
    let mut decoder = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), lenient());
    decoder
        .decode_headers()
        .map_err(|error| corrupt(name, format!("{error:?}")))?;
    let (width, height) = decoder
        .dimensions()
        .ok_or_else(|| corrupt(name, "no frame header"))?;
    check_size(name, width as u64, height as u64, options)?;
    Ok((decoder, [width, height]))
}

fn lenient() -> DecoderOptions {
    DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
}

/// The pixels by libjpeg-turbo: its accurate cosine transform, smooth interpolation of colour.
#[cfg(feature = "turbojpeg")]
fn turbo(
    bytes: &[u8],
    name: &str,
    [width, height]: [usize; 2],
    channels: usize,
) -> Result<Vec<u8>, DataError> {
    let mut pixels = vec![0; width * height * channels];
    let image = turbojpeg::Image {
        pixels: &mut pixels[..],
        width,
        pitch: width * channels,
        height,
        format: if channels == 1 {
            turbojpeg::PixelFormat::GRAY
        } else {
            turbojpeg::PixelFormat::RGB
        },
    };
    let decode = |mut decoder: turbojpeg::Decompressor| decoder.decompress(bytes, image);
    turbojpeg::Decompressor::new()
        .and_then(decode)
        .map_err(|error| corrupt(name, error.to_string()))?;
    Ok(pixels)
}

#[cfg(not(feature = "turbojpeg"))]
fn turbo(_: &[u8], name: &str, _: [usize; 2], _: usize) -> Result<Vec<u8>, DataError> {
    Err(corrupt(name, "this build has no libjpeg-turbo (`data.jpeg`)"))
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
