//! Weights of any origin as a backbone, with a head of one's own: `cargo run -p fcmae --example own_head -- WEIGHTS`
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use fcmae::checkpoint::read_weights;
use fcmae::encoder::{FeaturePyramid, Pass};
use fcmae::model::{encoder_config, load};
use tch::nn::{self, Module, OptimizerConfig};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os()
        .nth(1)
        .ok_or("give weights: a run folder, or a file of fcmae, timm, …")?;
    let weights = read_weights(file)?;
    let backbone = nn::VarStore::new(Device::Cpu);
    let pyramid = FeaturePyramid::new(&backbone.root(), &encoder_config(&weights.architecture))?;
    load(&backbone, &weights.encoder)?; // the encoder alone: head and decoder are in fields of their own
    println!("{}", weights.architecture);

    let images = Tensor::randn(
        [2, weights.architecture.in_chans as i64, 96, 128],
        (Kind::Float, Device::Cpu),
    );
    for (map, stride) in pyramid
        .forward(&images, &Pass::default())?
        .iter()
        .zip(pyramid.strides())
    {
        println!("stride {stride:2}: {:?}", map.size());
    }

    // One score for each site of the last map. Only the head learns: it has a store of its own.
    let head_store = nn::VarStore::new(Device::Cpu);
    let width = pyramid
        .channels()
        .last()
        .copied()
        .ok_or("a network without stages")?;
    let head = nn::conv2d(head_store.root(), width as i64, 1, 1, nn::ConvConfig::default());
    let mut optimizer = nn::AdamW::default().build(&head_store, 1e-2)?;
    for step in 0..20 {
        let maps = tch::no_grad(|| pyramid.forward(&images, &Pass::default()))?;
        let scores = head.forward(&maps[maps.len() - 1]);
        let loss = scores.binary_cross_entropy_with_logits::<Tensor>(
            &scores.ones_like(),
            None,
            None,
            tch::Reduction::Mean,
        );
        optimizer.backward_step(&loss);
        if step % 19 == 0 {
            println!("step {step}: loss {:.3}", loss.double_value(&[]));
        }
    }
    Ok(())
}
