//! Every kind of file against what Pillow makes of it, and every kind of broken file.

mod support;

use fcmae_data::{Color, DataError, DecodeOptions, Image, decode, decode_with};
use support::{golden_bytes, names, tensor};

/// Largest difference to libjpeg-turbo that another inverse DCT and colour conversion make.
const JPEG_LEVELS: u8 = 2;

/// The same where chroma is subsampled: `zune-jpeg` rounds its upsampling differently.
const SUBSAMPLED_LEVELS: u8 = 5;

fn files() -> Vec<(String, Vec<u8>)> {
    let golden = golden_bytes("formats.safetensors");
    let files = names(&golden).into_iter().filter_map(|name| {
        let short = name.strip_prefix("file.")?.to_owned();
        Some((short, tensor(&golden, &name).1))
    });
    files.collect()
}

fn file(name: &str) -> Vec<u8> {
    tensor(&golden_bytes("formats.safetensors"), &format!("file.{name}")).1
}

fn expected(name: &str, color: Color) -> Image {
    let golden = golden_bytes("formats.safetensors");
    let (shape, pixels) = tensor(&golden, &format!("{}.{name}", color.name()));
    Image::new(shape[1], shape[0], color.channels(), pixels)
}

#[test]
fn every_mode_of_every_format_equals_pillow() {
    let files = files();
    assert_eq!(files.len(), 44);
    for (name, bytes) in files {
        for color in [Color::Rgb, Color::Grey] {
            // The name says nothing true: formats are told by content.
            let got = decode(&bytes, "misnamed.bmp", color).unwrap_or_else(|e| panic!("{name}: {e}"));
            let want = expected(&name, color);
            assert_eq!(
                (got.width(), got.height()),
                (want.width(), want.height()),
                "{name}"
            );
            let difference = got
                .pixels()
                .iter()
                .zip(want.pixels())
                .map(|(a, b)| a.abs_diff(*b))
                .max();
            let allowed = match name.as_str() {
                "420.jpg" | "progressive.jpg" | "restart.jpg" => SUBSAMPLED_LEVELS,
                name if name.ends_with(".jpg") => JPEG_LEVELS,
                "cmyk.tif" => 1, // one rounding fewer than Pillow
                _ => 0,
            };
            assert!(
                difference.unwrap() <= allowed,
                "{name} as {}: {difference:?}",
                color.name()
            );
        }
    }
}

#[test]
fn a_truncated_file_is_an_error_that_names_it() {
    // Of an animation only the first frame is read.
    for (name, bytes) in files().into_iter().filter(|(name, _)| name != "two.gif") {
        for part in [0.3, 0.6, 0.9] {
            let cut = &bytes[..(bytes.len() as f64 * part) as usize];
            let result = decode(cut, &name, Color::Rgb);
            let message = match result {
                Err(error) => error.to_string(),
                Ok(_) => panic!("{name} cut to {part} was accepted"),
            };
            assert!(
                message.starts_with(&format!("{name}: ")) && !message.contains('\n'),
                "{message}"
            );
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let mut stream = fcmae_random::Stream::new(5, fcmae_random::Purpose::Verify, 0, 0);
    for (name, bytes) in files() {
        for _ in 0..20 {
            let mut bytes = bytes.clone();
            for _ in 0..=stream.below(4) {
                let at = stream.below(bytes.len() as u32) as usize;
                bytes[at] = stream.below(256) as u8;
            }
            // Small files cannot claim a size that would take long to allocate.
            let options = DecodeOptions {
                color: Color::Rgb,
                max_pixels: 1 << 16,
                ..DecodeOptions::default()
            };
            if let Err(error) = decode_with(&bytes, &name, &options) {
                assert!(error.to_string().starts_with(&name), "{error}");
            }
        }
    }
}

#[test]
fn sizes_are_checked_before_decoding() {
    for name in [
        "rgb.png", "420.jpg", "rgb.webp", "rgb.tif", "p.gif", "rgb.bmp", "l.pgm",
    ] {
        let options = DecodeOptions {
            color: Color::Rgb,
            max_pixels: 100,
            ..DecodeOptions::default()
        };
        let error = decode_with(&file(name), name, &options).unwrap_err();
        assert!(
            matches!(error, DataError::TooLarge { max_pixels: 100, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("`data.max_pixels` = 100"), "{error}");
    }
    // A decompression bomb: a header that claims 60,000 × 60,000.
    let mut bomb = file("rgb.png");
    for at in [16, 20] {
        bomb[at..at + 4].copy_from_slice(&60_000u32.to_be_bytes());
    }
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = decode(&bomb, "bomb.png", Color::Rgb).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("bomb.png: 60000×60000 pixels are more than"),
        "{error}"
    );
}

/// CRC-32 of PNG chunks, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn what_is_no_image_is_said_so() {
    let message = |bytes: &[u8]| decode(bytes, "x.jpg", Color::Rgb).unwrap_err().to_string();
    assert!(
        message(b"").starts_with("x.jpg: the file is empty"),
        "{}",
        message(b"")
    );
    let text = message(b"hello, world");
    assert!(text.contains("it starts with 68 65 6c 6c 6f 2c 20 77"), "{text}");
    let avif = message(b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B");
    assert!(avif.contains("Avif is not supported"), "{avif}");
}

#[test]
fn junk_behind_the_end_of_a_jpeg_does_no_harm() {
    let mut bytes = file("420.jpg");
    bytes.extend(b"\0\0\0 a motion photo's film \xff\xda\0\x01");
    assert_eq!(
        decode(&bytes, "x", Color::Rgb).unwrap(),
        decode(&file("420.jpg"), "x", Color::Rgb).unwrap()
    );
}
