//! A head of one's own on the features of all four stages: here, one score per pixel of an image of any size.
//!
//! Weights are random here; how those of a file come into a pyramid, `crates/fcmae/examples/own_head.rs` shows.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_blocks::initialise;
use fcmae_encoder::{EncoderConfig, FeaturePyramid, Pass};
use tch::nn::{self, Module, OptimizerConfig};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vs = nn::VarStore::new(Device::Cpu);
    let pyramid = FeaturePyramid::new(&(vs.root() / "encoder"), &EncoderConfig::default())?; // atto
    initialise(&vs, 0);

    // The head: each map to 16 channels, enlarged to the finest map, summed, scored.
    let head = vs.root() / "head";
    let lateral = |(s, &channels): (usize, &usize)| {
        nn::conv2d(
            &head / "lateral" / s,
            channels as i64,
            16,
            1,
            nn::ConvConfig::default(),
        )
    };
    let laterals: Vec<_> = pyramid.channels().iter().enumerate().map(lateral).collect();
    let score = nn::conv2d(&head / "score", 16, 1, 1, nn::ConvConfig::default());
    let forward = |images: &Tensor| -> Result<Tensor, Box<dyn std::error::Error>> {
        let size = images.size();
        let maps = pyramid.forward(images, &Pass::default())?; // strides 4, 8, 16, 32
        let enlarge = |(map, lateral): (&Tensor, &nn::Conv2D)| {
            lateral
                .forward(map)
                .upsample_bilinear2d([size[2], size[3]], false, None, None)
        };
        let sum: Tensor = maps.iter().zip(&laterals).map(enlarge).sum();
        Ok(score.forward(&sum.gelu("none")))
    };

    // Trained like any other network (the gradient reaches the stem): to find bright patches under noise.
    tch::manual_seed(0);
    let patches = Tensor::randn([2, 1, 9, 12], (Kind::Float, Device::Cpu))
        .gt(0.0)
        .to_kind(Kind::Float);
    let bright = patches.upsample_nearest2d([90, 120], None, None);
    let images = &bright * 2.0 - 1.0 + Tensor::randn([2, 3, 90, 120], (Kind::Float, Device::Cpu));
    let mut optimizer = nn::AdamW::default().build(&vs, 3e-3)?;
    let mut losses = Vec::new();
    for _ in 0..30 {
        let loss = forward(&images)?.binary_cross_entropy_with_logits::<Tensor>(
            &bright,
            None,
            None,
            tch::Reduction::Mean,
        );
        optimizer.backward_step(&loss);
        losses.push(loss.double_value(&[]));
    }
    println!("loss {:.3} -> {:.3}", losses[0], losses[29]);
    assert!(losses[29] < 0.8 * losses[0]);
    Ok(())
}
