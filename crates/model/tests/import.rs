//! Weights of other programs in this network: the reference's numbers, and what may not fit.

use std::path::{Path, PathBuf};

use fcmae_blocks::BlockKind;
use fcmae_checkpoint::{Architecture, BlockVersion, DecoderShape, read_weights};
use fcmae_decoder::DecoderConfig;
use fcmae_encoder::{Classifier, EncoderConfig};
use fcmae_model::{Allow, Fcmae, Pass, encoder_config, fcmae_config, load, load_allowing, shapes, tensors};
use fcmae_testing::{F32, Golden, assert_close};
use proptest::prelude::*;
use tch::{Device, Kind, nn};

fn checkpoint(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../checkpoint/tests/golden")
        .join(name)
}

#[test]
fn classifiers_of_every_program_give_the_reference_logits() {
    let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/../encoder");
    let golden = Golden::open(encoder, "dense.safetensors");
    for file in ["official_dense.pth", "timm.pth", "hf"] {
        let weights = read_weights(checkpoint(file)).unwrap();
        let vs = nn::VarStore::new(Device::Cpu);
        let config = encoder_config(&weights.architecture);
        let model = Classifier::new(&vs.root(), &config, weights.architecture.classes.unwrap()).unwrap();
        load(&vs, &weights.classifier_tensors()).unwrap();
        let logits = model
            .forward(&golden.get("images", Kind::Float), &Pass::default())
            .unwrap();
        assert_close(file, &logits, golden.find("logits"), F32.forward);
    }
}

#[test]
fn the_references_pre_training_fills_an_fcmae() {
    let weights = read_weights(checkpoint("official_fcmae_train.pth")).unwrap();
    let config = fcmae_config(&weights.architecture).unwrap();
    let vs = nn::VarStore::new(Device::Cpu);
    Fcmae::new(&vs.root(), &config).unwrap();
    load(&vs, &weights.fcmae_tensors()).unwrap();
    assert_eq!(tensors(&vs), weights.fcmae_tensors());
}

#[test]
fn fine_tuning_says_what_is_new() {
    let weights = read_weights(checkpoint("official_fcmae_released.pt")).unwrap();
    let vs = nn::VarStore::new(Device::Cpu);
    Classifier::new(&vs.root(), &encoder_config(&weights.architecture), 7).unwrap();
    let found = weights.classifier_tensors();
    let before = tensors(&vs);
    let error = load_allowing(&vs, &found, &Allow::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("4 missing (`head.bias`, `head.weight`, `norm.bias`, …)"),
        "{error}"
    );
    assert_eq!(tensors(&vs), before, "a refused load changes nothing");

    let imported = load_allowing(&vs, &found, &Allow::FINE_TUNING).unwrap();
    assert_eq!(
        imported.to_string(),
        "new, not in the weights: head.bias, head.weight, norm.bias, norm.weight"
    );
    let after = tensors(&vs);
    assert_eq!(after["norm.weight"], before["norm.weight"]);
    assert!(found.iter().all(|(name, tensor)| after[name] == *tensor));
}

#[test]
fn another_number_of_classes_is_allowed_by_name() {
    let weights = read_weights(checkpoint("timm.pth")).unwrap();
    let vs = nn::VarStore::new(Device::Cpu);
    Classifier::new(&vs.root(), &encoder_config(&weights.architecture), 2).unwrap();
    let found = weights.classifier_tensors();
    let error = load(&vs, &found).unwrap_err().to_string();
    assert!(
        error.contains("`head.weight` is [10, 32] and should be [2, 32]"),
        "{error}"
    );
    let imported = load_allowing(&vs, &found, &Allow::FINE_TUNING).unwrap();
    assert_eq!(imported.other_shape, ["head.bias", "head.weight"]);
    assert!(imported.new.is_empty() && imported.unused.is_empty());
    assert_eq!(tensors(&vs)["norm.weight"], found["norm.weight"]);

    // a name that may have another shape may not be absent for that
    let mut headless = found.clone();
    headless.remove("head.bias");
    let allow = Allow {
        missing: &[],
        ..Allow::FINE_TUNING
    };
    let error = load_allowing(&vs, &headless, &allow).unwrap_err().to_string();
    assert!(error.contains("1 missing (`head.bias`)"), "{error}");

    let vs = nn::VarStore::new(Device::Cpu);
    fcmae_encoder::SparseEncoder::new(&vs.root(), &encoder_config(&weights.architecture)).unwrap();
    let allow = Allow {
        unexpected: &["head.*", "norm.*"],
        ..Allow::default()
    };
    assert_eq!(load_allowing(&vs, &found, &allow).unwrap().unused.len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// What the checkpoint crate expects of an architecture is what the networks are made of.
    #[test]
    fn architectures_and_networks_agree(
        stages in prop::collection::vec((1_usize..3, 1_usize..9), 1..5),
        in_chans in 1_usize..4,
        stem_stride in 1_usize..5,
        is_v2: bool,
        classes in 1_usize..4,
        decoder in (1_usize..3, 1_usize..6),
    ) {
        let (depths, dims): (Vec<_>, Vec<_>) = stages.into_iter().unzip();
        let architecture = Architecture {
            depths, dims, in_chans, stem_stride,
            block: if is_v2 { BlockVersion::V2 } else { BlockVersion::V1 },
            classes: Some(classes),
            decoder: None,
        };
        let config = encoder_config(&architecture);
        prop_assert_eq!(config.block == BlockKind::V2, is_v2);
        let sorted = |mut shapes: Vec<(String, Vec<usize>)>| { shapes.sort(); shapes };
        let vs = nn::VarStore::new(Device::Cpu);
        Classifier::new(&vs.root(), &config, classes).unwrap();
        prop_assert_eq!(sorted(architecture.shapes()), shapes(&vs));

        let (depth, dim) = decoder;
        let architecture = Architecture { classes: None, decoder: Some(DecoderShape { depth, dim }), ..architecture };
        let config = fcmae_config(&architecture).unwrap();
        prop_assert_eq!(config.decoder, DecoderConfig { depth, dim, ..DecoderConfig::default() });
        let vs = nn::VarStore::new(Device::Cpu);
        Fcmae::new(&vs.root(), &config).unwrap();
        let ours = architecture.shapes().into_iter().map(|(name, shape)| match name.split('.').next() {
            Some("stages" | "downsample_layers") => (format!("encoder.{name}"), shape),
            _ => (name, shape),
        });
        prop_assert_eq!(sorted(ours.collect()), shapes(&vs));
    }
}

#[test]
fn sizes_of_the_family_have_their_names() {
    for name in ["atto", "femto", "pico", "nano", "tiny", "base", "large", "huge"] {
        let path = format!("{}/../../configs/models/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        let EncoderConfig { depths, dims, .. } = table["model"].clone().try_into().unwrap();
        let architecture = Architecture {
            depths,
            dims,
            in_chans: 3,
            stem_stride: 4,
            block: BlockVersion::V2,
            classes: None,
            decoder: None,
        };
        assert_eq!(architecture.size(), Some(name));
        assert_eq!(encoder_config(&architecture).name, name);
    }
}
