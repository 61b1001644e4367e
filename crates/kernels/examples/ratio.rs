//! What a block costs at several mask ratios: the pointwise work is proportional to what is visible.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::time::Instant;

use fcmae_kernels::{BlockOptions, BlockParams, End, Middle, block};
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use tch::{Device, Kind, Tensor};

const C: i64 = 40;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let f32s = (Kind::Float, Device::Cpu);
    let random = |shape: &[i64]| Tensor::randn(shape, f32s) * 0.1;
    let (dw, ones, zeros) = (
        random(&[C, 1, 7, 7]),
        Tensor::ones([C], f32s),
        Tensor::zeros([C], f32s),
    );
    let (w1, b1, w2) = (
        random(&[4 * C, C]),
        Tensor::zeros([4 * C], f32s),
        random(&[C, 4 * C]),
    );
    let params = BlockParams {
        dwconv_weight: &dw,
        dwconv_bias: &zeros,
        norm_weight: &ones,
        norm_bias: &zeros,
        pwconv1_weight: &w1,
        pwconv1_bias: &b1,
        middle: Middle::Grn {
            gamma: &b1,
            beta: &b1,
        },
        pwconv2_weight: &w2,
        pwconv2_bias: &zeros,
        end: End::Nothing,
    };
    let grid = PatchGrid { rows: 7, cols: 7 };
    for mask_ratio in [0.3, 0.6, 0.9] {
        let mask = RandomMask::new(MaskConfig::random(mask_ratio)).sample(grid, 0, 0, &[0, 1, 2, 3])?;
        let layout = VisibleLayout::from(&mask);
        let x = Tensor::randn([layout.rows() as i64, 8, 8, C], f32s);
        let start = Instant::now();
        let y = block(&x, &params, &layout, &BlockOptions::default());
        println!(
            "ratio {mask_ratio}: {} rows, {:.1} ms",
            layout.rows(),
            start.elapsed().as_secs_f64() * 1e3
        );
        assert_eq!(y.size(), x.size());
    }
    Ok(())
}
