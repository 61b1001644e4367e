//! Runs of the paper's alternatives: they resume, and what they leave is read.

use fcmae_blocks::ResponseKind;
use fcmae_checkpoint::read_weights;
use fcmae_decoder::DecoderKind;
use fcmae_encoder::{DenseFill, EncoderKind};
use fcmae_masking::MaskKind;

use super::*;

/// One epoch, without pictures.
fn short(folder: &Path, name: &str) -> PretrainConfig {
    let mut config = tiny(folder);
    config.name = name.into();
    config.schedule.epochs = 1;
    config.checkpoint.every_steps = 0;
    config.log.reconstructions_every_epochs = 0;
    config
}

/// A window that a stop throws away leaves no trace in running statistics.
#[test]
fn batch_norm_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = tiny(folder.path());
    config.model.response.kind = Some(ResponseKind::Bn);
    config.name = "undisturbed".into();
    run(&config);
    let undisturbed = left(&config);
    assert!(undisturbed.moments.keys().all(|name| !name.contains("running_")));
    let moved = &undisturbed.weights["encoder.stages.0.0.bn.running_mean"];
    assert!(moved.to_f32().unwrap().iter().all(|&mean| mean != 0.0));
    for poll in [2, 5, 8, 14] {
        config.name = format!("stopped-{poll}");
        let stop = StopFlag::at_poll(poll);
        let summary = pretrain(&config, &quiet(Start::Continue, stop)).unwrap();
        assert_eq!(summary.ending, Ending::Stopped);
        run(&config);
        assert!(left(&config) == undisturbed, "stopped at poll {poll}");
    }
}

#[test]
fn every_encoder_and_decoder_is_trained_saved_and_read() {
    let folder = tempfile::tempdir().unwrap();
    type Change = fn(&mut PretrainConfig);
    let cases: [(&str, Change, bool); 5] = [
        (
            "masked-dense",
            |c| {
                c.model.encoder = EncoderKind::MaskedDense;
                c.mask.kind = MaskKind::Block;
            },
            true,
        ),
        (
            "token",
            |c| (c.model.encoder, c.decoder.kind) = (EncoderKind::Dense, DecoderKind::Unet),
            false,
        ),
        (
            "zero",
            |c| (c.model.encoder, c.model.dense_fill) = (EncoderKind::Dense, DenseFill::Zero),
            false,
        ),
        (
            "unet",
            |c| (c.decoder.kind, c.mask.kind) = (DecoderKind::Unet, MaskKind::Grid),
            false,
        ),
        (
            "transformer",
            |c| {
                c.decoder.kind = DecoderKind::Transformer;
                c.decoder.heads = 2;
                c.model.response.kind = Some(ResponseKind::Se);
            },
            false,
        ),
    ];
    for (name, change, is_plain) in cases {
        let mut config = short(folder.path(), name);
        change(&mut config);
        config.validate().unwrap();
        let summary = run(&config);
        assert!(summary.held_out_loss.unwrap().is_finite(), "{name}");

        let weights = read_weights(&summary.run).unwrap();
        assert_eq!(weights.architecture.decoder.is_some(), is_plain, "{name}");
        let trained = Pretrained::open(&summary.run, Device::Cpu).unwrap();
        let encoder = trained.vs.variables();
        let encoder = encoder.keys().filter(|name| name.starts_with("encoder."));
        assert_eq!(weights.encoder.len(), encoder.count(), "{name}");
        let image = config.data.path.as_ref().unwrap().join("000.png");
        let rows = trained
            .reconstruct(&[image.into()], &Hide::Patches(vec![0, 3]))
            .unwrap();
        assert!(rows[0].loss.is_finite(), "{name}");
    }
}

#[test]
fn a_run_says_what_is_not_on_the_kernels() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = short(folder.path(), "run");
    let kernels = |config: &PretrainConfig| {
        Input::check(config, Start::Continue)
            .unwrap()
            .beginning
            .machine
            .kernels
    };
    let plain = kernels(&config);
    config.model.response.kind = Some(ResponseKind::None);
    assert_eq!(kernels(&config), plain);
    config.model.response.kind = Some(ResponseKind::Cbam);
    assert_eq!(
        kernels(&config),
        format!("{plain}; the encoder's blocks by single operations")
    );
    config.model.encoder = EncoderKind::MaskedDense;
    assert_eq!(
        kernels(&config),
        format!("{plain}; the encoder on whole maps by libtorch operations")
    );
    let [network, images] =
        Pretraining::introduction(&Input::check(&config, Start::Continue).unwrap(), 1_000_000);
    assert_eq!(
        network,
        "test with cbam in GRN's place · convnext decoder 1×8 · 1.00 M parameters"
    );
    assert!(
        images.ends_with("patches of 8 px, 0.6 of them hidden"),
        "{images}"
    );
}
