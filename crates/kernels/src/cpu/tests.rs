//! The single operations of every CPU back end against the reference in f64: result and every gradient.

use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use fcmae_random::{Purpose, Stream};
use fcmae_testing::guarded;
use proptest::prelude::*;
use tch::{Kind, Tensor};

use super::tensor::GUARD_RESULTS;
use super::{Isa, depthwise, downsample, layer_norm, linear, masked_loss, stem};
use crate::depthwise::depthwise_reference;
use crate::loss::masked_loss_reference;
use crate::pointwise::{layer_norm_reference, linear_reference};
use crate::resolution::{downsample_reference, stem_reference};

/// Largest error relative to the largest value, in f32.
const TOL_F32: f64 = 2e-5;
/// Root mean square of the error relative to that of the values, in bf16.
const TOL_BF16: f64 = 1e-2;

/// An operation on tensors, of which the first holds activations.
struct Operation<'a> {
    name: &'a str,
    shapes: &'a [Vec<i64>],
    seed: u64,
    /// Factor of the activations: huge and tiny ones are numbers too.
    scale: f64,
    fast: &'a dyn Fn(Isa, &[Tensor]) -> Option<Tensor>,
    reference: &'a dyn Fn(&[Tensor]) -> Tensor,
}

impl Operation<'_> {
    /// Result and gradients with activations in `kind`. All numbers are first rounded to `rounded`: else a sum that
    /// happens to cancel would show how its terms were rounded rather than how they were added.
    fn compute(&self, kind: Kind, rounded: Kind, of: &dyn Fn(&[Tensor]) -> Tensor) -> Vec<Tensor> {
        let exact = if kind == Kind::Double {
            Kind::Double
        } else {
            Kind::Float
        };
        let random = |i: usize, shape: &[i64], scale: f64| {
            let mut stream = Stream::new(self.seed, Purpose::Verify, 0, i as u64);
            let n: i64 = shape.iter().product();
            let values: Vec<f32> = (0..n).map(|_| (stream.normal() * scale) as f32).collect();
            Tensor::from_slice(&values).view(shape)
        };
        let inputs = self.shapes.iter().enumerate().map(|(i, shape)| match i {
            0 => random(i, shape, self.scale).to_kind(rounded).to_kind(kind),
            _ => random(i, shape, 0.5).to_kind(rounded).to_kind(exact),
        });
        let leaves: Vec<Tensor> = inputs.map(|t| t.set_requires_grad(true)).collect();
        let y = of(&leaves);
        // Positive: else the gradient of a single bias, their sum, may happen to be next to nothing.
        let probe = random(99, &y.size(), 1.0).abs().to_kind(rounded).to_kind(exact);
        (&y * probe).sum(exact).backward();
        let gradients = leaves.iter().map(Tensor::grad);
        std::iter::once(y.detach()).chain(gradients).collect()
    }

    fn check(&self) {
        for kind in [Kind::Float, Kind::BFloat16] {
            let exact = self.compute(Kind::Double, kind, self.reference);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                let ours = self.compute(kind, kind, &|t| {
                    (self.fast)(isa, t).expect("f32 or bf16 on the CPU")
                });
                for (i, (ours, exact)) in ours.iter().zip(&exact).enumerate() {
                    let what = format!("{} {isa:?} {kind:?}, result and gradients, number {i}", self.name);
                    compare(&what, kind, ours, exact);
                }
            }
        }
    }
}

fn compare(what: &str, kind: Kind, ours: &Tensor, exact: &Tensor) {
    let size = |t: &Tensor| match kind {
        Kind::Float => t.abs().max().double_value(&[]),
        _ => t.square().mean(Kind::Double).sqrt().double_value(&[]),
    };
    let tolerance = if kind == Kind::Float { TOL_F32 } else { TOL_BF16 };
    let (difference, scale) = (size(&(ours.to_kind(Kind::Double) - exact)), size(exact));
    let allowed = tolerance * scale + 1e-30;
    assert!(
        difference <= allowed,
        "{what}: {difference:.1e} at scale {scale:.1e}"
    );
}

fn layout(images: usize, grid: PatchGrid, mask_ratio: Option<f64>, seed: u64) -> Option<VisibleLayout> {
    let Some(mask_ratio) = mask_ratio else {
        return Some(VisibleLayout::full(images, grid));
    };
    let config = MaskConfig::random(mask_ratio);
    config.validate(&grid).ok()?;
    let ids: Vec<u64> = (0..images as u64).collect();
    let mask = RandomMask::new(config).sample(grid, seed, 0, &ids).ok()?;
    Some(VisibleLayout::from(&mask))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn linear_maps(rows in 1..70i64, k in 1..70i64, o in 1..120i64, seed: u64, scale in prop_oneof![Just(1.0), Just(1e-30), Just(1e15)]) {
        Operation {
            name: "linear",
            shapes: &[vec![rows, k], vec![o, k], vec![o]],
            seed,
            scale,
            fast: &|isa, t| linear(isa, &t[0], &t[1], &t[2]),
            reference: &|t| linear_reference(&t[0], &t[1], &t[2]),
        }
        .check();
    }

    #[test]
    fn layer_norms(rows in 1..50i64, c in 3..80i64, seed: u64) {
        Operation {
            name: "layer norm",
            shapes: &[vec![rows, 2, c], vec![c], vec![c]],
            seed,
            scale: 1.0,
            fast: &|isa, t| layer_norm(isa, &t[0], &t[1], &t[2]),
            reference: &|t| layer_norm_reference(&t[0], &t[1], &t[2]),
        }
        .check();
    }

    #[test]
    fn depthwise_convolutions(images in 1..4usize, rows in 1..4usize, cols in 1..5usize, p in 1..12i64, c in 1..40i64, ratio in proptest::option::of(0.1..0.9f64), seed: u64) {
        let Some(layout) = layout(images, PatchGrid { rows, cols }, ratio, seed) else { return Ok(()) };
        Operation {
            name: "depthwise",
            shapes: &[vec![layout.rows() as i64, p, p, c], vec![c, 1, 7, 7], vec![c]],
            seed,
            scale: 1.0,
            fast: &|isa, t| depthwise(isa, &t[0], &t[1], &t[2], &layout),
            reference: &|t| depthwise_reference(&t[0], &t[1], &t[2], &layout),
        }
        .check();
    }

    #[test]
    fn downsampling(v in 1..9i64, half in 1..5i64, c in 1..20i64, d in 1..60i64, seed: u64) {
        Operation {
            name: "downsample",
            shapes: &[vec![v, 2 * half, 2 * half, c], vec![d, c, 2, 2], vec![d]],
            seed,
            scale: 1.0,
            fast: &|isa, t| downsample(isa, &t[0], &t[1], &t[2]),
            reference: &|t| downsample_reference(&t[0], &t[1], &t[2]),
        }
        .check();
    }

    /// Images have gradients only where all is visible; see `the_stem_on_visible_patches`.
    #[test]
    fn stems(images in 1..3usize, rows in 1..3usize, cols in 1..4usize, channels in 1..4i64, s in 1..5i64, p in 1..4i64, d in 1..50i64, seed: u64) {
        let all = VisibleLayout::full(images, PatchGrid { rows, cols });
        let (height, width) = (rows as i64 * p * s, cols as i64 * p * s);
        Operation {
            name: "stem",
            shapes: &[vec![images as i64, channels, height, width], vec![d, channels, s, s], vec![d]],
            seed,
            scale: 1.0,
            fast: &|isa, t| stem(isa, &t[0], &t[1], &t[2], &all),
            reference: &|t| stem_reference(&t[0], &t[1], &t[2], &all),
        }
        .check();
    }

    #[test]
    fn the_stem_on_visible_patches(images in 1..4usize, rows in 1..4usize, cols in 2..4usize, ratio in 0.1..0.9f64, seed: u64) {
        let Some(layout) = layout(images, PatchGrid { rows, cols }, Some(ratio), seed) else { return Ok(()) };
        let pixels = [images as i64, 3, 8 * rows as i64, 8 * cols as i64];
        // The images are none of the leaves, and tried in both kinds.
        let image = |kind| Tensor::randn(pixels, (Kind::Float, tch::Device::Cpu)).to_kind(kind);
        for kind in [Kind::Float, Kind::BFloat16] {
            let images = image(kind);
            let (weight, bias) = (Tensor::randn([11, 3, 4, 4], (Kind::Float, tch::Device::Cpu)), Tensor::randn([11], (Kind::Float, tch::Device::Cpu)));
            let exact = stem_reference(&images.to_kind(Kind::Double), &weight.to_kind(Kind::Double), &bias.to_kind(Kind::Double), &layout);
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                let ours = stem(isa, &images, &weight, &bias, &layout).unwrap();
                compare(&format!("stem {isa:?} {kind:?}"), kind, &ours, &exact);
            }
        }
        prop_assert!(stem(Isa::Portable, &image(Kind::Float).set_requires_grad(true), &Tensor::zeros([1, 3, 4, 4], (Kind::Float, tch::Device::Cpu)), &Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)), &layout).is_none());
    }

    /// Also with patches of a few pixels, whose vectors are partial.
    #[test]
    fn losses(images in 1..3usize, rows in 1..4usize, cols in 2..4usize, patch in 2..6i64, channels in 1..4i64, norm_pix_loss: bool, ratio in 0.1..0.9f64, seed: u64) {
        let Some(layout) = layout(images, PatchGrid { rows, cols }, Some(ratio), seed) else { return Ok(()) };
        let shape = [images as i64, channels, rows as i64 * patch, cols as i64 * patch];
        let pixels = Tensor::randn(shape, (Kind::Float, tch::Device::Cpu));
        let exact = pixels.to_kind(Kind::Double);
        Operation {
            name: "loss",
            shapes: &[vec![layout.hidden().len() as i64, patch * patch * channels]],
            seed,
            scale: 1.0,
            fast: &|isa, t| masked_loss(isa, &t[0], &pixels, &layout, norm_pix_loss),
            reference: &|t| masked_loss_reference(&t[0], &exact, &layout, norm_pix_loss),
        }
        .check();
    }
}

/// Targets that are all the same, and predictions that are exact.
#[test]
fn a_loss_of_flat_patches_is_finite() {
    let layout = layout(1, PatchGrid { rows: 1, cols: 2 }, Some(0.5), 1).unwrap();
    let images = Tensor::ones([1, 3, 4, 8], (Kind::Float, tch::Device::Cpu)) * 0.3;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let pred = Tensor::zeros([1, 48], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let loss = masked_loss(isa, &pred, &images, &layout, true).unwrap();
        loss.backward();
        assert!(loss.double_value(&[]).abs() < 1e-5, "{isa:?} {loss:?}");
        assert!(pred.grad().abs().max().double_value(&[]) < 1e-5, "{isa:?}");
    }
}

/// Denormal and huge activations, NaN and infinity go through and poison nothing else.
#[test]
fn rows_do_not_mix() {
    let f32 = (Kind::Float, tch::Device::Cpu);
    let (weight, bias) = (Tensor::ones([19, 7], f32), Tensor::zeros([19], f32));
    for bad in [f32::NAN, f32::INFINITY, 1e-42, 3e38] {
        let x = Tensor::ones([9, 7], f32);
        drop(x.narrow(0, 4, 1).fill_(f64::from(bad)));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for kind in [Kind::Float, Kind::BFloat16] {
                let y = linear(isa, &x.to_kind(kind), &weight, &bias).unwrap();
                let others = Tensor::cat(&[y.narrow(0, 0, 4), y.narrow(0, 5, 4)], 0);
                assert_eq!(
                    others.to_kind(Kind::Float),
                    Tensor::full([8, 19], 7.0, f32),
                    "{isa:?} {kind:?} {bad}"
                );
                let row = y.to_kind(Kind::Float).double_value(&[4, 3]);
                match bad {
                    bad if bad.is_nan() => assert!(row.is_nan(), "{isa:?} {kind:?}"),
                    bad if bad > 1e38 => assert!(row.is_infinite(), "{isa:?} {kind:?} {row}"),
                    _ => assert!((0.0..1e-40).contains(&row), "{isa:?} {kind:?} {row}"),
                }
            }
        }
    }
}

/// Inputs, results and gradients end where memory ends, as the kernels' own buffers do in all tests.
#[test]
fn no_kernel_leaves_its_tensors() {
    GUARD_RESULTS.set(true);
    let guard = |t: &Tensor| guarded(t).set_requires_grad(true);
    for kind in [Kind::Float, Kind::BFloat16] {
        let random =
            |shape: &[i64], kind| Tensor::randn(shape, (Kind::Float, tch::Device::Cpu)).to_kind(kind);
        let parameter = |shape: &[i64]| guard(&random(shape, Kind::Float));
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (c, d) in [(1, 1), (3, 5), (8, 17), (16, 48), (23, 49)] {
                let layout = layout(2, PatchGrid { rows: 2, cols: 3 }, Some(0.5), 7).unwrap();
                let x = guard(&random(&[layout.rows() as i64, 2, 2, c], kind));
                let images = guarded(&random(&[2, c, 8, 12], kind));
                let pixels = guarded(&random(&[2, c, 8, 12], Kind::Float));
                let pred = guard(&random(&[layout.hidden().len() as i64, 16 * c], kind));
                let (w, b) = (parameter(&[d, c]), parameter(&[d]));
                let (norm, norm_bias) = (parameter(&[c]), parameter(&[c]));
                let results = [
                    linear(isa, &x, &w, &b),
                    layer_norm(isa, &x, &norm, &norm_bias),
                    depthwise(isa, &x, &parameter(&[c, 1, 7, 7]), &norm, &layout),
                    downsample(isa, &x, &parameter(&[d, c, 2, 2]), &b),
                    stem(isa, &images, &parameter(&[d, c, 2, 2]), &b, &layout),
                    masked_loss(isa, &pred, &pixels, &layout, true),
                    crate::block::tests::guarded_block(isa, &x, &layout, &parameter),
                ];
                for (i, y) in results.iter().enumerate() {
                    let y = y.as_ref().unwrap_or_else(|| panic!("operation {i} in {kind:?}"));
                    assert!(
                        guarded(&y.detach()).isfinite().all().int64_value(&[]) == 1,
                        "operation {i}"
                    ); // read to the end
                    y.to_kind(Kind::Float).sum(Kind::Float).backward();
                }
            }
        }
    }
    GUARD_RESULTS.set(false);
}
