//! FCMAE on the reference's square and rectangular cases, in both GRN scopes, with all gradients.

use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use fcmae_kernels::{GrnScope, unpack_tiles};
use fcmae_masking::{PatchGrid, PatchMask, VisibleLayout};
use fcmae_model::{Fcmae, FcmaeConfig, Pass, Step};
use fcmae_testing::{F32, F64, F64_STORED_AS_F32, Golden, Tolerance, assert_close};
use tch::{Device, Kind, Tensor, nn};

struct Case<'a> {
    shape: &'a str,
    scope: GrnScope,
    norm_pix_loss: bool,
}

fn mask(g: &Golden, shape: &str) -> PatchMask {
    let mask = g.find(&format!("{shape}.mask")); // [N, gh, gw], 1 = hidden
    let size = mask.size();
    let grid = PatchGrid {
        rows: size[1] as usize,
        cols: size[2] as usize,
    };
    let hidden = |n| {
        Vec::<f32>::try_from(mask.get(n).view([-1]))
            .unwrap()
            .iter()
            .map(|&m| m == 1.0)
            .collect()
    };
    PatchMask::from_hidden(grid, (0..size[0]).map(hidden).collect()).unwrap()
}

fn check(case: &Case, kind: Kind, exact: Tolerance, stored: Tolerance) {
    let Case {
        shape,
        scope,
        norm_pix_loss,
    } = *case;
    let g = Golden::open(env!("CARGO_MANIFEST_DIR"), "fcmae.safetensors");
    let config = FcmaeConfig {
        encoder: EncoderConfig {
            depths: vec![1, 1, 2, 1],
            dims: vec![8, 16, 24, 32],
            grn_scope: scope,
            ..EncoderConfig::default()
        },
        decoder: DecoderConfig {
            dim: 16,
            ..DecoderConfig::default()
        },
        norm_pix_loss,
        ..FcmaeConfig::default()
    };
    let mut vs = nn::VarStore::new(Device::Cpu);
    let model = Fcmae::new(&vs.root(), &config).unwrap();
    g.fill(&vs, "weight.");
    vs.set_kind(kind);
    let scope = if scope == GrnScope::Sample {
        "sample"
    } else {
        "batch"
    };
    let tag = format!("{shape}.{scope}.");

    let (images, mask) = (g.get(&format!("{shape}.images"), kind), mask(&g, shape));
    let layout = VisibleLayout::from(&mask);
    for (s, stage) in model
        .encoder()
        .forward_stages(&images, &layout, &Pass::default())
        .iter()
        .enumerate()
    {
        let map = unpack_tiles(stage, &layout).permute([0, 3, 1, 2]);
        let name = if s == 3 {
            format!("{tag}encoded")
        } else {
            format!("{tag}stage.{s}")
        };
        if g.has(&name) {
            let tolerance = if s == 3 { exact } else { stored };
            assert_close(&name, &map, g.find(&name), tolerance.forward);
        }
    }
    let step = Step {
        precision: kind,
        ..Step::default()
    };
    let pred = model.predict(&images, &mask, &step).unwrap(); // [N, L, 3072]
    let reference = g.find(&format!("{tag}pred")).flatten(2, 3).transpose(1, 2);
    assert_close("pred", &pred, &reference, stored.forward);

    let tag = format!("{tag}{}.", if norm_pix_loss { "norm_pix" } else { "raw" });
    let loss = model.loss(&images, &mask, &step).unwrap();
    assert_close("loss", &loss.view([1]), g.find(&format!("{tag}loss")), exact.loss);
    loss.backward();
    let mut compared = 0;
    for (name, parameter) in vs.variables() {
        let reference = format!("{tag}grad.{name}");
        if g.has(&reference) {
            let tolerance = if g.find(&reference).kind() == Kind::Float {
                stored
            } else {
                exact
            };
            assert_close(
                &reference,
                &parameter.grad(),
                g.find(&reference),
                tolerance.gradient,
            );
            compared += 1;
        }
    }
    let expected = match (shape, scope, norm_pix_loss) {
        ("square", _, true) | ("square", "sample", false) => vs.variables().len(),
        ("rect", _, true) => vs.variables().len() - 1, // all but pred.weight
        _ => 0,
    };
    assert_eq!(compared, expected, "gradients compared in {tag}");
}

fn check_all(kind: Kind, exact: Tolerance, stored: Tolerance) {
    for shape in ["square", "rect"] {
        for scope in [GrnScope::Sample, GrnScope::Batch] {
            for norm_pix_loss in [true, false] {
                check(
                    &Case {
                        shape,
                        scope,
                        norm_pix_loss,
                    },
                    kind,
                    exact,
                    stored,
                );
            }
        }
    }
}

#[test]
fn square_and_rectangle_in_f64() {
    check_all(Kind::Double, F64, F64_STORED_AS_F32);
}

#[test]
fn square_and_rectangle_in_f32() {
    check_all(Kind::Float, F32, F32);
}

/// bf16 has 8 bits of mantissa; the loss is a mean over 18,432 values and keeps more.
#[test]
fn bf16_stays_close_and_gives_finite_gradients() {
    let g = Golden::open(env!("CARGO_MANIFEST_DIR"), "fcmae.safetensors");
    let config = FcmaeConfig {
        encoder: EncoderConfig {
            depths: vec![1, 1, 2, 1],
            dims: vec![8, 16, 24, 32],
            ..EncoderConfig::default()
        },
        decoder: DecoderConfig {
            dim: 16,
            ..DecoderConfig::default()
        },
        ..FcmaeConfig::default()
    };
    let vs = nn::VarStore::new(Device::Cpu);
    let model = Fcmae::new(&vs.root(), &config).unwrap();
    g.fill(&vs, "weight.");
    let step = Step {
        precision: Kind::BFloat16,
        ..Step::default()
    };
    let loss = model
        .loss(&g.get("square.images", Kind::Float), &mask(&g, "square"), &step)
        .unwrap();
    assert_eq!(loss.kind(), Kind::Float);
    assert_close(
        "loss",
        &loss.view([1]),
        g.find("square.sample.norm_pix.loss"),
        1e-2,
    );
    loss.backward();
    for (name, parameter) in vs.variables() {
        let grad: Tensor = parameter.grad();
        assert_eq!(grad.kind(), Kind::Float, "{name}");
        assert!(grad.isfinite().all().int64_value(&[]) == 1, "{name}");
    }
}
