//! The paper's decoder on one image of 49 patches of which 19 were encoded.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_blocks::initialise;
use fcmae_decoder::{ConvNextDecoder, DecoderConfig, Pass};
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vs = nn::VarStore::new(Device::Cpu);
    let decoder = ConvNextDecoder::new(&vs.root(), &DecoderConfig::default(), 320, 32 * 32 * 3)?;
    initialise(&vs, 0);

    let mask = RandomMask::new(MaskConfig::default()).sample(PatchGrid { rows: 7, cols: 7 }, 0, 0, &[0])?;
    let layout = VisibleLayout::from(&mask);
    let encoded = Tensor::randn([layout.rows() as i64, 1, 1, 320], (Kind::Float, Device::Cpu));
    let tokens = decoder.forward(&encoded, &layout, &Pass::default());
    let pixels = decoder.predict_hidden(&tokens, &layout);
    println!(
        "{} visible patches -> {:?} -> {:?}",
        layout.rows(),
        tokens.size(),
        pixels.size()
    );
    assert_eq!(pixels.size(), [30, 3072]);
    Ok(())
}
