//! File bytes to 8-bit grey or RGB, by declared rules.

mod jpeg;
mod raster;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::ImageFormat;
use image::metadata::Orientation;
use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::image::{Color, Image};
use crate::storage::Location;

/// How files become images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Channels of the result.
    pub color: Color,
    /// Images with more pixels are refused before they are decoded.
    pub max_pixels: u64,
    /// What decodes JPEG.
    pub jpeg: JpegDecoder,
}

/// What decodes JPEG. The two differ by a level or two in some pixels (another inverse cosine transform, another
/// interpolation of colour), so a run keeps the one it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JpegDecoder {
    /// `zune-jpeg`: Rust, always there.
    #[default]
    Zune,
    /// `libjpeg-turbo`, as Pillow has it; there in builds with the feature `turbojpeg`. CMYK and YCCK files, which it
    /// does not convert, still go to the other.
    Turbo,
}

impl JpegDecoder {
    /// Whether this build has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        self == JpegDecoder::Zune || cfg!(feature = "turbojpeg")
    }
}

impl DecodeOptions {
    /// Twice Pillow's warning level, where Pillow too refuses: 178,956,970 pixels.
    pub const DEFAULT_MAX_PIXELS: u64 = 178_956_970;
}

impl Default for DecodeOptions {
    fn default() -> DecodeOptions {
        DecodeOptions {
            color: Color::Rgb,
            max_pixels: DecodeOptions::DEFAULT_MAX_PIXELS,
            jpeg: JpegDecoder::Zune,
        }
    }
}

/// Decodes an image of any understood format to `color`, with the default pixel limit.
///
/// The format is told by the content, never by the name. The rules:
///
/// | found | becomes |
/// |---|---|
/// | palette | its colours |
/// | alpha | dropped, as by Pillow's `convert("RGB")`; nothing is composited |
/// | 16 bits | the high byte |
/// | floating point | clipped to `[0, 1]`, times 255, rounded |
/// | 1, 2, 4 bits | stretched to 8 |
/// | CMYK and YCCK JPEG | Adobe's inverted convention, as Pillow assumes: `R = C·K / 255` of the stored values |
/// | animation, several pages | the first frame |
/// | EXIF orientation | applied, so that the picture stands upright (JPEG, PNG, TIFF, WebP) |
/// | colour profile | ignored |
///
/// Grey and RGB are converted as in [`Image::into_color`]. A JPEG that ends before its end marker is
/// truncated and an error; smaller blemishes that other decoders overlook are overlooked.
///
/// `name` is how error messages call the file.
///
/// # Errors
/// [`DataError::UnknownFormat`], [`DataError::TooLarge`] or [`DataError::Decode`].
pub fn decode(bytes: &[u8], name: &str, color: Color) -> Result<Image, DataError> {
    decode_with(
        bytes,
        name,
        &DecodeOptions {
            color,
            ..DecodeOptions::default()
        },
    )
}

/// [`decode`] with all options.
///
/// # Errors
/// As for [`decode`].
pub fn decode_with(bytes: &[u8], name: &str, options: &DecodeOptions) -> Result<Image, DataError> {
    Ok(decode_as_stored(bytes, name, options)?.into_color(options.color))
}

/// The upright image in the file's own colours: grey where the file is grey, else RGB.
pub(crate) fn decode_as_stored(
    bytes: &[u8],
    name: &str,
    options: &DecodeOptions,
) -> Result<Image, DataError> {
    let format = image::guess_format(bytes).map_err(|_| unknown(bytes, name))?;
    let (image, orientation) = guarded(name, || match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, name, options),
        _ => raster::decode(bytes, name, format, options),
    })?;
    Ok(upright(image, orientation))
}

/// Width and height as stored, from the file's head alone; with a file name's usual extension for the format.
pub(crate) fn look_at(
    bytes: &[u8],
    name: &str,
    options: &DecodeOptions,
) -> Result<([usize; 2], &'static str), DataError> {
    let format = image::guess_format(bytes).map_err(|_| unknown(bytes, name))?;
    let size = guarded(name, || match format {
        ImageFormat::Jpeg => jpeg::size(bytes, name, options),
        _ => raster::size(bytes, name, format, options),
    })?;
    Ok((size, format.extensions_str().first().copied().unwrap_or("bin")))
}

thread_local! {
    static IS_DECODING: Cell<bool> = const { Cell::new(false) };
}

/// Decoders of foreign bytes have panicked before; one bad file must not end a run of weeks.
fn guarded<T>(name: &str, decode: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    IS_DECODING.set(true);
    let result = catch_unwind(AssertUnwindSafe(decode));
    IS_DECODING.set(false);
    result.unwrap_or_else(|panic| Err(corrupt(name, panic_text(&*panic))))
}

/// Whether this thread is inside a decoder, whose panic becomes a [`DataError::Decode`]: a program's hook need not tell
/// of it.
#[must_use]
pub fn is_decoding() -> bool {
    IS_DECODING.get()
}

/// Reads and decodes one image.
///
/// # Errors
/// As for [`Location::read`] and [`decode`].
pub fn read_image(location: &Location, options: &DecodeOptions) -> Result<Image, DataError> {
    decode_with(&location.read()?, &location.path().display().to_string(), options)
}

/// Turns the stored picture the way its EXIF orientation says it is meant to be seen.
fn upright(image: Image, orientation: Orientation) -> Image {
    // (rows and columns swapped, then mirrored left-right, then mirrored top-bottom)
    let (turn, horizontal, vertical) = match orientation {
        Orientation::NoTransforms => (false, false, false),
        Orientation::FlipHorizontal => (false, true, false),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, false, true),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, true, false),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, false, true),
    };
    let mut image = if turn { image.transpose() } else { image };
    if horizontal {
        image.flip_horizontal();
    }
    if vertical {
        image.flip_vertical();
    }
    image
}

fn check_size(name: &str, width: u64, height: u64, options: &DecodeOptions) -> Result<(), DataError> {
    if width == 0 || height == 0 {
        return Err(corrupt(name, format!("it has no pixels ({width}×{height})")));
    }
    if width.saturating_mul(height) > options.max_pixels {
        let max_pixels = options.max_pixels;
        return Err(DataError::TooLarge {
            file: name.to_owned(),
            width,
            height,
            max_pixels,
        });
    }
    Ok(())
}

fn corrupt(name: &str, problem: impl Into<String>) -> DataError {
    // Some decoders' messages have several lines; ours are one.
    let problem = problem.into().split_whitespace().collect::<Vec<_>>().join(" ");
    DataError::Decode {
        file: name.to_owned(),
        problem,
    }
}

fn unknown(bytes: &[u8], name: &str) -> DataError {
    let problem = if bytes.is_empty() {
        "the file is empty".to_owned()
    } else {
        let head: Vec<String> = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!(
            "not an image of a known format (it starts with {})",
            head.join(" ")
        )
    };
    DataError::UnknownFormat {
        file: name.to_owned(),
        problem,
    }
}

/// The text of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("(no message)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_an_error_and_known_as_one() {
        let result = guarded("a.png", || -> Result<(), DataError> {
            assert!(!is_decoding(), "index out of bounds");
            Ok(())
        });
        assert_eq!(
            result.unwrap_err().to_string(),
            "a.png: cannot decode: panicked: index out of bounds"
        );
        assert!(!is_decoding());
    }
}
