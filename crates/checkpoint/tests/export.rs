//! Weights written for other programs: byte for byte what those programs wrote themselves.

use std::fs;
use std::path::{Path, PathBuf};

use fcmae_checkpoint::{
    Dtype, Metadata, Naming, Preprocessing, Target, TensorData, Tensors, Weights, export_weights,
    read_contents, read_tensors, read_weights, write_safetensors,
};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn weights(name: &str) -> Weights {
    read_weights(golden(name)).unwrap()
}

/// Exports to a temporary place and reads it back raw.
fn exported(weights: &Weights, target: Target, name: &str) -> (tempfile::TempDir, Tensors, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(name);
    let done = export_weights(weights, target, &out).unwrap();
    assert!(done.files.iter().all(|file| file.is_file()));
    let tensors = read_tensors(&done.files[0]).unwrap();
    (folder, tensors, done.notes)
}

#[test]
fn each_program_gets_what_it_wrote_itself() {
    for (source, target, name) in [
        ("timm.pth", Target::Official, "official_dense.pth"),
        ("official_dense.pth", Target::Timm, "timm.pth"),
        ("timm.pth", Target::HuggingFace, "hf"),
        (
            "official_fcmae_train.pth",
            Target::Official,
            "official_fcmae_train.pth",
        ),
    ] {
        let (_folder, ours, notes) = exported(&weights(source), target, name);
        let file = if name == "hf" {
            golden("hf/model.safetensors")
        } else {
            golden(name)
        };
        let mut theirs = read_tensors(file).unwrap();
        theirs.retain(|name, _| !name.starts_with("optimizer."));
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>(),
            "{name}"
        );
        assert_eq!(ours, theirs, "{name}");
        assert!(notes.is_empty(), "{notes:?}");
    }
}

#[test]
fn an_encoder_alone_has_the_released_form() {
    let mut weights = weights("official_fcmae_train.pth");
    weights.drop_decoder();
    let (_folder, ours, _) = exported(&weights, Target::Official, "w.pt");
    assert_eq!(ours, read_tensors(golden("official_fcmae_released.pt")).unwrap());
}

#[test]
fn every_way_there_leads_back() {
    for source in [
        "official_dense.pth",
        "official_fcmae_train.pth",
        "official_fcmae_released.pt",
    ] {
        let weights = weights(source);
        for (target, name) in [
            (Target::Native, "w.safetensors"),
            (Target::Official, "w.pth"),
            (Target::Official, "w.safetensors"),
            (Target::Timm, "w.bin"),
            (Target::Timm, "w.safetensors"),
            (Target::Timm, "timm"),
            (Target::HuggingFace, "folder"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join(name);
            let done = export_weights(&weights, target, &out).unwrap();
            let back = read_weights(&out).unwrap();
            assert_eq!(back.encoder, weights.encoder, "{source} {target}");
            if !weights.head.is_empty() {
                assert_eq!(back.head, weights.head, "{source} {target}");
            }
            if matches!(target, Target::Native | Target::Official) {
                assert_eq!(back.decoder, weights.decoder, "{source} {target}");
                assert_eq!(back.architecture, weights.architecture);
            } else if !weights.decoder.is_empty() {
                assert!(
                    done.notes[0].contains("no place for the decoder"),
                    "{:?}",
                    done.notes
                );
            }
        }
    }
}

#[test]
fn version_one_goes_to_every_program_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("v1.safetensors");
    let mut tensors = weights("official_dense.pth").classifier_tensors();
    tensors.retain(|name, _| !name.contains(".grn."));
    for (name, width) in [("0.0", 8), ("1.0", 16), ("2.0", 24), ("2.1", 24), ("3.0", 32)] {
        let gamma = TensorData::from_f32(vec![width], &vec![0.1; width]).unwrap();
        tensors.insert(format!("stages.{name}.gamma"), gamma);
    }
    write_safetensors(&file, &tensors, &Metadata::new()).unwrap();
    let v1 = read_weights(&file).unwrap();
    for (target, name) in [
        (Target::Official, "a.pth"),
        (Target::Timm, "b.pth"),
        (Target::HuggingFace, "hf"),
    ] {
        let (place, raw, _) = exported(&v1, target, name);
        let back = read_weights(place.path().join(name)).unwrap();
        assert_eq!(
            (back.classifier_tensors(), back.architecture),
            (tensors.clone(), v1.architecture.clone())
        );
        if target == Target::HuggingFace {
            assert!(raw.contains_key("convnext.encoder.stages.2.layers.1.layer_scale_parameter"));
        }
    }
}

#[test]
fn transformers_gets_its_config_and_gives_the_class_names_back() {
    let mut weights = weights("hf");
    assert!(weights.notes[0].contains("eps 1e-12"), "{:?}", weights.notes);
    assert!(
        !weights.metadata.contains_key("fcmae.class_names"),
        "LABEL_0 is no name"
    );
    let names: Vec<String> = (0..10).map(|i| format!("class {i}")).collect();
    weights
        .metadata
        .insert("fcmae.class_names".into(), serde_json::to_string(&names).unwrap());
    let (folder, ..) = exported(&weights, Target::HuggingFace, "hf");
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(folder.path().join("hf").join(name)).unwrap()).unwrap()
    };
    let (ours, theirs) = (read("config.json"), golden("hf/config.json"));
    let theirs: serde_json::Value = serde_json::from_slice(&fs::read(theirs).unwrap()).unwrap();
    for key in [
        "architectures",
        "model_type",
        "depths",
        "hidden_sizes",
        "hidden_act",
        "num_channels",
        "patch_size",
        "num_stages",
        "image_size",
    ] {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    assert_eq!(ours["layer_norm_eps"], 1e-6, "as the reference computes it");
    assert_eq!(ours["id2label"]["7"], "class 7");
    assert_eq!(read("preprocessor_config.json")["size"]["shortest_edge"], 224);
    let back = read_weights(folder.path().join("hf")).unwrap();
    assert_eq!(
        back.metadata["fcmae.class_names"],
        weights.metadata["fcmae.class_names"]
    );
    assert!(back.notes.is_empty(), "{:?}", back.notes);
}

#[test]
fn timm_needs_a_hint_for_a_stem_of_stride_2() {
    let mut weights = weights("timm.pth");
    let width = weights.architecture.dims[0];
    weights.architecture.stem_stride = 2;
    let stem = TensorData::from_f32(vec![width, 3, 2, 2], &vec![0.5; width * 12]).unwrap();
    weights
        .encoder
        .insert("downsample_layers.0.0.weight".to_owned(), stem);
    let notes = |target, name| exported(&weights, target, name).2;
    let hint = notes(Target::Timm, "timm.pth");
    assert!(
        hint[0].contains("`model.stages[0].downsample = torch.nn.Identity()`"),
        "{hint:?}"
    );
    assert!(notes(Target::HuggingFace, "hf").is_empty());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("timm");
    let refused = export_weights(&weights, Target::Timm, &out)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("no folder that timm could open can be written"),
        "{refused}"
    );
    assert!(!out.exists());
}

/// timm would make another network of it without a word.
#[test]
fn a_stem_of_stride_8_is_told_of() {
    let mut weights = weights("timm.pth");
    weights.architecture.stem_stride = 8;
    let (_folder, _, notes) = exported(&weights, Target::Timm, "timm.pth");
    assert!(
        notes[0].contains("timm dilates stages beyond a stride of 32"),
        "{notes:?}"
    );
}

/// What folders tell of the use of weights comes back; a file has no place for it, and that is said.
#[test]
fn how_weights_are_used_survives_where_there_is_a_place() {
    let mut weights = weights("official_dense.pth");
    let names: Vec<String> = (0..10).map(|i| format!("class {i}")).collect();
    let told = Preprocessing {
        image_size: [96, 96],
        crop_pct: 0.75,
        mean: vec![0.1, 0.2, 0.3],
        std: vec![0.25, 0.5, 0.75],
    };
    told.complete(&mut weights.metadata);
    weights
        .metadata
        .insert("fcmae.class_names".into(), serde_json::to_string(&names).unwrap());
    weights.set_sigmoid();
    for (target, name) in [
        (Target::Native, "w.safetensors"),
        (Target::HuggingFace, "hf"),
        (Target::Timm, "timm"),
    ] {
        let (folder, _, notes) = exported(&weights, target, name);
        let back = read_weights(folder.path().join(name)).unwrap();
        assert_eq!(Preprocessing::of(&back).unwrap(), told, "{target}");
        assert_eq!(back.class_names().as_ref(), Some(&names), "{target}");
        assert_eq!(back.is_sigmoid(), target != Target::Timm);
        let expected =
            "timm has no place for that each class is decided by itself (sigmoid): keep it elsewhere";
        assert_eq!(
            notes,
            if target == Target::Timm {
                vec![expected]
            } else {
                vec![]
            }
        );
    }
    for (target, name, hint) in [
        (Target::Timm, "w.pth", "keep it elsewhere, or write a folder"),
        (Target::Official, "w.pth", "keep it elsewhere"),
    ] {
        let (_folder, _, notes) = exported(&weights, target, name);
        let says = [
            "how images are prepared (96×96 px, crop_pct 0.75, mean [0.1, 0.2, 0.3]",
            "the names of the classes",
            "sigmoid",
        ];
        assert!(says.iter().all(|says| notes[0].contains(says)), "{notes:?}");
        assert!(notes[0].ends_with(hint), "{notes:?}");
    }
}

/// `timm.create_model` finds out of a folder which network it is; `cargo xtask interop` asks the real timm.
#[test]
fn timm_gets_its_config() {
    let mut weights = weights("official_dense.pth");
    let config = |weights: &Weights| -> serde_json::Value {
        let (folder, ..) = exported(weights, Target::Timm, "timm");
        serde_json::from_slice(&fs::read(folder.path().join("timm/config.json")).unwrap()).unwrap()
    };
    let known = config(&weights);
    assert_eq!(
        known["architecture"], "convnextv2_atto",
        "its linear maps are convolutions"
    );
    assert_eq!(
        known["model_args"],
        serde_json::json!({"depths": [1, 1, 2, 1], "dims": [8, 16, 24, 32]})
    );
    assert_eq!(
        known["pretrained_cfg"]["input_size"],
        serde_json::json!([3, 224, 224])
    );
    assert_eq!(
        (&known["num_classes"], &known["num_features"]),
        (&10.into(), &32.into())
    );
    weights.adapt_input_channels(1).unwrap();
    Preprocessing::set_image_size(&mut weights.metadata, 384);
    weights.drop_head();
    let (folder, tensors, notes) = exported(&weights, Target::Timm, "timm");
    assert!(
        tensors.contains_key("head.norm.weight"),
        "timm keeps a norm without classes"
    );
    assert!(
        notes[0].contains("head.norm: it is written as it starts"),
        "{notes:?}"
    );
    assert_eq!(
        read_weights(folder.path().join("timm")).unwrap().encoder,
        weights.encoder
    );
    let grey = config(&weights);
    let images = &grey["pretrained_cfg"];
    assert_eq!(
        (&images["crop_mode"], &images["crop_pct"]),
        (&"squash".into(), &1.0.into())
    );
    assert_eq!(
        (&grey["model_args"]["in_chans"], &grey["num_classes"]),
        (&1.into(), &0.into())
    );
    assert!(images["first_conv"].is_null());
}

#[test]
fn half_precision_stays_and_is_made() {
    let mut weights = weights("timm.pth");
    weights.cast(Dtype::BF16).unwrap();
    let (folder, raw, _) = exported(&weights, Target::Timm, "w.pth");
    assert!(raw.values().all(|tensor| tensor.dtype == Dtype::BF16));
    let back = read_weights(folder.path().join("w.pth")).unwrap();
    assert_eq!((back.naming, &back.encoder), (Naming::Timm, &weights.encoder));
    let contents = read_contents(folder.path().join("w.pth")).unwrap();
    assert_eq!(contents.tensors["stem.0.weight"].dtype, Dtype::BF16);
}

#[test]
fn names_say_the_format() {
    let weights = weights("timm.pth");
    let folder = tempfile::tempdir().unwrap();
    for (target, name, wanted) in [
        (Target::Native, "w.pth", "must end in .safetensors,"),
        (Target::Timm, "w.onnx", "must end in .safetensors or .pth"),
        (Target::Official, "w", "must end in .safetensors or .pth"),
    ] {
        let out = folder.path().join(name);
        let error = export_weights(&weights, target, &out).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}");
        assert!(!out.exists());
    }
}

/// A file of fcmae may say that it holds what no other program has; then its names are taken as they are.
#[test]
fn alternatives_are_read_where_the_file_says_so_and_written_for_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let mut tensors = weights("official_fcmae_train.pth").fcmae_tensors();
    let scalar = || TensorData::from_f32(vec![1], &[0.5]).unwrap();
    let renamed: Vec<String> = tensors
        .keys()
        .filter(|name| name.contains("encoder.") && name.contains(".grn."))
        .cloned()
        .collect();
    for name in renamed {
        tensors.remove(&name);
        tensors.insert(
            name.replace(".grn.gamma", ".bn.running_mean")
                .replace(".grn.beta", ".se.fc1.bias"),
            scalar(),
        );
    }
    tensors.insert("decoder.1.expand.weight".into(), scalar());
    let says = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect::<Metadata>()
    };
    let read = |metadata: &Metadata| {
        write_safetensors(&file, &tensors, metadata).unwrap();
        read_weights(&file)
    };
    assert!(
        read(&Metadata::new())
            .unwrap_err()
            .to_string()
            .contains("neither GRN (V2) nor LayerScale (V1)")
    );
    assert!(
        read(&says(&[("fcmae.response", "bn")]))
            .unwrap_err()
            .to_string()
            .contains("decoder.1.expand.weight")
    );

    let weights = read(&says(&[("fcmae.response", "bn"), ("fcmae.decoder", "unet")])).unwrap();
    assert_eq!(weights.fcmae_tensors(), tensors);
    assert_eq!(weights.architecture.decoder, None);
    let out = folder.path().join("out.pth");
    let refused = export_weights(&weights, Target::Timm, &out)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("(bn stands in GRN's place), and timm has no such network"),
        "{refused}"
    );
    let (_folder, native, _) = exported(&weights, Target::Native, "native.safetensors");
    assert_eq!(native, tensors);

    // another decoder alone keeps nobody from the encoder
    tensors = self::weights("official_fcmae_train.pth").fcmae_tensors();
    tensors.insert("decoder.1.expand.weight".into(), scalar());
    write_safetensors(&file, &tensors, &says(&[("fcmae.decoder", "unet")])).unwrap();
    let (_folder, encoder, notes) = exported(&read_weights(&file).unwrap(), Target::Official, "w.pt");
    assert_eq!(
        encoder,
        read_tensors(golden("official_fcmae_released.pt")).unwrap()
    );
    assert_eq!(notes, ["official has no place for the decoder: it is left out"]);
}
