//! What may stand in GRN's place: each against loops over sites, and blocks of it against finite differences.

mod naive;

use fcmae_blocks::{
    Aggregation, Block, BlockConfig, BlockKind, Components, Normalizer, Pass, Placement, Response,
    ResponseConfig, ResponseKind,
};
use fcmae_kernels::GrnScope;
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use fcmae_random::{Purpose, Stream, hash64};
use fcmae_testing::{F64, assert_close};
use tch::{Device, Kind, Tensor, nn};

const GRID: PatchGrid = PatchGrid { rows: 2, cols: 3 };
const SIDE: i64 = 2;

/// Two images of six tiles, of which three are visible.
fn layout() -> VisibleLayout {
    let mask = RandomMask::new(MaskConfig::random(0.5)).sample(GRID, 1, 0, &[0, 1]);
    VisibleLayout::from(&mask.unwrap())
}

fn normal(shape: &[i64], name: &str) -> Tensor {
    let mut stream = Stream::new(7, Purpose::Verify, 0, hash64(name.as_bytes()));
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

/// Nothing is at its initial 0 or 1; variances are positive.
fn fill(vs: &mut nn::VarStore) {
    tch::set_num_threads(1); // tensors this small only wait for more
    vs.set_kind(Kind::Double);
    for (name, parameter) in vs.variables() {
        let draw = normal(&parameter.size(), &name) * 0.5;
        let value = if name.ends_with("running_var") {
            draw.abs() + 0.5
        } else {
            draw
        };
        tch::no_grad(|| parameter.shallow_clone().copy_(&value));
    }
}

/// Every response, with the forms of GRN.
fn responses() -> Vec<ResponseConfig> {
    let usual = ResponseConfig::default();
    let kinds = [
        ResponseKind::None,
        ResponseKind::Grn,
        ResponseKind::Lrn,
        ResponseKind::Bn,
        ResponseKind::Ln,
        ResponseKind::Se,
        ResponseKind::Cbam,
    ];
    let mut all: Vec<_> = kinds
        .map(|kind| ResponseConfig {
            kind: Some(kind),
            ..usual
        })
        .into();
    let grn = all[1];
    for aggregation in [Aggregation::L2, Aggregation::L1, Aggregation::Avg] {
        for normalizer in [
            Normalizer::DivisiveMean,
            Normalizer::Standardise,
            Normalizer::InverseSum,
        ] {
            let form = ResponseConfig {
                aggregation,
                normalizer,
                ..grn
            };
            all.extend([
                form,
                ResponseConfig {
                    residual: false,
                    ..form
                },
            ]);
        }
    }
    for components in [Components::Affine, Components::G, Components::N] {
        all.push(ResponseConfig { components, ..grn });
    }
    all
}

#[test]
fn every_response_equals_its_definition() {
    let layout = layout();
    for config in responses() {
        for is_training in [false, true] {
            let mut vs = nn::VarStore::new(Device::Cpu);
            let response = Response::new(&vs.root(), 20, config.kind.unwrap(), &config, GrnScope::Sample);
            fill(&mut vs);
            let x = normal(&[layout.rows() as i64, SIDE, SIDE, 20], "x") + 0.5; // means that are not zero
            let pass = Pass {
                is_training,
                ..Pass::default()
            };
            let expected = naive::respond(&config, &naive::Params::new(&vs), &x, &layout, is_training);
            let expected: Vec<f64> = expected.into_iter().flatten().flatten().collect();
            let expected = Tensor::from_slice(&expected).view_as(&x);
            assert_close(
                &format!("{config:?}"),
                &response.forward(&x, &layout, &pass),
                &expected,
                F64.forward,
            );
        }
    }
}

/// The directional derivative of a block in its input and each parameter, against central differences.
fn check_gradients(config: &BlockConfig) {
    let layout = layout();
    let mut vs = nn::VarStore::new(Device::Cpu);
    let block = Block::new(&vs.root(), 5, config);
    fill(&mut vs);
    let x = normal(&[layout.rows() as i64, SIDE, SIDE, 5], "x").set_requires_grad(true);
    let probe = normal(&x.size(), "probe");
    let pass = Pass {
        is_training: true,
        ..Pass::default()
    };
    let value = || (block.forward(&x, &layout, &pass) * &probe).sum(Kind::Double);
    value().backward();
    let leaves = vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
    for (name, leaf) in leaves.chain([("x".to_owned(), x.shallow_clone())]) {
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
        let step = 1e-6;
        let numeric = (moved(step) - moved(-step)) / (2.0 * step);
        let analytic = (leaf.grad() * &direction).sum(Kind::Double).double_value(&[]);
        let size = analytic.abs().max(1.0);
        assert!(
            (numeric - analytic).abs() < 1e-6 * size,
            "{config:?} {name}: {numeric} {analytic}"
        );
    }
}

#[test]
fn gradients_equal_finite_differences() {
    for response in responses() {
        check_gradients(&BlockConfig {
            response,
            ..BlockConfig::default()
        });
    }
    // In other places, and in V1's block: with LayerScale.
    for kind in [ResponseKind::Grn, ResponseKind::Bn, ResponseKind::Cbam] {
        for placement in [Placement::AfterDwconv, Placement::AfterPwconv2] {
            let response = ResponseConfig {
                kind: Some(kind),
                placement,
                ..ResponseConfig::default()
            };
            check_gradients(&BlockConfig {
                kind: BlockKind::V1,
                response,
                ..BlockConfig::default()
            });
        }
    }
}

#[test]
fn running_statistics_follow_the_visible_sites_and_take_no_gradient() {
    let layout = layout();
    let vs = nn::VarStore::new(Device::Cpu);
    let config = ResponseConfig {
        kind: Some(ResponseKind::Bn),
        ..ResponseConfig::default()
    };
    let response = Response::new(&vs.root(), 3, ResponseKind::Bn, &config, GrnScope::Sample);
    let x = normal(&[layout.rows() as i64, SIDE, SIDE, 3], "x").to_kind(Kind::Float);
    let statistic = |name: &str| vs.variables()[name].copy();
    let _ = response.forward(&x, &layout, &Pass::default());
    assert_eq!(
        statistic("bn.running_mean"),
        Tensor::zeros([3], (Kind::Float, Device::Cpu))
    );
    let _ = response.forward(
        &x,
        &layout,
        &Pass {
            is_training: true,
            ..Pass::default()
        },
    );
    let rows = x.view([-1, 3]);
    let mean = rows.mean_dim([0i64].as_slice(), false, None::<Kind>) * 0.1;
    let var = rows.var_dim([0i64].as_slice(), true, false) * 0.1 + 0.9;
    assert_close("mean", &statistic("bn.running_mean"), &mean, 1e-6);
    assert_close("variance", &statistic("bn.running_var"), &var, 1e-6);
    assert!(!statistic("bn.running_mean").requires_grad());

    // one site has no variance: it is normalised as in evaluation, and nothing moves
    let before = statistic("bn.running_var");
    let one = VisibleLayout::full(1, PatchGrid { rows: 1, cols: 1 });
    let y = response.forward(
        &x.narrow(0, 0, 1).narrow(1, 0, 1).narrow(2, 0, 1),
        &one,
        &Pass {
            is_training: true,
            ..Pass::default()
        },
    );
    assert!(y.isfinite().all().int64_value(&[]) == 1);
    assert_eq!(statistic("bn.running_var"), before);

    // the gradient of that step stands whatever moves the statistics before it is asked for
    let _ = vs.variables()["bn.running_var"].shallow_clone().fill_(2.0);
    y.sum(Kind::Float).backward();
    assert_eq!(vs.variables()["bn.bias"].grad(), Tensor::from_slice(&[1f32; 3]));
}

/// Table 2e: SE and CBAM take ConvNeXt-B from 89 M to 109 M parameters, GRN adds next to nothing.
#[test]
fn gates_cost_what_the_paper_says() {
    let millions = |kind| {
        let stages = [(3, 128), (3, 256), (27, 512), (3, 1024)];
        let count = |channels: i64| {
            let config = ResponseConfig {
                kind: Some(kind),
                ..ResponseConfig::default()
            };
            let vs = nn::VarStore::new(Device::Cpu);
            let _ = Response::new(&vs.root(), 4 * channels, kind, &config, GrnScope::Sample);
            vs.variables().values().map(Tensor::numel).sum::<usize>() as f64
        };
        stages
            .iter()
            .map(|&(blocks, channels)| f64::from(blocks) * count(channels))
            .sum::<f64>()
            / 1e6
    };
    assert!(
        (88.6 + millions(ResponseKind::Se) - 109.5).abs() < 0.5,
        "{}",
        millions(ResponseKind::Se)
    );
    assert!((88.6 + millions(ResponseKind::Cbam) - 109.5).abs() < 0.5);
    assert!(millions(ResponseKind::Grn) < 0.2);
}

/// In bf16 what goes in comes out in bf16, near to f32.
#[test]
fn bf16_stays_close() {
    let layout = layout();
    for config in responses() {
        let vs = nn::VarStore::new(Device::Cpu);
        let response = Response::new(&vs.root(), 20, config.kind.unwrap(), &config, GrnScope::Sample);
        fcmae_blocks::initialise(&vs, 0);
        let x = (normal(&[layout.rows() as i64, SIDE, SIDE, 20], "x") + 1.0).to_kind(Kind::BFloat16);
        let y = response.forward(&x, &layout, &Pass::default());
        assert_eq!(y.kind(), Kind::BFloat16, "{config:?}");
        let exact = response.forward(&x.to_kind(Kind::Float), &layout, &Pass::default());
        assert_close(&format!("{config:?}"), &y, &exact, 1e-2);
    }
}
