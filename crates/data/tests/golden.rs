//! Resizing, the evaluation transform, flips, normalisation and the crop's fallback against Pillow and torchvision.

mod support;

use fcmae_data::{
    AugmentConfig, Color, DecodeOptions, Image, JpegDecoder, Normalize, Rect, Transform, decode, decode_with,
    resize_bicubic,
};
use fcmae_random::{Purpose, Stream};
use support::{golden_bytes, names, tensor};

fn image(file: &[u8], name: &str) -> Image {
    let (shape, pixels) = tensor(file, name);
    Image::new(shape[1], shape[0], shape[2], pixels)
}

fn stream() -> Stream {
    Stream::new(0, Purpose::Augment, 0, 0)
}

#[test]
fn every_resize_equals_pillow_to_the_byte() {
    let file = golden_bytes("augment.safetensors");
    let picture = image(&file, "image");
    let cases: Vec<String> = names(&file)
        .into_iter()
        .filter(|name| name.starts_with("resize."))
        .collect();
    assert_eq!(cases.len(), 9);
    for name in cases {
        // resize.<left>_<top>_<width>_<height>.to_<W>x<H>
        let numbers: Vec<usize> = name
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|part| part.parse().ok())
            .collect();
        let [left, top, width, height, out_width, out_height] = numbers[..] else {
            panic!("{name}")
        };
        let crop = Rect {
            left,
            top,
            width,
            height,
        };
        assert!(
            resize_bicubic(&picture, crop, out_width, out_height) == image(&file, &name),
            "{name}"
        );
    }
}

#[test]
fn one_channel_is_resized_as_three() {
    let file = golden_bytes("augment.safetensors");
    let picture = image(&file, "image");
    for channel in 0..3 {
        let pick = |image: &Image| {
            let plane = image.pixels().iter().skip(channel).step_by(3).copied().collect();
            Image::new(image.width(), image.height(), 1, plane)
        };
        let out = resize_bicubic(
            &pick(&picture),
            Rect {
                left: 10,
                top: 5,
                width: 60,
                height: 50,
            },
            32,
            32,
        );
        assert_eq!(out, pick(&image(&file, "resize.10_5_60_50.to_32x32")));
    }
}

#[test]
fn the_evaluation_transform_equals_torchvision() {
    let file = golden_bytes("augment.safetensors");
    // 32 / (32 / 36.5) = 36.5, which int() makes 36.
    let transform = Transform::Eval {
        size: [32, 32],
        crop_pct: 32.0 / 36.5,
    };
    assert_eq!(
        transform.apply(&image(&file, "image"), &mut stream()),
        image(&file, "eval.resize_36_crop_32")
    );
    // The reference's own ratio: 32 / 0.875 = 36 too.
    let out = Transform::eval([32, 32]).apply(&image(&file, "image"), &mut stream());
    assert_eq!(out, image(&file, "eval.resize_36_crop_32"));
}

#[test]
fn the_flip_equals_pillow() {
    let file = golden_bytes("augment.safetensors");
    let mut picture = image(&file, "image");
    picture.flip_horizontal();
    assert_eq!(picture, image(&file, "hflip"));
}

#[test]
fn normalised_numbers_equal_torchvision_to_the_bit() {
    let file = golden_bytes("augment.safetensors");
    let small = image(&file, "resize.0_0_96_80.to_32x32");
    let mut out = vec![0.0; 3 * 32 * 32];
    Normalize::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).write(&small, &mut out);
    let (shape, bytes) = tensor(&file, "normalised");
    assert_eq!(shape, [3, 32, 32]);
    let expected: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(out, expected);
}

#[test]
fn the_fallback_crop_equals_torchvision() {
    // augment.json, `random_resized_crop_fallback`: scale (10, 10), where no try can succeed.
    let config = AugmentConfig {
        scale: [10.0, 10.0],
        ..AugmentConfig::default()
    };
    let cases = [
        (
            (100, 20),
            Rect {
                top: 0,
                left: 36,
                height: 20,
                width: 27,
            },
        ),
        (
            (20, 100),
            Rect {
                top: 36,
                left: 0,
                height: 27,
                width: 20,
            },
        ),
        (
            (50, 50),
            Rect {
                top: 0,
                left: 0,
                height: 50,
                width: 50,
            },
        ),
        (
            (96, 80),
            Rect {
                top: 0,
                left: 0,
                height: 80,
                width: 96,
            },
        ),
    ];
    for ((width, height), expected) in cases {
        assert_eq!(config.draw_crop(width, height, &mut stream()), expected);
    }
}

#[test]
fn the_picture_itself() {
    let file = golden_bytes("augment.safetensors");
    let png = decode(&golden_bytes("augment.png"), "augment.png", Color::Rgb).unwrap();
    assert_eq!(png, image(&file, "image"));
    let jpeg = decode(&golden_bytes("augment.jpg"), "augment.jpg", Color::Rgb).unwrap();
    let reference = image(&file, "jpeg_decoded");
    let difference = jpeg
        .pixels()
        .iter()
        .zip(reference.pixels())
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    // Another inverse DCT, and other rounding where 4:2:0 chroma is upsampled.
    assert!(difference.unwrap() <= 5, "{difference:?}");
}

/// Pillow's own decoder, to the byte; where this build has it.
#[test]
fn turbo_decodes_as_pillow_does() {
    let file = golden_bytes("augment.safetensors");
    let options = DecodeOptions {
        jpeg: JpegDecoder::Turbo,
        ..DecodeOptions::default()
    };
    let jpeg = decode_with(&golden_bytes("augment.jpg"), "augment.jpg", &options);
    if JpegDecoder::Turbo.is_available() {
        assert_eq!(jpeg.unwrap(), image(&file, "jpeg_decoded"));
    } else {
        let message = jpeg.unwrap_err().to_string();
        assert!(message.contains("this build has no libjpeg-turbo"), "{message}");
    }
}
