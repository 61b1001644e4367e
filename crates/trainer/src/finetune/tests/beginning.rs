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
