//! Time and useful FLOP/s of the kernels at the shapes of real steps, with libtorch's matrix product as the ceiling.
//!
//! `cargo xtask bench kernels` runs it and prints one table. A benchmark is `<operation>/<shape>/<kind>, <pass>`; its
//! throughput in elements is the floating-point operations of one call. Shapes are those of 224 px images with 60 % of
//! the patches hidden: `V = 19·N` tiles, of `8·8` positions in stage 0 down to `1·1` in stage 3.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput};
use fcmae_kernels::{BlockOptions, BlockParams, End, Middle, block, linear};
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use tch::{Device, Kind, Tensor};

/// A model and its usual batch on a small machine.
struct Model {
    name: &'static str,
    batch: usize,
    dims: [i64; 4],
}

const MODELS: [Model; 2] = [
    Model {
        name: "atto-32",
        batch: 32,
        dims: [40, 80, 160, 320],
    },
    Model {
        name: "tiny-16",
        batch: 16,
        dims: [96, 192, 384, 768],
    },
];
/// Patches of a 224 px image.
const GRID: PatchGrid = PatchGrid { rows: 7, cols: 7 };
/// Width of the decoder.
const DECODER: i64 = 512;
/// Values of a patch, `32·32·3`.
const PIXELS: i64 = 3072;
/// Rows, columns and depth of the matrix product that is the ceiling.
const CEILING: i64 = 2048;

/// Kind of the activations and its name.
#[derive(Clone, Copy)]
struct Precision {
    name: &'static str,
    kind: Kind,
}

const PRECISIONS: [Precision; 2] = [
    Precision {
        name: "f32",
        kind: Kind::Float,
    },
    Precision {
        name: "bf16",
        kind: Kind::BFloat16,
    },
];

fn main() {
    tch::manual_seed(0);
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for precision in PRECISIONS {
        ceiling(&mut criterion, precision);
        for model in &MODELS {
            blocks(&mut criterion, model, precision);
            prediction(&mut criterion, model, precision);
        }
    }
    criterion.final_summary();
}

/// The four stages' blocks on visible patches, and the decoder's on all of them.
fn blocks(criterion: &mut Criterion, model: &Model, Precision { name, kind }: Precision) {
    for (stage, &width) in model.dims.iter().enumerate() {
        let case = BlockCase::new(visible(model), 8 >> stage, width, kind);
        case.measure(
            criterion,
            &format!("block {width}/{} stage {stage}/{name}", model.name),
        );
    }
    let case = BlockCase::new(VisibleLayout::full(model.batch, GRID), 1, DECODER, kind);
    case.measure(
        criterion,
        &format!("block {DECODER}/{} decoder/{name}", model.name),
    );
}

/// The decoder's last linear map, on the rows of hidden patches.
fn prediction(criterion: &mut Criterion, model: &Model, Precision { name, kind }: Precision) {
    let rows = (model.batch * visible(model).hidden_per_image()) as i64;
    let x = random(&[rows, DECODER], kind);
    let (weight, bias) = (
        random(&[PIXELS, DECODER], Kind::Float),
        random(&[PIXELS], Kind::Float),
    );
    let case = Case {
        operations: (2 * rows * DECODER * PIXELS) as u64,
        inputs: vec![x.shallow_clone(), weight.shallow_clone(), bias.shallow_clone()],
        forward: Box::new(move || linear(&x, &weight, &bias)),
    };
    case.measure(
        criterion,
        &format!("linear {DECODER}-{PIXELS}/{} hidden/{name}", model.name),
    );
}

/// What libtorch's matrix product reaches: no kernel here is expected to pass it.
fn ceiling(criterion: &mut Criterion, Precision { name, kind }: Precision) {
    let (a, b) = (random(&[CEILING; 2], kind), random(&[CEILING; 2], kind));
    let mut group = criterion.benchmark_group(format!("matmul/{CEILING}/{name}"));
    group.throughput(Throughput::Elements(2 * (CEILING as u64).pow(3)));
    group.bench_function("forward", |bencher| {
        bencher.iter(|| tch::no_grad(|| a.matmul(&b)))
    });
    group.finish();
}

/// The visible patches of a batch at mask ratio 0.6.
fn visible(model: &Model) -> VisibleLayout {
    let ids: Vec<u64> = (0..model.batch as u64).collect();
    let sampler = RandomMask::new(MaskConfig::random(0.6));
    VisibleLayout::from(
        &sampler
            .sample(GRID, 0, 0, &ids)
            .expect("a grid of 49 patches hides 30"),
    )
}

/// Small random numbers that want a gradient: activations in `kind`, parameters in f32 as in training.
fn random(shape: &[i64], kind: Kind) -> Tensor {
    let values = Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.1;
    values.to_kind(kind).set_requires_grad(true)
}

/// A differentiable operation with its inputs at hand.
struct Case {
    /// Floating-point operations of one forward call.
    operations: u64,
    inputs: Vec<Tensor>,
    forward: Box<dyn Fn() -> Tensor>,
}

impl Case {
    /// Forward without a graph, then forward and backward to every input.
    fn measure(&self, criterion: &mut Criterion, name: &str) {
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat); // the slow ones would take ten times as long otherwise
        group.throughput(Throughput::Elements(self.operations));
        group.bench_function("forward", |bencher| {
            bencher.iter(|| tch::no_grad(|| (self.forward)()))
        });
        // a product of matrices has two gradients, each as dear as itself
        group.throughput(Throughput::Elements(3 * self.operations));
        group.bench_function("forward and backward", |bencher| {
            bencher.iter(|| self.gradients())
        });
        group.finish();
    }

    /// Gradients of the sum of the output: nothing is accumulated, so that each call does the same.
    fn gradients(&self) -> Vec<Tensor> {
        let sum = (self.forward)().sum(Kind::Float);
        Tensor::run_backward(&[sum], &self.inputs, false, false)
    }
}

/// A block of one width with random parameters.
struct BlockCase {
    x: Tensor,
    layout: VisibleLayout,
    parameters: Vec<Tensor>,
}

impl BlockCase {
    /// `x`: `[V, side, side, width]` of `kind`; parameters in the order of [`BlockParams`].
    fn new(layout: VisibleLayout, side: i64, width: i64, kind: Kind) -> BlockCase {
        let c = width;
        let vector = |n: i64| random(&[n], Kind::Float);
        let matrix = |rows: i64, columns: i64| random(&[rows, columns], Kind::Float);
        let parameters = vec![
            random(&[c, 1, 7, 7], Kind::Float),
            vector(c),
            vector(c),
            vector(c),
            matrix(4 * c, c),
            vector(4 * c),
            random(&[1, 1, 1, 4 * c], Kind::Float),
            random(&[1, 1, 1, 4 * c], Kind::Float),
            matrix(c, 4 * c),
            vector(c),
        ];
        let x = random(&[layout.rows() as i64, side, side, c], kind);
        BlockCase {
            x,
            layout,
            parameters,
        }
    }

    fn measure(self, criterion: &mut Criterion, name: &str) {
        let mut inputs = vec![self.x.shallow_clone()];
        inputs.extend(self.parameters.iter().map(Tensor::shallow_clone));
        let case = Case {
            operations: self.operations(),
            inputs,
            forward: Box::new(move || self.forward()),
        };
        case.measure(criterion, name);
    }

    /// Depthwise 7×7 and two linear maps over every position: `rows·(2·49·C + 16·C²)`; the rest is small.
    fn operations(&self) -> u64 {
        let c = self.x.size()[3] as u64;
        let rows = self.x.numel() as u64 / c;
        rows * (2 * 49 * c + 16 * c * c)
    }

    fn forward(&self) -> Tensor {
        let p = &self.parameters;
        let params = BlockParams {
            dwconv_weight: &p[0],
            dwconv_bias: &p[1],
            norm_weight: &p[2],
            norm_bias: &p[3],
            pwconv1_weight: &p[4],
            pwconv1_bias: &p[5],
            middle: Middle::Grn {
                gamma: &p[6],
                beta: &p[7],
            },
            pwconv2_weight: &p[8],
            pwconv2_bias: &p[9],
            end: End::Nothing,
        };
        block(&self.x, &params, &self.layout, &BlockOptions::default())
    }
}
