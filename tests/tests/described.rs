//! What weights say of themselves: how their images are prepared, what their classes are called.

use fcmae_tests::Place;

#[test]
fn how_images_are_prepared_comes_back_from_other_programs() {
    let place = Place::new().and_classifier();
    let ours = [
        "convert",
        "model.pth",
        "--to",
        "native",
        "ours.safetensors",
        "--image-size",
        "64",
    ];
    let _ = place.run(&ours).ended(0);
    let _ = place
        .run(&["convert", "ours.safetensors", "--to", "hf", "theirs"])
        .ended(0);
    let preprocessor = place.text("theirs/preprocessor_config.json");
    place.write(
        "theirs/preprocessor_config.json",
        preprocessor.replace("0.875", "0.75").replace("0.485", "0.25"),
    );
    let _ = place
        .run(&["convert", "theirs", "--to", "native", "back.safetensors"])
        .ended(0);
    let predict = |weights: &str| {
        let args = ["predict", weights, "images", "--json", "--set", "device=cpu"];
        place.run(&args).ended(0)
    };
    let (theirs, back) = (predict("theirs"), predict("back.safetensors"));
    assert_eq!(theirs.stdout, back.stdout);
    assert_ne!(
        theirs.stdout,
        predict("ours.safetensors").stdout,
        "crop and mean are others"
    );
    let timm = ["convert", "back.safetensors", "--to", "timm", "timm.safetensors"];
    let told = place.run(&timm).ended(0).stdout;
    assert!(
        told.contains("timm has no place for how images are prepared (64×64 px, crop_pct 0.75, mean [0.25, "),
        "{told}"
    );
    let note = "the weights do not say how their images were prepared";
    assert!(!theirs.stderr.contains(note), "{theirs:?}");
    let small = [
        "predict",
        "timm.safetensors",
        "images",
        "--set",
        "data.image_size=32",
    ];
    assert!(place.run(&small).ended(0).stderr.contains(note));
    place.write("theirs/preprocessor_config.json", "{\"size\": \"large\"}");
    let refused = place.run(&["predict", "theirs", "images"]).ended(2);
    assert!(
        refused.stderr.contains("preprocessor_config.json: "),
        "{refused:?}"
    );
}

#[test]
fn classes_of_other_names_are_taken_in_their_order() {
    let place = Place::new().and_classifier();
    let picture = place.read("images/00.png");
    for class in 0..10 {
        place.write(&format!("set/test/n0{class}/a.png"), &picture);
    }
    place.write("names.txt", "crane\nmaillot\ncrane\nd\ne\nf\ng\nh\ni\nj\n"); // two cranes, as in ImageNet
    let small = [
        "--set",
        "data.image_size=32",
        "--set",
        "device=cpu",
        "--classes",
        "names.txt",
    ];
    let predicted = place
        .run(&[&["predict", "model.pth", "images/00.png"], &small[..]].concat())
        .ended(0);
    let names = ["crane", "maillot", "d", "e", "f", "g", "h", "i", "j"];
    assert!(
        names.iter().any(|name| predicted.stdout.contains(name)),
        "{predicted:?}"
    );
    let evaluate = [&["evaluate", "model.pth", "--data", "set", "--json"], &small[..]].concat();
    let evaluated = place.run(&evaluate).ended(0);
    assert_eq!(evaluated.json()["class_names"][9], "n09");
    assert!(
        evaluated
            .stderr
            .contains("so they are taken in their order, \"n00\" as \"crane\""),
        "{evaluated:?}"
    );
    // a name that both have is no accident: the others must be known too
    place.write("names.txt", "n00\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    let refused = place.run(&evaluate).ended(2);
    assert!(refused.stderr.contains("n01"), "{refused:?}");
    place.write("names.txt", "\n");
    let refused = place.run(&evaluate).ended(2);
    assert!(refused.stderr.contains("names.txt: no names"), "{refused:?}");
}

#[test]
fn averaged_weights_are_opened_by_every_verb() {
    let place = Place::with_bars();
    let _ = place
        .run(&["finetune", "bars.toml", "--quiet", "--set", "schedule.epochs=2"])
        .ended(0);
    let plain = place.run(&["predict", "runs/bars", "bars", "--json"]).ended(0);
    assert!(
        plain.stderr.contains("its best are runs/bars/checkpoints/best\n"),
        "{plain:?}"
    );
    let averaged = place
        .run(&["predict", "runs/bars", "bars", "--json", "--ema"])
        .ended(0);
    assert!(
        averaged.stderr.contains("runs/bars/checkpoints/best-ema\n"),
        "{averaged:?}"
    );
    assert_ne!(plain.stdout, averaged.stdout);
    let init = [
        "finetune",
        "bars.toml",
        "--set",
        "init=runs/bars",
        "--set",
        "name=next",
        "--set",
        "init_ema=true",
    ];
    let begun = place
        .run(&[&init[..], &["--set", "schedule.epochs=1"]].concat())
        .ended(0);
    assert!(
        begun.stderr.contains("checkpoints/last/ema.safetensors")
            || begun.stderr.contains("/ema.safetensors"),
        "{begun:?}"
    );
}
