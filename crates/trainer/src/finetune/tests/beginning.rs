//! What a classifier begins with: pre-trained weights, weights of other classes.

use super::*;

/// Seven parts of the encoder come out of a pre-training run; norm and head are new.
#[test]
fn it_begins_with_the_weights_of_a_pre_training_run() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(&pretraining(folder.path()));
    let encoder = read_safetensors(pretrained.weights.unwrap()).unwrap().0;

    let mut config = tiny(folder.path());
    config.init = pretrained.run.display().to_string();
    // all is frozen but the head: what remains must be the encoder as it was
    config.freeze = vec!["stages.*".into(), "downsample_layers.*".into(), "norm.*".into()];
    run(&config);
    let weights = file(&config, "last/model.safetensors");
    let mut same = 0;
    for (name, tensor) in &weights {
        match encoder.get(&format!("encoder.{name}")) {
            Some(before) => same += usize::from(before.bytes == tensor.bytes),
            None => assert!(name.starts_with("norm.") || name.starts_with("head."), "{name}"),
        }
    }
    assert_eq!(same, weights.len() - 4);

    // and of another network they are refused, before anything is made
    config.name = "other".into();
    config.model.dims[1] = 12;
    let message = refusal(&config);
    assert!(
        message.contains("of another shape") && message.contains("checkpoints"),
        "{message}"
    );
}

#[test]
fn weights_of_other_classes_need_a_new_head() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    let first = run(&config);
    let third = config.data.path.as_ref().unwrap().join("third");
    fs::create_dir(&third).unwrap();
    for i in 0..8 {
        let grey = image::GrayImage::from_pixel(32, 32, image::Luma([i * 30]));
        grey.save(third.join(format!("{i}.png"))).unwrap();
    }
    let mut next = FinetuneConfig {
        name: "next".into(),
        init: first.run.display().to_string(),
        ..config
    };
    let message = refusal(&next);
    assert!(
        message.starts_with("`init`: ") && message.contains("is for 2 classes, the data has 3"),
        "{message}"
    );
    next.new_head = true;
    run(&next);
    assert_eq!(
        file(&next, "last/model.safetensors")["head.weight"].shape,
        [3, 16]
    );
}

/// As many classes that are called otherwise: the head is kept, and that is told.
#[test]
fn a_head_whose_classes_are_called_otherwise_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let config = tiny(folder.path());
    let names = config_names(&config);
    let first = run(&config);
    let told = |names: &[String], new_head: bool| {
        let next = FinetuneConfig {
            init: first.run.display().to_string(),
            new_head,
            ..config.clone()
        };
        let vs = nn::VarStore::new(Device::Cpu);
        Classifier::new(&vs.root(), &config.model, 2).unwrap();
        start::begin(&next, names, &vs).unwrap()
    };
    assert_eq!(told(&names, false).len(), 1);
    let turned: Vec<String> = names.iter().rev().cloned().collect();
    let news = told(&turned, false);
    let expected = format!(
        "the head is kept, and its class 0 was called {:?}, which is {:?} now",
        names[0], names[1]
    );
    assert!(news[1].starts_with(&expected), "{news:?}");
    assert_eq!(told(&turned, true).len(), 1);
}

fn config_names(config: &FinetuneConfig) -> Vec<String> {
    let dataset = fcmae_data::Dataset::open_labelled(&config.data, &config.labels).unwrap();
    dataset.class_names().to_vec()
}
