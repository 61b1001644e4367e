//! Ten steps of masked pre-training on noise that repeats: the loss goes down.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_decoder::DecoderConfig;
use fcmae_encoder::EncoderConfig;
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask};
use fcmae_model::{Fcmae, FcmaeConfig, Step};
use tch::nn::OptimizerConfig;
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = FcmaeConfig {
        encoder: EncoderConfig {
            depths: vec![1, 1, 1],
            dims: vec![16, 32, 64],
            ..EncoderConfig::default()
        },
        decoder: DecoderConfig {
            dim: 64,
            ..DecoderConfig::default()
        },
        ..FcmaeConfig::default()
    };
    let vs = nn::VarStore::new(Device::Cpu);
    let model = Fcmae::new(&vs.root(), &config)?;
    model.initialise(&vs, 0);
    let mut optimizer = nn::AdamW::default().build(&vs, 3e-3)?;

    let grid = PatchGrid::for_image(64, 64, config.patch_size())?;
    let images = Tensor::randn([1, 3, 16, 16], (Kind::Float, Device::Cpu)).repeat([4, 1, 4, 4]);
    let mut losses = Vec::new();
    for step in 0..10 {
        let mask = RandomMask::new(MaskConfig::default()).sample(grid, 0, step, &[0, 1, 2, 3])?;
        let loss = model.loss(&images, &mask, &Step::default())?;
        optimizer.backward_step(&loss);
        losses.push(loss.double_value(&[]));
    }
    println!("loss {:.3} -> {:.3}", losses[0], losses[9]);
    assert!(losses[9] < losses[0]);
    Ok(())
}
