//! What makes the encoder right: packed = masked-dense = the naive definition, no leak, independent images.

mod naive;

use fcmae_blocks::BlockKind;
use fcmae_encoder::{EncoderConfig, Pass, SparseEncoder, masked_dense};
use fcmae_kernels::{GrnScope, pack_tiles, unpack_tiles};
use fcmae_masking::{MaskConfig, PatchGrid, PatchMask, RandomMask, VisibleLayout};
use fcmae_testing::{F64, assert_close};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor, nn};

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
        let sampler = RandomMask::new(MaskConfig {
            mask_ratio: self.mask_ratio,
        });
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

fn cases() -> impl Strategy<Value = Case> {
    let shapes = prop_oneof![
        Just((vec![1, 1], vec![3, 5], 2)),
        Just((vec![2, 1, 1], vec![4, 3, 6], 1)),
        Just((vec![1], vec![7], 3)),
    ];
    let block = prop_oneof![Just(BlockKind::V2), Just(BlockKind::V1)];
    let scope = prop_oneof![Just(GrnScope::Sample), Just(GrnScope::Batch)];
    let sizes = (1..4usize, 2..5usize, 1..4usize, 1..4usize);
    (shapes, block, scope, sizes, 0.05..0.95f64, any::<u64>()).prop_filter_map(
        "a mask that hides all or nothing",
        |(
            (depths, dims, stem_stride),
            block,
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
                grn_scope,
                in_chans,
                ..EncoderConfig::default()
            };
            let grid = PatchGrid { rows, cols };
            let fits = MaskConfig { mask_ratio }.validate(&grid).is_ok();
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
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Every stage, forward, against whole maps with masks and against loops over a dictionary of sites.
    #[test]
    fn packed_equals_masked_dense_equals_naive(case in cases()) {
        let b = case.build();
        let packed = b.encoder.forward_stages(&b.images, &b.layout, &Pass::default());
        let dense = masked_dense(&b.encoder, &b.images, &b.mask);
        let naive = naive::encoder(&case.config, &b.vs, &b.images, &b.mask);
        for (s, stage) in packed.iter().enumerate() {
            let map = unpack_tiles(stage, &b.layout);
            assert_close(&format!("stage {s}, masked-dense"), &map, &dense[s], F64.forward);
            assert_close(&format!("stage {s}, naive"), &map, &naive[s], F64.forward);
        }
    }

    /// Every gradient of a random linear function of the output.
    #[test]
    fn gradients_of_packed_equal_those_of_masked_dense(case in cases()) {
        let b = case.build();
        let images = b.images.set_requires_grad(true);
        let packed = b.encoder.forward(&images, &b.layout, &Pass::default());
        let probe = normal(&packed.size(), case.seed, 1);
        let leaves: Vec<(String, Tensor)> = b.vs.variables().into_iter().chain([("images".into(), images.shallow_clone())]).collect();
        let gradients = |output: &Tensor| {
            let tensors: Vec<&Tensor> = leaves.iter().map(|(_, t)| t).collect();
            Tensor::run_backward(&[(output * &probe).sum(Kind::Double)], &tensors, false, false)
        };
        let ours = gradients(&packed);
        let dense = masked_dense(&b.encoder, &images, &b.mask).pop().unwrap();
        let reference = gradients(&pack_tiles(&dense, &b.layout));
        for (((name, _), a), r) in leaves.iter().zip(&ours).zip(&reference) {
            // A gradient that is zero but for rounding has no scale of its own.
            if r.abs().max().double_value(&[]) > 1e-9 {
                assert_close(name, a, r, F64.gradient);
            }
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
        let (before, after) = (b.encoder.forward(&b.images, &b.layout, &Pass::default()), b.encoder.forward(&changed, &b.layout, &Pass::default()));
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
            let is_coupled = case.config.grn_scope == GrnScope::Batch && case.config.block == BlockKind::V2;
            if !is_coupled || case.images == 1 {
                assert_close("features", &alone(n), &part, F64.forward);
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
