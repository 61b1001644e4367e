//! Decoders of every kind: shapes, the order of pixels, what is read, and every gradient.

use fcmae_decoder::{Decoder, DecoderConfig, DecoderKind, Ends, Pass};
use fcmae_kernels::unpatchify;
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use fcmae_random::{Purpose, Stream, hash64};
use fcmae_testing::{F64, assert_close};
use tch::{Device, Kind, Tensor, nn};

const GRID: PatchGrid = PatchGrid { rows: 2, cols: 3 };
const DIMS: [usize; 3] = [3, 5, 6];

/// Three stages of stride 2, 4 and 8: patches of 8 px, tiles of 4, 2 and 1 sites.
fn ends(has_hidden: bool) -> Ends<'static> {
    Ends {
        dims: &DIMS,
        stem_stride: 2,
        in_chans: 2,
        has_hidden,
    }
}

fn all() -> [DecoderConfig; 4] {
    let usual = DecoderConfig {
        dim: 16,
        depth: 2,
        ..DecoderConfig::default()
    };
    let unet = DecoderConfig {
        kind: DecoderKind::Unet,
        depth: 1,
        ..usual
    };
    let transformer = DecoderConfig {
        kind: DecoderKind::Transformer,
        heads: 4,
        ..usual
    };
    [usual, unet, DecoderConfig { skip: false, ..unet }, transformer]
}

fn normal(shape: &[i64], name: &str) -> Tensor {
    let mut stream = Stream::new(3, Purpose::Verify, 0, hash64(name.as_bytes()));
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

/// With lively parameters, in f64.
fn build(config: &DecoderConfig, has_hidden: bool) -> (nn::VarStore, Decoder) {
    tch::set_num_threads(1); // tensors this small only wait for more
    let mut vs = nn::VarStore::new(Device::Cpu);
    let decoder = Decoder::new(&vs.root(), config, &ends(has_hidden)).unwrap();
    vs.set_kind(Kind::Double);
    for (name, parameter) in vs.variables() {
        let value = normal(&parameter.size(), &name) * 0.3;
        tch::no_grad(|| parameter.shallow_clone().copy_(&value));
    }
    (vs, decoder)
}

fn layout() -> VisibleLayout {
    let mask = RandomMask::new(MaskConfig::random(0.5)).sample(GRID, 1, 0, &[0, 1]);
    VisibleLayout::from(&mask.unwrap())
}

/// Outputs of an encoder's stages, leaves.
fn stages(layout: &VisibleLayout) -> Vec<Tensor> {
    let stage = |(s, &dim): (usize, &usize)| {
        let side = 4 >> s;
        let shape = [layout.rows() as i64, side, side, dim as i64];
        normal(&shape, &format!("stage {s}")).set_requires_grad(true)
    };
    DIMS.iter().enumerate().map(stage).collect()
}

fn copies(stages: &[Tensor]) -> Vec<Tensor> {
    stages.iter().map(Tensor::shallow_clone).collect()
}

#[test]
fn every_kind_predicts_every_patch() {
    for config in all() {
        for has_hidden in [true, false] {
            let layout = if has_hidden {
                layout()
            } else {
                VisibleLayout::full(2, GRID)
            };
            let (vs, decoder) = build(&config, has_hidden);
            let tokens = decoder.forward(stages(&layout), &layout, &Pass::default());
            assert_eq!(decoder.predict(&tokens).size(), [12, 128], "{config:?}");
            if has_hidden {
                assert_eq!(decoder.predict_hidden(&tokens, &layout).size(), [6, 128]);
            }
            let mask_tokens = vs
                .variables()
                .into_keys()
                .filter(|name| name.ends_with("mask_token"));
            let expected = match (has_hidden, config.kind) {
                (false, _) => 0,
                (true, DecoderKind::Unet) if config.skip => 3,
                (true, _) => 1,
            };
            assert_eq!(mask_tokens.count(), expected, "{config:?}");
        }
    }
}

/// The last map predicts the pixels of its own site, in the order of patches: seen by biases alone.
#[test]
fn predictions_are_patches_row_by_row_channel_fastest() {
    for config in all() {
        let (vs, decoder) = build(&config, true);
        let (weight, bias) = (&vs.variables()["pred.weight"], &vs.variables()["pred.bias"]);
        let numbers = Tensor::arange(bias.numel() as i64, (Kind::Double, Device::Cpu));
        tch::no_grad(|| {
            let _ = weight.shallow_clone().zero_();
            bias.shallow_clone().copy_(&numbers);
        });
        let layout = layout();
        let tokens = decoder.forward(stages(&layout), &layout, &Pass::default());
        let images = unpatchify(&decoder.predict(&tokens).view([2, 6, 128]), 2, 3, 8); // [2, 2, 16, 24]
        let side = if config.kind == DecoderKind::Unet { 2 } else { 8 };
        for (channel, row, col) in [(0, 0, 0), (1, 3, 6), (0, 9, 23), (1, 15, 8)] {
            let expected = ((row % side) * side + col % side) * 2 + channel;
            let got = images.double_value(&[1, channel, row, col]);
            assert_eq!(got, expected as f64, "{config:?}");
        }
    }
}

/// Central differences along a random direction, in every parameter and every stage that is read.
#[test]
fn gradients_equal_finite_differences() {
    for config in all() {
        let (vs, decoder) = build(&config, true);
        let (layout, stages) = (layout(), stages(&layout()));
        let value = || {
            let tokens = decoder.forward(copies(&stages), &layout, &Pass::default());
            let pred = decoder.predict_hidden(&tokens, &layout);
            (&pred * normal(&pred.size(), "probe")).sum(Kind::Double)
        };
        value().backward();
        let reads_all = config.kind == DecoderKind::Unet && config.skip;
        let read = if reads_all { 0 } else { 2 };
        let inputs = (read..3).map(|s| (format!("stage {s}"), stages[s].shallow_clone()));
        for (name, leaf) in vs.variables().into_iter().chain(inputs) {
            let direction = normal(&leaf.size(), &format!("{name}, direction"));
            let moved = |by: f64| {
                tch::no_grad(|| {
                    let start = leaf.detach().copy();
                    leaf.detach().copy_(&(&start + &direction * by));
                    let moved = value().double_value(&[]);
                    leaf.detach().copy_(&start);
                    moved
                })
            };
            let numeric = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            let analytic = (leaf.grad() * &direction).sum(Kind::Double).double_value(&[]);
            let error = (numeric - analytic).abs() / analytic.abs().max(1.0);
            assert!(error < 1e-6, "{config:?} {name}: {numeric} {analytic}");
        }
        let is_unread = |stage: &Tensor| !stage.grad().defined();
        assert!(stages[..read].iter().all(is_unread), "{config:?}");
    }
}

/// Without its blocks a UNet is a chain of LayerNorms and transposed convolutions on whole maps.
#[test]
fn a_unet_climbs_by_transposed_convolutions() {
    let (vs, decoder) = build(&all()[2], false); // without skips
    for (name, parameter) in vs.variables() {
        if name.contains(".pwconv2.") {
            let _ = tch::no_grad(|| parameter.shallow_clone().zero_()); // blocks that add nothing
        }
    }
    let layout = VisibleLayout::full(1, PatchGrid { rows: 1, cols: 1 });
    let stages = stages(&layout);
    let tokens = decoder.forward(copies(&stages), &layout, &Pass::default()); // [1, 4, 4, 4]
    let get = |name: &str| vs.variables()[name].shallow_clone();
    let (w, b) = (get("proj.weight"), get("proj.bias"));
    let encoded = stages[2].permute([0, 3, 1, 2]);
    let mut x = encoded.conv2d(&w, Some(&b), [1, 1], [0, 0], [1, 1], 1);
    for (level, dim) in [(1, 8i64), (2, 4)] {
        let get = |name: &str| get(&format!("decoder.{level}.{name}"));
        let (w, b) = (get("norm.weight"), get("norm.bias"));
        let rows = x.permute([0, 2, 3, 1]);
        let rows = rows.layer_norm([2 * dim], Some(&w), Some(&b), 1e-6, false);
        let kernel = get("expand.weight")
            .view([2, 2, dim, 2 * dim])
            .permute([3, 2, 0, 1]);
        let map = rows.permute([0, 3, 1, 2]);
        x = map.conv_transpose2d(&kernel, None::<&Tensor>, [2, 2], [0, 0], [0, 0], 1, [1, 1]);
        let side = x.size()[2] / 2;
        x += get("expand.bias")
            .view([2, 2, dim])
            .permute([2, 0, 1])
            .repeat([1, side, side]);
    }
    assert_close("tokens", &tokens, &x.permute([0, 2, 3, 1]), F64.forward);
}
