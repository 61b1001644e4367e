//! Encoders, decoders and responses of the paper's tables in one model: equal where they are the same function, free of
//! leaks where they claim it, trained in every parameter.

use fcmae_blocks::{ResponseConfig, ResponseKind};
use fcmae_decoder::{DecoderConfig, DecoderKind};
use fcmae_encoder::{DenseFill, EncoderConfig, EncoderKind};
use fcmae_kernels::select_hidden;
use fcmae_masking::{MaskConfig, PatchGrid, PatchMask, RandomMask, VisibleLayout};
use fcmae_model::{Fcmae, FcmaeConfig, Init, ModelError, Pass, Step};
use fcmae_random::{Purpose, Stream, hash64};
use fcmae_testing::{F64, assert_close};
use tch::{Device, Kind, Tensor, nn};

const SAMPLES: [u64; 2] = [5, 6];

fn normal(shape: &[i64], name: &str) -> Tensor {
    let mut stream = Stream::new(11, Purpose::Verify, 0, hash64(name.as_bytes()));
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

fn config(encoder: EncoderKind, decoder: DecoderKind, response: ResponseKind) -> FcmaeConfig {
    FcmaeConfig {
        encoder: EncoderConfig {
            depths: vec![1, 1],
            dims: vec![4, 6],
            stem_stride: 2,
            encoder,
            response: ResponseConfig {
                kind: Some(response),
                ..ResponseConfig::default()
            },
            ..EncoderConfig::default()
        },
        decoder: DecoderConfig {
            kind: decoder,
            dim: 16,
            ..DecoderConfig::default()
        },
        ..FcmaeConfig::default()
    }
}

struct Case {
    vs: nn::VarStore,
    model: Fcmae,
    images: Tensor,
    mask: PatchMask,
}

/// Lively parameters, in f64, equal where names are.
fn build(config: &FcmaeConfig) -> Case {
    tch::set_num_threads(1); // tensors this small only wait for more
    let mut vs = nn::VarStore::new(Device::Cpu);
    let model = Fcmae::new(&vs.root(), config).unwrap();
    vs.set_kind(Kind::Double);
    for (name, parameter) in vs.variables() {
        let value = match normal(&parameter.size(), &name) * 0.4 {
            draw if name.ends_with("running_var") => draw.abs() + 0.5,
            draw => draw,
        };
        tch::no_grad(|| parameter.shallow_clone().copy_(&value));
    }
    let grid = PatchGrid { rows: 3, cols: 4 };
    let mask = RandomMask::new(MaskConfig::default()).sample(grid, 1, 0, &SAMPLES);
    Case {
        vs,
        model,
        images: normal(&[2, 3, 12, 16], "images"),
        mask: mask.unwrap(),
    }
}

fn step() -> Step<'static> {
    Step {
        precision: Kind::Double,
        pass: Pass {
            is_training: true,
            ..Pass::default()
        },
    }
}

impl Case {
    fn loss(&self) -> Tensor {
        self.model.loss(&self.images, &self.mask, &step()).unwrap()
    }

    /// Other pixels wherever patches are hidden.
    fn with_other_hidden_pixels(&self) -> Tensor {
        let size = self.images.size();
        let hidden = Tensor::from_slice(&self.mask.upsample(4)).view([2, 1, size[2], size[3]]);
        normal(&size, "other pixels").where_self(&hidden, &self.images)
    }

    /// A scalar of the predictions of hidden patches, and its gradients by name.
    fn predictions(&self, images: &Tensor) -> (f64, Vec<(String, Tensor)>) {
        let pred = self.model.predict(images, &self.mask, &step()).unwrap();
        let pred = select_hidden(&pred.flatten(0, 1), &VisibleLayout::from(&self.mask));
        let value = (&pred * normal(&pred.size(), "probe")).sum(Kind::Double);
        let parameters = self.vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
        let mut parameters: Vec<(String, Tensor)> = parameters.collect();
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        let inputs: Vec<&Tensor> = parameters.iter().map(|(_, t)| t).collect();
        let gradients = Tensor::run_backward(&[&value], &inputs, false, false);
        let names = parameters.iter().map(|(name, _)| name.clone());
        (value.double_value(&[]), names.zip(gradients).collect())
    }
}

const DECODERS: [DecoderKind; 3] = [DecoderKind::ConvNext, DecoderKind::Unet, DecoderKind::Transformer];
const ENCODERS: [EncoderKind; 3] = [EncoderKind::Sparse, EncoderKind::MaskedDense, EncoderKind::Dense];
const RESPONSES: [ResponseKind; 4] = [
    ResponseKind::Grn,
    ResponseKind::None,
    ResponseKind::Bn,
    ResponseKind::Cbam,
];

#[test]
fn sparse_and_masked_dense_are_the_same_model() {
    for decoder in DECODERS {
        for response in RESPONSES {
            let [sparse, dense] = [EncoderKind::Sparse, EncoderKind::MaskedDense]
                .map(|encoder| build(&config(encoder, decoder, response)));
            let what = format!("{decoder:?} {response:?}");
            let (a, b) = (sparse.loss(), dense.loss());
            assert_close(&what, &a.view([1]), &b.view([1]), F64.loss);
            a.backward();
            b.backward();
            let mut compared = 0;
            for (name, parameter) in sparse.vs.variables() {
                let other = &dense.vs.variables()[&name];
                if !parameter.requires_grad() {
                    assert_close(&format!("{what} {name}"), &parameter, other, F64.forward); // running statistics
                } else if other.grad().abs().max().double_value(&[]) > 1e-9 {
                    assert_close(
                        &format!("{what} {name}"),
                        &parameter.grad(),
                        &other.grad(),
                        F64.gradient,
                    );
                    compared += 1;
                }
            }
            assert!(compared > 25, "{what}: {compared}");
        }
    }
}

/// Whatever stands under the mask: not a bit of a prediction, and of what trains the weights towards it, changes. In
/// the loss hidden pixels are the target and nothing else.
#[test]
fn hidden_pixels_reach_no_prediction() {
    for encoder in ENCODERS {
        for decoder in DECODERS {
            for response in RESPONSES {
                let case = build(&config(encoder, decoder, response));
                let (before, gradients) = case.predictions(&case.images);
                let (after, again) = case.predictions(&case.with_other_hidden_pixels());
                assert_eq!(before, after, "{encoder:?} {decoder:?} {response:?}");
                for ((name, a), (_, b)) in gradients.iter().zip(&again) {
                    assert_eq!(a, b, "{encoder:?} {decoder:?} {response:?} {name}");
                }
            }
        }
    }
}

/// What stands in the images of a dense encoder in place of hidden patches changes what it makes of visible ones: the
/// leak that the sparse encoder does not have.
#[test]
fn a_dense_encoder_sees_its_mask_token() {
    let case = build(&config(
        EncoderKind::Dense,
        DecoderKind::ConvNext,
        ResponseKind::Grn,
    ));
    let token = case.vs.variables()["mask_token"].shallow_clone();
    assert_eq!(token.size(), [1, 3, 2, 2]); // one patch of the stem
    let (before, gradients) = case.predictions(&case.images);
    let moves = |(name, gradient): &(String, Tensor)| {
        name == "mask_token" && gradient.abs().max().double_value(&[]) > 0.0
    };
    assert!(gradients.iter().any(moves));
    let _ = tch::no_grad(|| token.shallow_clone().fill_(2.0));
    assert_ne!(case.predictions(&case.images).0, before);

    let mut zero = config(EncoderKind::Dense, DecoderKind::ConvNext, ResponseKind::Grn);
    zero.encoder.dense_fill = DenseFill::Zero;
    let zero = build(&zero);
    assert!(!zero.vs.variables().contains_key("mask_token"));
    // zeros are a token of zeros
    let _ = tch::no_grad(|| token.shallow_clone().zero_());
    assert_eq!(zero.predictions(&zero.images).0, case.predictions(&case.images).0);
}

#[test]
fn every_parameter_is_trained_in_every_precision() {
    for encoder in ENCODERS {
        for decoder in DECODERS {
            for response in RESPONSES {
                for precision in [Kind::Float, Kind::BFloat16] {
                    let vs = nn::VarStore::new(Device::Cpu);
                    let config = config(encoder, decoder, response);
                    let model = Fcmae::new(&vs.root(), &config).unwrap();
                    model.initialise(&vs, 3);
                    let what = format!("{encoder:?} {decoder:?} {response:?} {precision:?}");
                    let grid = PatchGrid { rows: 3, cols: 4 };
                    let mask = RandomMask::new(MaskConfig::default()).sample(grid, 1, 0, &SAMPLES);
                    let images = normal(&[2, 3, 12, 16], "images").to_kind(Kind::Float);
                    let step = Step { precision, ..step() };
                    let loss = model.loss(&images, &mask.unwrap(), &step).unwrap();
                    let start = loss.double_value(&[]);
                    assert!((start - 1.0).abs() < 0.3, "{what}: {start}"); // nothing is known yet
                    loss.backward();
                    for (name, parameter) in vs.variables() {
                        if parameter.requires_grad() {
                            let gradient = parameter.grad();
                            assert!(gradient.defined(), "{what} {name}");
                            assert!(gradient.isfinite().all().int64_value(&[]) == 1, "{what} {name}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_reference_has_no_start_for_what_it_has_not() {
    let mut config = config(EncoderKind::Sparse, DecoderKind::Transformer, ResponseKind::Grn);
    config.init = Init::Reference;
    let error = config.validate().unwrap_err();
    assert!(matches!(error, ModelError::Init { .. }));
    assert_eq!(
        error.to_string(),
        "`init` = \"reference\": the reference has no network of this kind (transformer), so no start for it; use \
         \"truncated\""
    );
    config.decoder = DecoderConfig::default();
    config.validate().unwrap();
    config.encoder.response.residual = false;
    assert_eq!(
        config.encoder.alternative().as_deref(),
        Some("grn of another form")
    );
    assert!(config.validate().is_err());
}
