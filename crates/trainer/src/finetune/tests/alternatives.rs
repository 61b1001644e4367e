//! Classifiers of the paper's alternatives, and its Table 2f: GRN in pre-training alone, or in fine-tuning alone.

use fcmae_blocks::ResponseKind;

use super::*;
use crate::inference::Inference;

/// The folder of a pre-training run with this in GRN's place.
fn with_response(folder: &Path, response: ResponseKind) -> PathBuf {
    let mut config = pretraining(folder);
    config.name = format!("pre-{}", response.name());
    config.model.response.kind = Some(response);
    pretrained(&config).run
}

/// The sentence on what was loaded, after a run that begins so.
fn begins_with(config: &FinetuneConfig) -> String {
    run(config);
    let vs = nn::VarStore::new(Device::Cpu);
    Classifier::new(&vs.root(), &config.model, 2).unwrap();
    start::begin(config, &["level", "upright"].map(str::to_owned), &vs)
        .unwrap()
        .swap_remove(0)
}

#[test]
fn grn_can_be_dropped_at_fine_tuning_and_added_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.init = with_response(folder.path(), ResponseKind::Grn)
        .display()
        .to_string();
    config.model.response.kind = Some(ResponseKind::None);
    config.name = "dropped".into();
    let message = refusal(&config);
    assert!(
        message.contains("6 unexpected (`stages.0.0.grn.beta`")
            && message.contains("`init_allow_unused` = []"),
        "{message}"
    );
    config.init_allow_unused = vec!["*.grn.*".into()];
    let news = begins_with(&config);
    assert!(
        news.contains("not used: stages.0.0.grn.beta, stages.0.0.grn.gamma"),
        "{news}"
    );
    let weights = file(&config, "last/model.safetensors");
    assert!(weights.keys().all(|name| !name.contains(".grn.")));

    config.init = with_response(folder.path(), ResponseKind::None)
        .display()
        .to_string();
    config.init_allow_unused.clear();
    config.model.response.kind = None;
    config.name = "added".into();
    let message = refusal(&config);
    assert!(message.contains("6 missing (`stages.0.0.grn.beta`"), "{message}");
    config.init_allow_missing = vec!["*.grn.*".into()];
    let news = begins_with(&config);
    assert!(
        news.contains("new, not in the weights: ") && news.contains("stages.2.0.grn.gamma"),
        "{news}"
    );
    assert!(file(&config, "last/model.safetensors").contains_key("stages.0.0.grn.gamma"));
}

#[test]
fn classifiers_of_alternatives_are_trained_averaged_and_used() {
    let folder = tempfile::tempdir().unwrap();
    for response in [ResponseKind::Bn, ResponseKind::Se] {
        let mut config = tiny(folder.path());
        config.init = with_response(folder.path(), response).display().to_string();
        config.model.response.kind = Some(response);
        config.name = response.name().into();
        let summary = run(&config);
        assert!(summary.finetuned.unwrap().val_ema.unwrap().loss.is_finite());
        for weights in ["last", "best-ema"] {
            let path = config.run_folder().join("checkpoints").join(weights);
            let opened = Inference::open(&path, &["device=\"cpu\"".into(), "threads=1".into()]).unwrap();
            assert_eq!(opened.model.response.kind, Some(response));
            assert!(opened.is_classifier());
        }
    }
}
