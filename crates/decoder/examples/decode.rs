//! The paper's decoder on one image of 49 patches of which 19 were encoded.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_blocks::initialise;
use fcmae_decoder::{Decoder, DecoderConfig, Ends, Pass};
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask, VisibleLayout};
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vs = nn::VarStore::new(Device::Cpu);
    let ends = Ends {
        dims: &[40, 80, 160, 320],
        stem_stride: 4,
        in_chans: 3,
        has_hidden: true,
    };
    let decoder = Decoder::new(&vs.root(), &DecoderConfig::default(), &ends)?;
    initialise(&vs, 0);

    let mask = RandomMask::new(MaskConfig::default()).sample(PatchGrid { rows: 7, cols: 7 }, 0, 0, &[0])?;
    let layout = VisibleLayout::from(&mask);
    let encoded = Tensor::randn([layout.rows() as i64, 1, 1, 320], (Kind::Float, Device::Cpu));
    let tokens = decoder.forward(vec![encoded], &layout, &Pass::default());
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
