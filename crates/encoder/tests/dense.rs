//! The dense network ("all visible") against the reference's numbers.

use fcmae_encoder::{Classifier, EncoderConfig, Pass};
use fcmae_kernels::unpack_tiles;
use fcmae_masking::{PatchGrid, VisibleLayout};
use fcmae_testing::{F32, F64, Golden, Tolerance, assert_close};
use tch::{Device, Kind, nn};

fn check(kind: Kind, tolerance: Tolerance) {
    let g = Golden::open(env!("CARGO_MANIFEST_DIR"), "dense.safetensors");
    let config = EncoderConfig {
        depths: vec![1, 1, 2, 1],
        dims: vec![8, 16, 24, 32],
        ..EncoderConfig::default()
    };
    let mut vs = nn::VarStore::new(Device::Cpu);
    let model = Classifier::new(&vs.root(), &config, 10).unwrap();
    g.fill(&vs, "weight.");
    vs.set_kind(kind);

    let images = g.get("images", kind);
    let layout = VisibleLayout::full(2, PatchGrid { rows: 2, cols: 2 });
    for (s, stage) in model
        .encoder()
        .forward_stages(&images, &layout, &Pass::default())
        .iter()
        .enumerate()
    {
        let map = unpack_tiles(stage, &layout).permute([0, 3, 1, 2]);
        assert_close(
            &format!("stage {s}"),
            &map,
            g.find(&format!("stage.{s}")),
            tolerance.forward,
        );
    }
    let pooled = model.pooled(&images, &Pass::default()).unwrap();
    assert_close("pooled", &pooled, g.find("pooled"), tolerance.forward);
    let logits = model.forward(&images, &Pass::default()).unwrap();
    assert_close("logits", &logits, g.find("logits"), tolerance.forward);

    let loss = logits
        .log_softmax(-1, kind)
        .nll_loss(&g.get("labels", Kind::Int64));
    assert_close("loss", &loss.view([1]), g.find("loss"), tolerance.loss);
    loss.backward();
    for (name, parameter) in vs.variables() {
        let reference = g.find(&format!("grad.{name}"));
        assert_close(
            &format!("gradient of {name}"),
            &parameter.grad(),
            reference,
            tolerance.gradient,
        );
    }
}

#[test]
fn in_f64() {
    check(Kind::Double, F64);
}

#[test]
fn in_f32() {
    check(Kind::Float, F32);
}

#[test]
fn an_image_that_the_stride_does_not_divide_is_an_error() {
    let vs = nn::VarStore::new(Device::Cpu);
    let model = Classifier::new(&vs.root(), &EncoderConfig::default(), 10).unwrap();
    let images = tch::Tensor::zeros([1, 3, 64, 70], (Kind::Float, Device::Cpu));
    let error = model.forward(&images, &Pass::default()).unwrap_err().to_string();
    assert!(
        error.contains("width 70") && error.contains("64") && error.contains("96"),
        "{error}"
    );
}
