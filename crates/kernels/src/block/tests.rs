//! Every CPU back end against the reference in f64: output and every gradient.

use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use fcmae_random::{Purpose, Stream};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tch::{Device, Kind, Tensor};

use super::*;
use crate::backend;
use crate::cpu::Isa;
use crate::path::{Path, named};

/// Rounding of sums in f32, relative to the largest value of a tensor: up to a few thousand terms.
const TOL_FORWARD: f64 = 5e-6;
/// Gradients add up over all rows, and pass through one more product.
const TOL_GRADIENT: f64 = 5e-5;
/// Root mean square of the error in bf16, relative to that of the values.
const TOL_BF16: f64 = 2e-2;
/// How much worse than libtorch's own f32 a cancelling sum may be.
const CANCELLATION: f64 = 16.0;

#[derive(Debug, Clone)]
struct Case {
    grid: PatchGrid,
    images: usize,
    /// `None`: all visible.
    mask_ratio: Option<f64>,
    p: i64,
    c: i64,
    has_grn: bool,
    has_scale: bool,
    scope: GrnScope,
    drop_path: Option<Vec<f32>>,
    activation: Activation,
    seed: u64,
}

/// What a path computed: the output, then the gradients of the inputs.
type Results = Vec<(String, Tensor)>;

const NAMES: [&str; 12] = [
    "x",
    "dwconv.weight",
    "dwconv.bias",
    "norm.weight",
    "norm.bias",
    "pwconv1.weight",
    "pwconv1.bias",
    "pwconv2.weight",
    "pwconv2.bias",
    "grn.gamma",
    "grn.beta",
    "gamma",
];

/// The parameters among a case's inputs: V2 has GRN, V1 LayerScale, alternatives both or neither.
fn params(t: &[Tensor], has_grn: bool, has_scale: bool) -> BlockParams<'_> {
    let grn = Middle::Grn {
        gamma: &t[9],
        beta: &t[10],
    };
    let scale = End::LayerScale { gamma: &t[11] };
    BlockParams {
        dwconv_weight: &t[1],
        dwconv_bias: &t[2],
        norm_weight: &t[3],
        norm_bias: &t[4],
        pwconv1_weight: &t[5],
        pwconv1_bias: &t[6],
        middle: if has_grn { grn } else { Middle::Nothing },
        pwconv2_weight: &t[7],
        pwconv2_bias: &t[8],
        end: if has_scale { scale } else { End::Nothing },
    }
}

impl Case {
    fn layout(&self) -> VisibleLayout {
        let ids: Vec<u64> = (0..self.images as u64).collect();
        match self.mask_ratio {
            None => VisibleLayout::full(self.images, self.grid),
            Some(mask_ratio) => {
                let sampler = RandomMask::new(MaskConfig::random(mask_ratio));
                VisibleLayout::from(&sampler.sample(self.grid, self.seed, 0, &ids).unwrap())
            }
        }
    }

    fn normal(&self, i: usize, shape: &[i64], scale: f64, shift: f64) -> Tensor {
        let mut stream = Stream::new(self.seed, Purpose::Verify, 0, i as u64);
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| (stream.normal() * scale + shift) as f32)
            .collect();
        Tensor::from_slice(&values).view(shape)
    }

    /// Lively inputs: nothing is at its initial 0 or 1.
    fn inputs(&self, layout: &VisibleLayout) -> Vec<Tensor> {
        let (c, h) = (self.c, 4 * self.c);
        let root = |n: i64| 1.0 / (n as f64).sqrt();
        vec![
            self.normal(0, &[layout.rows() as i64, self.p, self.p, c], 1.0, 0.0),
            self.normal(1, &[c, 1, 7, 7], 1.0 / 7.0, 0.0),
            self.normal(2, &[c], 0.1, 0.0),
            self.normal(3, &[c], 0.2, 1.0),
            self.normal(4, &[c], 0.1, 0.0),
            self.normal(5, &[h, c], root(c), 0.0),
            self.normal(6, &[h], 0.1, 0.0),
            self.normal(7, &[c, h], root(h), 0.0),
            self.normal(8, &[c], 0.1, 0.0),
            self.normal(9, &[1, 1, 1, h], 0.5, 0.0),
            self.normal(10, &[1, 1, 1, h], 0.5, 0.0),
            self.normal(11, &[c], 0.5, 0.0),
        ]
    }

    /// Activations in `kind`, rounded to `rounded` first; parameters in f32, or f64 where activations are.
    fn compute(
        &self,
        kind: Kind,
        rounded: Kind,
        block: impl Fn(&Tensor, &BlockParams, &VisibleLayout, &BlockOptions) -> Tensor,
    ) -> Results {
        let layout = self.layout();
        let exact = if kind == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let mut t: Vec<Tensor> = self.inputs(&layout).iter().map(|t| t.to_kind(exact)).collect();
        t[0] = t[0].to_kind(rounded).to_kind(kind);
        let t: Vec<Tensor> = t.iter().map(|t| t.set_requires_grad(true)).collect();
        let params = params(&t, self.has_grn, self.has_scale);
        let options = BlockOptions {
            grn_scope: self.scope,
            drop_path: self.drop_path.as_deref(),
            activation: self.activation,
        };
        let y = block(&t[0], &params, &layout, &options);
        let probe = self
            .normal(99, &y.size(), 1.0, 0.0)
            .to_kind(rounded)
            .to_kind(kind);
        (&y * probe).sum(exact).backward();
        let mut results = vec![("output".to_owned(), y.detach())];
        for (i, (name, leaf)) in NAMES.iter().zip(&t).enumerate() {
            let is_used = i < 9 || if i < 11 { self.has_grn } else { self.has_scale };
            if is_used {
                results.push((format!("gradient of {name}"), leaf.grad()));
            }
        }
        results
    }

    /// Compares every back end of this machine with the reference.
    fn check(&self) {
        self.check_f32();
        self.repeated().check_bf16();
    }

    /// The same with more images, where there are fewer than 16 rows: a mean square of two rows is no measure.
    fn repeated(&self) -> Case {
        let rows = self.layout().rows() * (self.p * self.p) as usize;
        let times = 16usize.div_ceil(rows);
        Case {
            images: times * self.images,
            drop_path: self.drop_path.as_ref().map(|factors| factors.repeat(times)),
            ..self.clone()
        }
    }

    fn check_f32(&self) {
        let exact = self.compute(Kind::Double, Kind::Float, reference::block);
        let rounded = self.compute(Kind::Float, Kind::Float, reference::block);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let ours = self.compute(Kind::Float, Kind::Float, fast(isa));
            for (i, (name, result)) in ours.iter().enumerate() {
                let off = |t: &Tensor| largest(&(t.to_kind(Kind::Double) - &exact[i].1));
                let scale = largest(&exact[i].1);
                let tolerance = if name == "output" {
                    TOL_FORWARD
                } else {
                    TOL_GRADIENT
                };
                // Where sums cancel (LayerNorm over two channels has no slope), rounding has no scale of its own:
                // then libtorch's own f32 says what is to be expected.
                let allowed = (tolerance * scale)
                    .max(CANCELLATION * off(&rounded[i].1))
                    .max(1e-7);
                let difference = off(result);
                assert!(
                    difference <= allowed,
                    "{isa:?} {name}: {difference:.1e} at scale {scale:.1e}; {self:?}"
                );
            }
        }
    }

    /// In bf16 single numbers are off by 1/256 several times over: what is compared is the root mean square. Where
    /// there are few (a gradient of three channels, two rows) they may cancel by chance, and errors add up by chance;
    /// so what is to be expected is the most of several draws.
    fn check_bf16(&self) {
        let mut expected: Vec<(f64, f64)> = Vec::new();
        let draws = (0..5).map(|i| Case {
            seed: self.seed.wrapping_add(i),
            ..self.clone()
        });
        for draw in draws {
            let exact = draw.compute(Kind::Double, Kind::BFloat16, reference::block);
            let rounded = draw.compute(Kind::BFloat16, Kind::BFloat16, reference::block);
            expected.resize(exact.len(), (0.0, 0.0));
            for (most, ((_, exact), (_, rounded))) in expected.iter_mut().zip(exact.iter().zip(&rounded)) {
                let off = root_mean_square(&(rounded.to_kind(Kind::Double) - exact));
                *most = (most.0.max(root_mean_square(exact)), most.1.max(off));
            }
        }
        let exact = self.compute(Kind::Double, Kind::BFloat16, reference::block);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let ours = self.compute(Kind::BFloat16, Kind::BFloat16, fast(isa));
            for ((name, result), ((_, exact), (scale, off))) in ours.iter().zip(exact.iter().zip(&expected)) {
                let allowed = (TOL_BF16 * scale).max(2.0 * off).max(1e-6);
                let difference = root_mean_square(&(result.to_kind(Kind::Double) - exact));
                assert!(
                    difference <= allowed,
                    "{isa:?} in bf16, {name}: {difference:.1e} at scale {scale:.1e}; {self:?}"
                );
            }
        }
    }
}

/// The fast path on one instruction set.
fn fast(isa: Isa) -> impl Fn(&Tensor, &BlockParams, &VisibleLayout, &BlockOptions) -> Tensor {
    move |x, p, l, o| crate::cpu::block(isa, x, p, l, o).expect("f32 or bf16 on the CPU")
}

fn largest(t: &Tensor) -> f64 {
    if t.numel() == 0 {
        0.0
    } else {
        t.abs().max().double_value(&[])
    }
}

fn root_mean_square(t: &Tensor) -> f64 {
    t.square().mean(Kind::Double).sqrt().double_value(&[])
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (
        1..4usize,
        1..5usize,
        1..4usize,
        prop_oneof![1..=4i64, Just(8i64), Just(11i64)],
        1..37i64,
    );
    let kinds = (
        any::<(bool, bool)>(),
        prop_oneof![Just(GrnScope::Sample), Just(GrnScope::Batch)],
        any::<bool>(),
        prop_oneof![Just(Activation::Keep), Just(Activation::Recompute)],
    );
    (sizes, kinds, prop::option::of(0.05..0.95f64), any::<u64>()).prop_filter_map(
        "a mask that hides all or nothing",
        |((rows, cols, images, p, c), ((has_grn, has_scale), scope, drops, activation), mask_ratio, seed)| {
            let grid = PatchGrid { rows, cols };
            let fits =
                mask_ratio.is_none_or(|mask_ratio| MaskConfig::random(mask_ratio).validate(&grid).is_ok());
            let drop_path = drops.then(|| {
                (0..images)
                    .map(|n| if (seed >> n) & 1 == 0 { 0.0 } else { 1.25 })
                    .collect()
            });
            fits.then_some(Case {
                grid,
                images,
                mask_ratio,
                p,
                c,
                has_grn,
                has_scale,
                scope,
                drop_path,
                activation,
                seed,
            })
        },
    )
}

proptest! {
    // The same cases in every run: in bf16 about one random case in 2,000 is so badly conditioned (GRN over a single
    // position) that rounding alone passes the tolerance, which is no news about a change. Another seed, other cases.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(0), ..ProptestConfig::with_cases(48) })]

    /// Odd numbers of tiles, sides, channels and visible patches; all visible; dropped images; both scopes.
    #[test]
    fn every_back_end_equals_the_reference(case in cases()) {
        case.check();
    }
}

fn atto_stage(p: i64, c: i64) -> Case {
    Case {
        grid: PatchGrid { rows: 7, cols: 7 },
        images: 3,
        mask_ratio: Some(0.6),
        p,
        c,
        has_grn: true,
        has_scale: false,
        scope: GrnScope::Sample,
        drop_path: None,
        activation: Activation::Keep,
        seed: 1,
    }
}

#[test]
fn the_stages_of_atto_and_the_decoder() {
    for (p, c) in [(8, 40), (4, 80), (2, 160), (1, 320)] {
        atto_stage(p, c).check();
    }
    Case {
        mask_ratio: None,
        ..atto_stage(1, 512)
    }
    .check();
}

/// An input of zeros: every norm of GRN that can be zero is, and nothing becomes NaN.
#[test]
fn zeros_stay_finite() {
    let case = Case {
        c: 5,
        p: 2,
        ..atto_stage(2, 5)
    };
    let layout = case.layout();
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let zeros: Vec<Tensor> = case
            .inputs(&layout)
            .iter()
            .map(|t| t.zeros_like().set_requires_grad(true))
            .collect();
        let params = params(&zeros, true, false);
        let y = crate::cpu::block(isa, &zeros[0], &params, &layout, &BlockOptions::default()).unwrap();
        (y + 1.0).square().sum(Kind::Float).backward();
        for (name, leaf) in NAMES.iter().zip(&zeros).take(11) {
            assert_eq!(leaf.grad().isfinite().all().int64_value(&[]), 1, "{isa:?} {name}");
        }
    }
}

/// The same threads give the same bits, and a frozen network keeps no graph.
#[test]
fn repeats_bit_for_bit_and_keeps_nothing_without_a_graph() {
    let case = atto_stage(4, 24);
    let once = || {
        let results = case.compute(Kind::Float, Kind::Float, fast(Isa::best()));
        let halves = case.compute(Kind::BFloat16, Kind::BFloat16, fast(Isa::best()));
        results.into_iter().chain(halves)
    };
    for ((name, a), (_, b)) in once().zip(once()) {
        assert_eq!(a, b, "{name}");
    }
    let y = tch::no_grad(|| {
        let layout = case.layout();
        let t = case.inputs(&layout);
        let params = params(&t, case.has_grn, case.has_scale);
        block(&t[0], &params, &layout, &BlockOptions::default())
    });
    assert!(!y.requires_grad());
}

#[test]
fn other_kinds_take_the_reference_path() {
    let case = atto_stage(2, 8);
    let doubles = case.compute(Kind::Double, Kind::Double, block);
    assert_eq!(doubles[0].1.kind(), Kind::Double);
    let reference = "reference (libtorch operations on packed tiles)";
    assert_eq!(backend(Device::Cpu, Kind::Double), reference);
    assert_eq!(backend(Device::Cuda(0), Kind::BFloat16), reference);
}

/// Computing the hidden layer again changes no bit, and without a graph neither does keeping nothing.
#[test]
fn what_is_kept_changes_nothing() {
    for scope in [GrnScope::Sample, GrnScope::Batch] {
        let kept = Case {
            scope,
            ..atto_stage(2, 24)
        };
        let again = Case {
            activation: Activation::Recompute,
            ..kept.clone()
        };
        for kind in [Kind::Float, Kind::BFloat16] {
            let results = |case: &Case| case.compute(kind, kind, fast(Isa::best()));
            for ((name, a), (_, b)) in results(&kept).iter().zip(&results(&again)) {
                assert_eq!(a, b, "{kind:?} {name}");
            }
            let layout = kept.layout();
            let t = kept.inputs(&layout);
            let x = t[0].to_kind(kind);
            let y = fast(Isa::best())(
                &x,
                &params(&t, true, false),
                &layout,
                &BlockOptions {
                    grn_scope: scope,
                    ..BlockOptions::default()
                },
            );
            assert_eq!(y, results(&kept)[0].1, "{kind:?}");
        }
    }
}

/// A block of either version on parameters that the caller makes from their shapes.
pub(crate) fn guarded_block(
    isa: Isa,
    x: &Tensor,
    layout: &VisibleLayout,
    parameter: &dyn Fn(&[i64]) -> Tensor,
) -> Option<Tensor> {
    let c = x.size()[3];
    let h = 4 * c;
    let shapes: [&[i64]; 11] = [
        &[c, 1, 7, 7],
        &[c],
        &[c],
        &[c],
        &[h, c],
        &[h],
        &[c, h],
        &[c],
        &[h],
        &[h],
        &[c],
    ];
    let parameters = shapes.iter().map(|shape| parameter(shape));
    let t: Vec<Tensor> = std::iter::once(x.shallow_clone()).chain(parameters).collect();
    let options = BlockOptions::default();
    let y = crate::cpu::block(isa, x, &params(&t, true, false), layout, &options)?;
    crate::cpu::block(isa, &y, &params(&t, false, true), layout, &options)
}

/// One image, or fewer images than threads: images are cut, and the result is the same up to the order of sums.
#[test]
fn one_image_alone() {
    for (mask_ratio, scope) in [(None, GrnScope::Sample), (Some(0.6), GrnScope::Batch)] {
        for images in [1, 2, 3] {
            let case = Case {
                images,
                mask_ratio,
                scope,
                ..atto_stage(4, 20)
            };
            case.check();
        }
    }
}

/// Kernels trust lengths, so a parameter of another width must not get past the border.
#[test]
fn a_parameter_of_another_width_is_refused() {
    let case = atto_stage(2, 8);
    let layout = case.layout();
    let mut t = case.inputs(&layout);
    t[2] = t[2].narrow(0, 0, 5); // dwconv bias
    let call = || {
        crate::cpu::block(
            Isa::best(),
            &t[0],
            &params(&t, true, false),
            &layout,
            &BlockOptions::default(),
        )
    };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("dwconv bias of a block of width 8"), "{text}");
}

#[test]
fn a_forced_path_has_a_name_of_this_cpu() {
    assert_eq!(named("reference"), Some(Path::Reference));
    assert_eq!(named("portable"), Some(Path::Cpu(Isa::Portable)));
    assert_eq!(named(""), Some(Path::Cpu(Isa::best())));
    assert_eq!(named("avx-512"), None);
}
