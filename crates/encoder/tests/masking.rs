//! What makes the encoder right: packed = masked-dense = the naive definition, no leak, independent images.

mod naive;

use std::collections::BTreeMap;

use fcmae_blocks::{
    Aggregation, BlockKind, Components, DropPathDraws, Normalizer, Placement, ResponseConfig, ResponseKind,
};
use fcmae_encoder::{EncoderConfig, Pass, SparseEncoder, masked_dense};
use fcmae_kernels::{GrnScope, pack_tiles, unpack_tiles};
use fcmae_masking::{MaskConfig, PatchGrid, PatchMask, RandomMask, VisibleLayout};
use fcmae_testing::assert_close;
use proptest::prelude::*;
use tch::{Device, Kind, Tensor, nn};

/// Relative deviation allowed. Some random networks multiply rounding by a thousand: 3e-11 was seen.
const TOLERANCE: f64 = 1e-9;

/// A small network with lively parameters (nothing is at its initial 0 or 1), images and a mask.
#[derive(Debug, Clone)]
struct Case {
    config: EncoderConfig,
    grid: PatchGrid,
    images: usize,
    mask_ratio: f64,
    seed: u64,
}

struct Built {
    vs: nn::VarStore,
    encoder: SparseEncoder,
    images: Tensor,
    mask: PatchMask,
    layout: VisibleLayout,
}

fn normal(shape: &[i64], seed: u64, purpose: u64) -> Tensor {
    let mut stream = fcmae_random::Stream::new(seed, fcmae_random::Purpose::Init, 1, purpose);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| stream.normal()).collect();
    Tensor::from_slice(&values).view(shape)
}

impl Case {
    fn build(&self) -> Built {
        tch::set_num_threads(1); // tensors this small only wait for more
        let mut vs = nn::VarStore::new(Device::Cpu);
        let encoder = SparseEncoder::new(&vs.root(), &self.config).unwrap();
        vs.set_kind(Kind::Double);
        for (name, parameter) in vs.variables() {
            let size = parameter.size();
            let fan_in: i64 = size[1..].iter().product();
            let draw = normal(&size, self.seed, fcmae_random::hash64(name.as_bytes()));
            let value = match () {
                () if name.contains("grn.") || name.ends_with("gamma") => draw * 0.5,
                () if name.ends_with("bias") => draw * 0.1,
                () if size.len() == 1 => draw * 0.2 + 1.0,
                () => draw / (fan_in as f64).sqrt(),
            };
            tch::no_grad(|| parameter.shallow_clone().copy_(&value));
        }
        let patch = self.config.total_stride();
        let shape = [
            self.images,
            self.config.in_chans,
            self.grid.rows * patch,
            self.grid.cols * patch,
        ];
        let ids: Vec<u64> = (0..self.images as u64).collect();
        let sampler = RandomMask::new(MaskConfig::random(self.mask_ratio));
        let mask = sampler.sample(self.grid, self.seed, 0, &ids).unwrap();
        let layout = VisibleLayout::from(&mask);
        Built {
            vs,
            encoder,
            images: normal(&shape.map(|s| s as i64), self.seed, 0),
            mask,
            layout,
        }
    }
}

/// What the block has, or anything that can stand in GRN's place. Divisors that may cross zero are left out: rounding
/// would pass any tolerance.
fn responses() -> impl Strategy<Value = ResponseConfig> {
    let kind = prop::sample::select(vec![
        ResponseKind::None,
        ResponseKind::Lrn,
        ResponseKind::Bn,
        ResponseKind::Ln,
        ResponseKind::Se,
        ResponseKind::Cbam,
    ]);
    let placement = prop::sample::select(vec![
        Placement::AfterGelu,
        Placement::AfterDwconv,
        Placement::AfterPwconv2,
    ]);
    let placed = (kind, placement.clone()).prop_map(|(kind, placement)| ResponseConfig {
        kind: Some(kind),
        placement: if kind == ResponseKind::None {
            Placement::AfterGelu
        } else {
            placement
        },
        ..ResponseConfig::default()
    });
    let (l2, l1, avg) = (Aggregation::L2, Aggregation::L1, Aggregation::Avg);
    let (mean, standard, inverse) = (
        Normalizer::DivisiveMean,
        Normalizer::Standardise,
        Normalizer::InverseSum,
    );
    let form = prop::sample::select(vec![
        (l2, mean, Components::Full),
        (l1, mean, Components::Full),
        (l2, standard, Components::Full),
        (avg, standard, Components::Full),
        (l2, inverse, Components::Full),
        (l2, mean, Components::Affine),
        (l1, mean, Components::G),
        (avg, mean, Components::G),
        (l2, standard, Components::N),
    ]);
    let forms = (form, placement, any::<bool>()).prop_map(
        |((aggregation, normalizer, components), placement, residual)| ResponseConfig {
            kind: Some(ResponseKind::Grn),
            placement,
            aggregation,
            normalizer,
            components,
            residual,
        },
    );
    prop_oneof![Just(ResponseConfig::default()), placed, forms]
}

fn cases() -> impl Strategy<Value = Case> {
    let shapes = prop_oneof![
        Just((vec![1, 1], vec![3, 5], 2)),
        Just((vec![2, 1, 1], vec![4, 3, 6], 1)),
        Just((vec![1], vec![7], 3)),
    ];
    let block = prop_oneof![Just(BlockKind::V2), Just(BlockKind::V1)];
    let scope = prop_oneof![Just(GrnScope::Sample), Just(GrnScope::Batch)];
    let sizes = (1..4usize, 2..5usize, 1..4usize, 1..4usize);
    let block = (block, responses());
    (shapes, block, scope, sizes, 0.05..0.95f64, any::<u64>()).prop_filter_map(
        "a mask that hides all or nothing",
        |(
            (depths, dims, stem_stride),
            (block, response),
            grn_scope,
            (rows, cols, images, in_chans),
            mask_ratio,
            seed,
        )| {
            let config = EncoderConfig {
                depths,
                dims,
                stem_stride,
                block,
                response,
                grn_scope,
                in_chans,
                drop_path: 0.3,
                ..EncoderConfig::default()
            };
            let grid = PatchGrid { rows, cols };
            let fits = MaskConfig::random(mask_ratio).validate(&grid).is_ok() && config.validate().is_ok();
            fits.then_some(Case {
                config,
                grid,
                images,
                mask_ratio,
                seed,
            })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Every stage, forward, against whole maps with masks; V1 and V2 against loops over a dictionary of sites too.
    #[test]
    fn packed_equals_masked_dense_equals_naive(case in cases()) {
        let b = case.build();
        let packed = b.encoder.forward_stages(&b.images, &b.layout, &Pass::default());
        let dense = masked_dense(&b.encoder, &b.images, &b.mask, &Pass::default());
        let naive = (case.config.response == ResponseConfig::default())
            .then(|| naive::encoder(&case.config, &b.vs, &b.images, &b.mask));
        for (s, stage) in packed.iter().enumerate() {
            let map = unpack_tiles(stage, &b.layout);
            assert_close(&format!("stage {s}, masked-dense"), &map, &dense[s], TOLERANCE);
            if let Some(naive) = &naive {
                assert_close(&format!("stage {s}, naive"), &map, &naive[s], TOLERANCE);
            }
        }
    }

    /// Every gradient of a random linear function of the output, in training: branches are dropped, and batch
    /// normalization takes the batch's statistics and moves the running ones.
    #[test]
    fn gradients_of_packed_equal_those_of_masked_dense(case in cases()) {
        let b = case.build();
        let images = b.images.set_requires_grad(true);
        let ids: Vec<u64> = (0..case.images as u64).collect();
        let draws = DropPathDraws::new(case.seed, 0, &ids, case.config.blocks());
        let pass = Pass { draws: Some(&draws), is_training: true, ..Pass::default() };
        let statistics = || -> BTreeMap<String, Tensor> {
            let all = b.vs.variables().into_iter().filter(|(_, t)| !t.requires_grad());
            all.map(|(name, t)| (name, t.copy())).collect()
        };
        let before = statistics();
        let packed = b.encoder.forward(&images, &b.layout, &pass);
        let moved = statistics();
        for (name, start) in before {
            prop_assert!(name.contains("bn.running_"), "{}", name);
            b.vs.variables()[&name].shallow_clone().copy_(&start);
        }
        let probe = normal(&packed.size(), case.seed, 1);
        let parameters = b.vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
        let leaves: Vec<(String, Tensor)> = parameters.chain([("images".into(), images.shallow_clone())]).collect();
        let gradients = |output: &Tensor| {
            let tensors: Vec<&Tensor> = leaves.iter().map(|(_, t)| t).collect();
            Tensor::run_backward(&[(output * &probe).sum(Kind::Double)], &tensors, false, false)
        };
        let ours = gradients(&packed);
        let dense = masked_dense(&b.encoder, &images, &b.mask, &pass).pop().unwrap();
        for (name, r) in statistics() {
            assert_close(&name, &moved[&name], &r, TOLERANCE);
        }
        let reference = gradients(&pack_tiles(&dense, &b.layout));
        // A small gradient is a sum of larger numbers that cancel, and is as exact as those: a bias that gates all
        // sites, say, or what is zero but for rounding.
        let largest = |t: &Tensor| t.abs().max().double_value(&[]);
        let scale = 1e-2 * reference.iter().map(largest).fold(0.0, f64::max);
        for (((name, _), a), r) in leaves.iter().zip(&ours).zip(&reference) {
            let deviation = largest(&(a - r)) / largest(r).max(scale);
            prop_assert!(deviation <= TOLERANCE, "{}: {:e}", name, deviation);
        }
        let hidden = b.mask.upsample(case.config.total_stride());
        let size = images.size();
        let hidden = Tensor::from_slice(&hidden).view([size[0], 1, size[2], size[3]]).to_kind(Kind::Double);
        prop_assert_eq!((&ours[ours.len() - 1] * hidden).abs().max().double_value(&[]), 0.0);
    }

    /// Whatever stands under the mask, not one bit of the output changes.
    #[test]
    fn hidden_pixels_change_nothing(case in cases()) {
        let b = case.build();
        let size = b.images.size();
        let hidden = Tensor::from_slice(&b.mask.upsample(case.config.total_stride())).view([size[0], 1, size[2], size[3]]);
        let changed = b.images.where_self(&hidden.logical_not(), &normal(&size, case.seed, 2));
        prop_assert_ne!(&changed, &b.images);
        let pass = Pass { is_training: true, ..Pass::default() };
        let (before, after) = (b.encoder.forward(&b.images, &b.layout, &pass), b.encoder.forward(&changed, &b.layout, &pass));
        prop_assert_eq!(before, after);
    }

    /// In scope `sample` an image's features do not depend on its neighbours in the batch; in `batch` they do.
    #[test]
    fn images_are_independent_in_scope_sample(case in cases()) {
        let b = case.build();
        let alone = |n: i64| {
            let mask = PatchMask::from_hidden(case.grid, vec![b.mask.hidden(n as usize).to_vec()]).unwrap();
            b.encoder.forward(&b.images.narrow(0, n, 1), &VisibleLayout::from(&mask), &Pass::default())
        };
        let k = b.layout.visible_per_image() as i64;
        let together = b.encoder.forward(&b.images, &b.layout, &Pass::default());
        for n in 0..case.images as i64 {
            let part = together.narrow(0, n * k, k);
            let kind = case.config.response.kind_in(case.config.block);
            let is_coupled = case.config.grn_scope == GrnScope::Batch && kind == ResponseKind::Grn;
            if !is_coupled || case.images == 1 {
                assert_close("features", &alone(n), &part, TOLERANCE);
            }
        }
    }
}

/// The crash of the reference (fact sheet §2.5): the last column hidden in every image.
#[test]
fn a_column_that_is_hidden_everywhere_is_no_problem() {
    let config = EncoderConfig {
        depths: vec![1],
        dims: vec![4],
        stem_stride: 2,
        ..EncoderConfig::default()
    };
    let grid = PatchGrid { rows: 2, cols: 2 };
    let case = Case {
        config,
        grid,
        images: 1,
        mask_ratio: 0.5,
        seed: 1,
    };
    let b = case.build();
    let layout = VisibleLayout::from(&PatchMask::from_hidden_indices(grid, &[vec![1, 3]]).unwrap());
    assert_eq!(
        b.encoder.forward(&b.images, &layout, &Pass::default()).size(),
        [2, 1, 1, 4]
    );
}
