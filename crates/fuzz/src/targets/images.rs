//! Images: every format and mode that there is a golden file of.

use fcmae_checkpoint::{Tensors, read_safetensors};
use fcmae_data::{
    Color, DataConfig, DataError, Dataset, DecodeOptions, Image, JpegDecoder, Transform, decode_with, survey,
};
use fcmae_random::{Purpose, Stream};

use super::checkout;
use crate::target::{Input, Outcome, Seed, Target, Verdict};

/// JPEG, PNG, WebP, BMP, TIFF, GIF, PNM, and pictures of one row or column. Dressed, the checksums of a PNG are right.
pub(crate) const IMAGES: Target = Target {
    name: "images",
    file: "input.png",
    seeds: || {
        let files = goldens().into_iter().filter_map(|(name, file)| {
            let name = name.strip_prefix("file.")?;
            let is_png = name.ends_with("png");
            Some(if is_png {
                Seed::dressed(file.bytes, with_checksums)
            } else {
                Seed::plain(file.bytes)
            })
        });
        let thin = ["P4 65536 1\n", "P5 1 8192 255\n"];
        let thin = thin.map(|head| Seed::plain([head.as_bytes(), &[0x5a; 8192]].concat()));
        files.chain(thin).collect()
    },
    words: &[
        b"\xff\xd8",
        b"\xff\xd9",
        b"\xff\xda",
        b"\xff\xc0",
        b"\xff\xc2",
        b"\xff\xc4",
        b"\xff\xdb",
        b"\xff\xdd\x00\x04",
        b"\xff\xe1",
        b"Exif\0\0",
        b"\x89PNG\r\n\x1a\n",
        b"IHDR",
        b"IDAT",
        b"PLTE",
        b"tRNS",
        b"IEND",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"zTXt",
        b"iCCP",
        b"RIFF",
        b"WEBP",
        b"VP8 ",
        b"VP8L",
        b"VP8X",
        b"ANMF",
        b"GIF89a",
        b"\x21\xff",
        b"\x2c",
        b"II*\0",
        b"MM\0*",
        b"BM",
        b"P4",
        b"P5",
        b"P6",
        b"P7",
        b"\xff\xff\xff\x7f",
        b"\xff\xff\xff\xff",
        b"\0\0\0\0",
    ],
    read,
};

/// Pixels of an image that is still decoded here.
const MAX_PIXELS: u64 = 1 << 16;

fn goldens() -> Tensors {
    let file = checkout("crates/data/tests/golden/formats.safetensors");
    read_safetensors(file).expect("a golden file").0
}

/// A golden image of that name.
pub(super) fn encoded(name: &str) -> Vec<u8> {
    goldens()
        .remove(&format!("file.{name}"))
        .expect("a golden image")
        .bytes
}

/// Rights the checksum of every chunk of a PNG, as long as one follows the other.
fn with_checksums(png: &[u8]) -> Vec<u8> {
    let mut bytes = png.to_vec();
    let mut at = 8;
    while let Some(len) = bytes.get(at..at + 4) {
        let len = u32::from_be_bytes([len[0], len[1], len[2], len[3]]) as usize;
        let Some(chunk) = bytes.get(at + 4..at + 8 + len) else {
            break;
        };
        let sum = crc32fast::hash(chunk).to_be_bytes();
        let end = at + 8 + len;
        let room = bytes[end..].iter_mut();
        room.zip(sum).for_each(|(byte, new)| *byte = new);
        at = end + 4;
    }
    bytes
}

fn read(input: &Input) -> Verdict {
    let name = input.file.display().to_string();
    let options = DecodeOptions {
        color: if input.number.is_multiple_of(3) {
            Color::Grey
        } else {
            Color::Rgb
        },
        max_pixels: MAX_PIXELS,
        jpeg: if JpegDecoder::Turbo.is_available() && input.number % 2 == 1 {
            JpegDecoder::Turbo
        } else {
            JpegDecoder::Zune
        },
    };
    if input.number.is_multiple_of(8) {
        look(input)?;
    }
    match decode_with(input.bytes, &name, &options) {
        Ok(image) => {
            let pixels = image.width() * image.height();
            let fits =
                pixels as u64 <= MAX_PIXELS && image.pixels().len() == pixels * options.color.channels();
            let size = || {
                format!(
                    "{}×{} in {} bytes",
                    image.width(),
                    image.height(),
                    image.pixels().len()
                )
            };
            if !fits {
                return Err(size());
            }
            show(&image)
        }
        Err(error) => input.refused(&error),
    }
}

/// Brings it to the size that a network sees, as `predict` does: of a thin image that is a small part.
fn show(image: &Image) -> Verdict {
    let size = [96, 96];
    let mut stream = Stream::new(0, Purpose::Verify, 0, 0);
    let shown = Transform::eval(size).apply(image, &mut stream);
    match [shown.height(), shown.width()] {
        found if found == size => Ok(Outcome::Read),
        found => Err(format!("shown in {found:?} pixels instead of {size:?}")),
    }
}

/// Reads the head alone, as `data stats` does.
fn look(input: &Input) -> Verdict {
    let config = DataConfig {
        path: input.file.parent().map(Into::into),
        workers: 1,
        max_pixels: MAX_PIXELS,
        ..DataConfig::default()
    };
    let looked: Result<_, DataError> = Dataset::open(&config).and_then(|dataset| survey(&dataset, 1));
    match looked {
        Ok(_) => Ok(Outcome::Read),
        Err(error) => input.refused(&error),
    }
}
