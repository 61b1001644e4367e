//! Atto on one 224 px image with 60 % of the patches hidden: the features of every stage.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_blocks::initialise;
use fcmae_encoder::{EncoderConfig, Pass, SparseEncoder};
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vs = nn::VarStore::new(Device::Cpu);
    let encoder = SparseEncoder::new(&vs.root(), &EncoderConfig::default())?;
    initialise(&vs, 0);

    let grid = PatchGrid::for_image(224, 224, encoder.config().total_stride())?;
    let mask = RandomMask::new(MaskConfig::default()).sample(grid, 0, 0, &[0])?;
    let layout = VisibleLayout::from(&mask);
    let images = Tensor::randn([1, 3, 224, 224], (Kind::Float, Device::Cpu));
    for (s, features) in encoder
        .forward_stages(&images, &layout, &Pass::default())
        .iter()
        .enumerate()
    {
        println!("stage {s}: {:?}", features.size());
    }
    assert_eq!(layout.rows(), 19); // of 49 patches
    Ok(())
}
