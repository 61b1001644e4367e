//! Every golden checkpoint: the same weights to the last bit, whoever wrote them.

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_checkpoint::{
    Architecture, BlockVersion, CheckpointError, DecoderShape, Dtype, Format, Metadata, Naming, ReadOptions,
    TensorData, Tensors, read_contents, read_safetensors, read_tensors, read_weights, read_weights_with,
    verify, write_listed, write_safetensors,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The golden weights whose names start with `weight.` and then `prefix`, in f32 as the checkpoints have them.
fn expected(file: &str, prefix: &str) -> Tensors {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    let (tensors, _) = read_safetensors(file).unwrap();
    let picked = tensors.into_iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("weight.")?.strip_prefix(prefix)?.to_owned();
        Some((name, tensor.into_f32().unwrap()))
    });
    picked.collect()
}

fn classifier() -> Tensors {
    expected("encoder/tests/golden/dense.safetensors", "")
}

fn fcmae() -> Tensors {
    expected("model/tests/golden/fcmae.safetensors", "")
}

fn encoder() -> Tensors {
    let mut tensors = classifier();
    tensors.retain(|name, _| !name.starts_with("norm.") && !name.starts_with("head."));
    tensors
}

/// The golden network (see the golden README).
fn small(classes: Option<usize>, decoder: Option<DecoderShape>) -> Architecture {
    Architecture {
        depths: vec![1, 1, 2, 1],
        dims: vec![8, 16, 24, 32],
        in_chans: 3,
        stem_stride: 4,
        block: BlockVersion::V2,
        classes,
        decoder,
    }
}

#[test]
fn classifiers_of_every_program_are_the_same_weights() {
    for (file, format, naming) in [
        ("official_dense.pth", Format::TorchZip, Naming::Reference),
        (
            "official_dense_legacy.pth",
            Format::TorchLegacy,
            Naming::Reference,
        ),
        ("timm.pth", Format::TorchZip, Naming::Timm),
        ("hf", Format::Safetensors, Naming::HuggingFace),
        ("hf/model.safetensors", Format::Safetensors, Naming::HuggingFace),
        ("hf/pytorch_model.bin", Format::TorchZip, Naming::HuggingFace),
    ] {
        let weights = read_weights(golden(file)).unwrap();
        assert_eq!((weights.format, weights.naming), (format, naming), "{file}");
        assert_eq!(weights.architecture, small(Some(10), None), "{file}");
        assert_eq!(weights.classifier_tensors(), classifier(), "{file}");
        assert!(weights.decoder.is_empty(), "{file}");
    }
}

#[test]
fn released_weights_are_an_encoder() {
    let weights = read_weights(golden("official_fcmae_released.pt")).unwrap();
    assert_eq!(weights.naming, Naming::Reference);
    assert_eq!(weights.architecture, small(None, None));
    assert_eq!(weights.encoder, encoder());
    assert!(weights.head.is_empty() && weights.decoder.is_empty());
}

#[test]
fn the_references_own_pre_training_is_a_whole_fcmae() {
    let weights = read_weights(golden("official_fcmae_train.pth")).unwrap();
    assert_eq!(weights.naming, Naming::Minkowski);
    let decoder = DecoderShape { depth: 1, dim: 16 };
    assert_eq!(weights.architecture, small(None, Some(decoder)));
    assert_eq!(weights.encoder, encoder());
    assert_eq!(weights.fcmae_tensors(), fcmae());
    assert_eq!(weights.metadata["epoch"], "3");
    assert_eq!(
        weights.notes,
        ["passed over, and not run: args (argparse.Namespace)"]
    );
}

#[test]
fn weights_in_several_files_are_refused_by_that_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.safetensors.index.json"), "{}").unwrap();
    let refused = read_weights(folder.path()).unwrap_err().to_string();
    assert!(
        refused.contains("in several files, which is not read"),
        "{refused}"
    );
}

#[test]
fn our_own_files_are_read_from_file_and_run_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let metadata = Metadata::from([("fcmae.step".to_owned(), "7".to_owned())]);
    write_safetensors(&file, &fcmae(), &metadata).unwrap();
    let weights = read_weights(&file).unwrap();
    assert_eq!(weights.fcmae_tensors(), fcmae());
    assert_eq!(weights.metadata, metadata);
    assert_eq!(read_weights(folder.path()).unwrap(), weights);

    let run = folder.path().join("run");
    let checkpoints = fcmae_checkpoint::CheckpointFolder::open(run.join("checkpoints"), 0).unwrap();
    let staging = checkpoints.begin(4).unwrap();
    staging
        .write_tensors("model.safetensors", &classifier(), &metadata)
        .unwrap();
    staging.commit().unwrap();
    for path in [run.clone(), run.join("checkpoints")] {
        assert_eq!(read_weights(path).unwrap().classifier_tensors(), classifier());
    }
    let empty = tempfile::tempdir().unwrap();
    let message = read_weights(empty.path()).unwrap_err().to_string();
    assert!(
        message.contains("there are no weights in this folder"),
        "{message}"
    );
}

#[test]
fn what_a_checkpoint_promised_is_held_against_its_list() {
    let root = tempfile::tempdir().unwrap();
    let checkpoints = fcmae_checkpoint::CheckpointFolder::open(root.path().join("checkpoints"), 0).unwrap();
    for step in [3, 12] {
        let staging = checkpoints.begin(step).unwrap();
        let metadata = Metadata::from([("fcmae.step".to_owned(), step.to_string())]);
        staging
            .write_tensors("model.safetensors", &classifier(), &metadata)
            .unwrap();
        staging.commit().unwrap();
    }
    let newest = checkpoints.root().join("step-00000012");
    let file = newest.join("model.safetensors");
    let places = [root.path(), checkpoints.root(), &newest, &file];
    for path in places {
        assert_eq!(
            read_weights(path).unwrap().metadata["fcmae.step"],
            "12",
            "{}",
            path.display()
        );
    }
    let mut bytes = fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&file, bytes).unwrap();
    for path in places {
        let error = read_weights(path).unwrap_err();
        assert!(matches!(error, CheckpointError::Checksum { .. }), "{error}");
    }
    let older = checkpoints.root().join("step-00000003");
    assert_eq!(read_weights(older).unwrap().metadata["fcmae.step"], "3");
}

#[test]
fn best_weights_have_a_list_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    for _ in 0..2 {
        write_listed(&file, &classifier(), &Metadata::new()).unwrap();
        verify(folder.path()).unwrap();
    }
    fs::write(&file, "something else").unwrap();
    assert!(verify(folder.path()).is_err() && read_weights(&file).is_err());
}

#[test]
fn averages_lie_beside_the_weights_they_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let metadata = |pairs: &[(&str, &str)]| -> Metadata {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let ema = ReadOptions {
        ema: true,
        ..ReadOptions::default()
    };
    write_safetensors(path("model.safetensors"), &classifier(), &Metadata::new()).unwrap();
    let message = read_weights_with(folder.path(), &ema).unwrap_err().to_string();
    assert!(message.contains("no averaged weights"), "{message}");
    let average = metadata(&[("fcmae.ema_decay", "0.99")]);
    write_safetensors(path("ema.safetensors"), &classifier(), &average).unwrap();
    let plain = read_weights(folder.path()).unwrap();
    assert!(plain.file == path("model.safetensors") && plain.notes.is_empty());
    let file = path("ema.safetensors");
    for weights in [
        read_weights_with(folder.path(), &ema),
        read_weights(&file),
        read_weights_with(&file, &ema),
    ] {
        let weights = weights.unwrap();
        assert_eq!(
            (&weights.file, weights.classifier_tensors()),
            (&file, classifier())
        );
        assert_eq!(weights.notes, ["these are the averaged weights (EMA)"]);
    }
}

#[test]
fn other_channels_are_described_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let pairs = [
        ("fcmae.color", "\"rgb\""),
        ("fcmae.mean", "[0.25,0.5,0.75]"),
        ("fcmae.std", "[0.5,0.5,0.5]"),
        ("fcmae.config", "seed = 1"),
    ];
    let metadata = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    write_safetensors(&file, &classifier(), &metadata).unwrap();
    let mut weights = read_weights(&file).unwrap();
    weights.adapt_input_channels(1).unwrap();
    let expected = [
        ("fcmae.color", "\"grey\""),
        ("fcmae.mean", "[0.5]"),
        ("fcmae.std", "[0.5]"),
    ];
    let expected: Metadata = expected
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    assert_eq!(weights.metadata, expected);
    weights.adapt_input_channels(2).unwrap();
    assert!(!weights.metadata.contains_key("fcmae.color"));
    assert_eq!(weights.metadata["fcmae.mean"], "[0.5,0.5]");
}

#[test]
fn odd_tensors_are_read_exactly() {
    let (expected, _) = read_safetensors(golden("odd_tensors.safetensors")).unwrap();
    assert!(expected.len() >= 12);
    for file in ["odd_tensors.pth", "odd_tensors_legacy.pth"] {
        let mut found = read_tensors(golden(file)).unwrap();
        // a view of `base`, in a dictionary of its own
        let nested = found.remove("nested.deep.t").unwrap();
        assert_eq!(
            nested.to_f32().unwrap(),
            expected["base"].to_f32().unwrap()[12..18]
        );
        let found: Tensors = found
            .into_iter()
            .map(|(name, tensor)| (name.strip_prefix("state_dict.").unwrap().to_owned(), tensor))
            .collect();
        assert_eq!(found, expected, "{file}");
        let contents = read_contents(golden(file)).unwrap();
        assert_eq!(contents.metadata["negative"], "-1");
        assert_eq!(contents.metadata["unicode"], "Größe");
        assert_eq!(contents.tensors["state_dict.bf16"].dtype, Dtype::BF16);
    }
}

/// Writes the tensors, changed, and reads them as weights.
fn changed(
    change: impl Fn(&mut Tensors),
    options: &ReadOptions,
) -> Result<fcmae_checkpoint::Weights, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let mut tensors = classifier();
    change(&mut tensors);
    write_safetensors(&file, &tensors, &Metadata::new()).unwrap();
    read_weights_with(&file, options).map_err(|error: CheckpointError| {
        let text = error.to_string();
        assert!(text.contains("w.safetensors: ") && !text.contains('\n'), "{text}");
        text.split_once("w.safetensors: ").unwrap().1.to_owned()
    })
}

#[test]
fn what_does_not_fit_is_named() {
    let default = ReadOptions::default();
    let one = || TensorData::from_f32(vec![1], &[1.0]).unwrap();
    let fail = |change: &dyn Fn(&mut Tensors)| changed(change, &default).unwrap_err();

    let message = fail(&|t| _ = t.remove("stages.2.1.grn.gamma"));
    assert!(
        message.contains("1 missing (`stages.2.1.grn.gamma`)"),
        "{message}"
    );
    let message = fail(&|t| _ = t.insert("stages.2.1.grn.delta".into(), one()));
    assert!(
        message.contains("1 unexpected (`stages.2.1.grn.delta`)"),
        "{message}"
    );
    let message = fail(&|t| {
        let tensor = t.remove("stages.2.1.grn.gamma").unwrap();
        t.insert("stages.2.1.grn.gama".into(), tensor);
    });
    assert!(
        message.contains("`stages.2.1.grn.gamma` may be `stages.2.1.grn.gama` in the file"),
        "{message}"
    );
    let message = fail(&|t| _ = t.insert("stages.1.0.norm.bias".into(), one()));
    assert!(
        message.contains("`stages.1.0.norm.bias` is [1] and should be [16]"),
        "{message}"
    );
    let message = fail(&|t| _ = t.remove("downsample_layers.0.0.weight"));
    assert_eq!(
        message,
        "not a whole ConvNeXt: `downsample_layers.0.0.weight` is missing"
    );
    let message = fail(&|t| t.retain(|name, _| !name.starts_with("stages.3.")));
    assert_eq!(
        message,
        "not a whole ConvNeXt: it has 3 stages of blocks and 4 of downsampling"
    );
    let message = fail(&|t| t.retain(|name, _| !name.contains(".grn.")));
    assert!(
        message.contains("neither GRN (V2) nor LayerScale (V1)"),
        "{message}"
    );
    let message = fail(&|t| t.retain(|name, _| name.starts_with("head.")));
    assert!(
        message.starts_with("none of its 2 tensors (`head.bias`, `head.weight`) is of a ConvNeXt"),
        "{message}"
    );
    let message = fail(&|t| {
        let twice = t["norm.bias"].clone();
        t.insert("encoder.norm.bias".into(), twice);
    });
    assert!(message.contains("are both `norm.bias`"), "{message}");

    let lenient = ReadOptions {
        ignore: &["aux.*"],
        ..default
    };
    let add = |t: &mut Tensors| _ = t.insert("aux.weight".into(), one());
    assert!(changed(add, &default).is_err());
    assert_eq!(changed(add, &lenient).unwrap().classifier_tensors(), classifier());
}

#[test]
fn averaged_weights_are_taken_on_request() {
    let both = |t: &mut Tensors| {
        let zero = |tensor: &TensorData| TensorData {
            bytes: vec![0; tensor.bytes.len()],
            ..tensor.clone()
        };
        let old = std::mem::take(t);
        for (name, tensor) in old {
            t.insert(format!("model_ema.module.{name}"), zero(&tensor));
            t.insert(format!("model.module.{name}"), tensor);
        }
    };
    let plain = changed(both, &ReadOptions::default()).unwrap();
    assert_eq!(plain.classifier_tensors(), classifier());
    assert!(plain.notes[0].contains("not asked for"));
    let averaged = changed(
        both,
        &ReadOptions {
            ema: true,
            ignore: &[],
        },
    )
    .unwrap();
    assert!(
        averaged
            .encoder
            .values()
            .all(|tensor| tensor.bytes.iter().all(|&byte| byte == 0))
    );
    let message = changed(
        |_| {},
        &ReadOptions {
            ema: true,
            ignore: &[],
        },
    )
    .unwrap_err();
    assert_eq!(message, "it holds no averaged weights (EMA)");
}

#[test]
fn version_one_is_recognised_by_its_layer_scale() {
    let v1 = |t: &mut Tensors| {
        t.retain(|name, _| !name.contains(".grn."));
        for (name, width) in [("0.0", 8), ("1.0", 16), ("2.0", 24), ("2.1", 24), ("3.0", 32)] {
            let gamma = TensorData::from_f32(vec![width], &vec![0.1; width]).unwrap();
            t.insert(format!("stages.{name}.gamma"), gamma);
        }
    };
    let weights = changed(v1, &ReadOptions::default()).unwrap();
    assert_eq!(weights.architecture.block, BlockVersion::V1);
}

#[test]
fn input_channels_change_the_stem_and_drop_the_decoder() {
    let mut weights = read_weights(golden("official_fcmae_train.pth")).unwrap();
    let before = weights.clone();
    weights.adapt_input_channels(3).unwrap();
    assert_eq!(weights, before);
    weights.adapt_input_channels(1).unwrap();
    assert_eq!(
        weights.architecture,
        Architecture {
            in_chans: 1,
            ..small(None, None)
        }
    );
    assert!(weights.decoder.is_empty() && weights.notes.len() == before.notes.len() + 2);
    let stem = |w: &fcmae_checkpoint::Weights| w.encoder["downsample_layers.0.0.weight"].to_f32().unwrap();
    let (old, new) = (stem(&before), stem(&weights));
    // [out, in, 4, 4]: the first output's first place
    assert!((new[0] - (old[0] + old[16] + old[32])).abs() < 1e-6);
    assert_eq!(
        weights.encoder["downsample_layers.0.0.weight"].shape,
        [8, 1, 4, 4]
    );
    let message = weights.adapt_input_channels(0).unwrap_err().to_string();
    assert!(message.contains("cannot take 0 input channels"), "{message}");
}
