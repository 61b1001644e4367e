//! RandAugment's operations, mixing and erasing against Pillow and timm.

mod support;

use fcmae_data::{
    CutmixBox, EraseMode, Image, ImageOp, LabelKind, MixConfig, Mixed, RandAugment, RandAugmentKind,
    RandomErasing, Rect, Targets,
};
use fcmae_random::{Purpose, Stream};
use serde_json::Value;
use support::{golden_bytes, names, tensor};

const FILL: [u8; 3] = [124, 116, 104];

fn image(file: &[u8], name: &str) -> Image {
    let (shape, pixels) = tensor(file, name);
    Image::new(shape[1], shape[0], shape.get(2).copied().unwrap_or(1), pixels)
}

fn arguments() -> Value {
    serde_json::from_slice(&golden_bytes("finetune.json")).unwrap()
}

fn int(value: &Value, key: &str) -> usize {
    value[key].as_u64().unwrap() as usize
}

fn rect(value: &Value) -> Rect {
    let (top, left) = (int(value, "top"), int(value, "left"));
    Rect {
        left,
        top,
        width: int(value, "right") - left,
        height: int(value, "bottom") - top,
    }
}

fn f64s(file: &[u8], name: &str) -> Vec<f64> {
    let (_, bytes) = tensor(file, name);
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f64::from_le_bytes(*b))
        .collect()
}

fn f32s(file: &[u8], name: &str) -> Vec<f32> {
    let (_, bytes) = tensor(file, name);
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect()
}

fn kind(name: &str) -> RandAugmentKind {
    let short = name.trim_end_matches("Increasing").trim_end_matches("Rel");
    let found = RandAugmentKind::ALL
        .into_iter()
        .find(|kind| format!("{kind:?}") == short);
    found.unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn all_fifteen_operations_equal_timm_to_the_byte() {
    let file = golden_bytes("finetune.safetensors");
    let (picture, arguments) = (image(&file, "image"), arguments());
    let cases = arguments["ops"].as_object().unwrap();
    assert_eq!(cases.len(), 27);
    for (name, case) in cases {
        let negative = case["sign"].as_i64() == Some(-1);
        let kind = kind(case["op"].as_str().unwrap());
        let op = kind.op(case["magnitude"].as_f64().unwrap(), negative, true);
        assert!(
            op.apply(picture.clone(), &FILL) == image(&file, name),
            "{name}: {op:?}"
        );
    }
}

/// `27.0` of `Rotate` is `ImageOp::Rotate { degrees: 27.0 }`.
fn operation(name: &str, argument: f64) -> ImageOp {
    match name {
        "AutoContrast" => ImageOp::AutoContrast,
        "Equalize" => ImageOp::Equalize,
        "Invert" => ImageOp::Invert,
        "Rotate" => ImageOp::Rotate { degrees: argument },
        "Posterize" => ImageOp::Posterize { bits: argument as u8 },
        "Solarize" => ImageOp::Solarize {
            threshold: argument as u16,
        },
        "SolarizeAdd" => ImageOp::SolarizeAdd { add: argument as u8 },
        "Color" => ImageOp::Color { factor: argument },
        "Contrast" => ImageOp::Contrast { factor: argument },
        "Brightness" => ImageOp::Brightness { factor: argument },
        "Sharpness" => ImageOp::Sharpness { factor: argument },
        "ShearX" => ImageOp::ShearX { factor: argument },
        "ShearY" => ImageOp::ShearY { factor: argument },
        "TranslateX" => ImageOp::TranslateX { share: argument },
        "TranslateY" => ImageOp::TranslateY { share: argument },
        _ => panic!("{name}"),
    }
}

#[test]
fn grey_noise_and_tiny_pictures_equal_pillow_to_the_byte() {
    let file = golden_bytes("operations.safetensors");
    let cases: Vec<String> = names(&file)
        .into_iter()
        .filter(|name| name.contains('/'))
        .collect();
    assert_eq!(cases.len(), 6 * 44);
    for name in cases {
        let [picture, op, argument] = name.split('/').collect::<Vec<_>>()[..] else {
            panic!("{name}")
        };
        let picture = image(&file, &format!("image.{picture}"));
        let fill = if picture.channels() == 1 {
            &[145][..]
        } else {
            &FILL
        };
        let op = operation(op, argument.parse().unwrap());
        assert!(op.apply(picture, fill) == image(&file, &name), "{name}");
    }
}

#[test]
fn a_policy_draws_each_operation_as_often() {
    let policy = RandAugment::parse("rand-m9-mstd0.5-inc1-n1-p1").unwrap();
    let picture = image(&golden_bytes("finetune.safetensors"), "image");
    let inverted = ImageOp::Invert.apply(picture.clone(), &FILL);
    let draws = 1500;
    let hits = (0..draws).filter(|&sample| {
        let mut stream = Stream::new(4, Purpose::Augment, 0, sample);
        policy.apply(picture.clone(), &FILL, &mut stream) == inverted
    });
    // Mean 100, deviation 9.7; five of them.
    let hits = hits.count();
    assert!((52..=148).contains(&hits), "{hits}");
}

#[test]
fn mixed_images_and_targets_equal_timm() {
    let file = golden_bytes("finetune.safetensors");
    let arguments = &arguments()["mix"];
    let images: Vec<f32> = f64s(&file, "mix.images").iter().map(|&x| x as f32).collect();
    let (_, labels) = tensor(&file, "ce.labels");
    let labels = labels
        .as_chunks()
        .0
        .iter()
        .map(|b| i64::from_le_bytes(*b) as u32)
        .collect();
    let smoothing = MixConfig {
        smoothing: arguments["smoothing"].as_f64().unwrap(),
        ..MixConfig::default()
    };
    let mut rows = Targets::Classes(labels).into_rows(10);
    smoothing.smooth(&mut rows, 10, LabelKind::Class);
    let up = Mixed::Up {
        lambda: arguments["lambda_mixup"].as_f64().unwrap(),
    };
    let cut = Mixed::Cut {
        cut: rect(&arguments["cutmix_box"]),
        lambda: arguments["lambda_cutmix"].as_f64().unwrap(),
    };
    for (mixed, name, tolerance) in [(up, "mixup", 1e-6), (cut, "cutmix", 0.0)] {
        let mut out = images.clone();
        Mixed::mix_images(&[mixed; 4], &mut out, [12, 16]);
        for (got, expected) in out.iter().zip(f64s(&file, &format!("mix.{name}"))) {
            assert!(
                (f64::from(*got) - expected).abs() <= tolerance * expected.abs().max(1.0),
                "{name}: {got} {expected}"
            );
        }
        let mut out = rows.clone();
        Mixed::mix_rows(&[mixed; 4], &mut out, 10);
        for (got, expected) in out.iter().zip(f64s(&file, &format!("mix.{name}_target"))) {
            assert!(
                (f64::from(*got) - expected).abs() < 1e-7,
                "{name}: {got} {expected}"
            );
        }
    }
}

#[test]
fn boxes_equal_both_timms() {
    let arguments = arguments();
    let cases = arguments["mix"]["cut_boxes"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let size = [int(case, "height"), int(case, "width")];
        let centre = [int(case, "centre_y"), int(case, "centre_x")];
        for (cut, version) in [
            (CutmixBox::Reference, "timm_0_3_2"),
            (CutmixBox::Exact, "timm_1_0"),
        ] {
            let found = cut.cut(case["lam"].as_f64().unwrap(), size, centre);
            assert_eq!(found, rect(&case[version]), "{version}: {case}");
        }
    }
}

#[test]
fn erased_boxes_equal_timm() {
    let file = golden_bytes("finetune.safetensors");
    let arguments = &arguments()["erase"];
    for case in arguments["sizes"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let (height, width) = (int(case, "height"), int(case, "width"));
        let found = RandomErasing::sides(height, width, number("area_fraction"), number("aspect"));
        let expected = [int(case, "box_height"), int(case, "box_width")];
        assert_eq!(
            found,
            case["fits"].as_bool().unwrap().then_some(expected),
            "{case}"
        );
    }

    let hole = Rect {
        left: int(arguments, "left"),
        top: int(arguments, "top"),
        width: int(arguments, "width"),
        height: int(arguments, "height"),
    };
    let mut out = f32s(&file, "normalised");
    let stream = Stream::new(0, Purpose::Erase, 0, 0);
    RandomErasing::new(1.0, EraseMode::Pixel, 1).fill(&mut out, 32, 32, hole, &mut stream.clone());
    // The reference's noise and ours come from different generators; in [C, h, w] each is at the same place.
    let (mut ours, mut theirs) = (stream, f32s(&file, "erase.noise").into_iter());
    for (got, expected) in out.iter().zip(f32s(&file, "erase.out")) {
        let noise = Some(expected) == theirs.as_slice().first().copied();
        let same = if noise {
            theirs.next().and(Some(ours.normal() as f32))
        } else {
            Some(expected)
        };
        assert_eq!(Some(*got), same);
    }
    assert_eq!(theirs.len(), 0);
}
