//! Reconstructs two noise images with an untrained model and looks at the picture's size.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_analysis::{PixelStatistics, contact_sheet, reconstruct};
use fcmae_encoder::EncoderConfig;
use fcmae_masking::{MaskConfig, PatchGrid, RandomMask};
use fcmae_model::{Fcmae, FcmaeConfig, Step};
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = FcmaeConfig {
        encoder: EncoderConfig {
            depths: vec![1, 1, 1],
            dims: vec![8, 16, 32],
            ..EncoderConfig::default()
        },
        ..FcmaeConfig::default()
    };
    let vs = nn::VarStore::new(Device::Cpu);
    let model = Fcmae::new(&vs.root(), &config)?;
    model.initialise(&vs, 0);

    let mask =
        RandomMask::new(MaskConfig::default()).sample(PatchGrid { rows: 6, cols: 6 }, 0, 0, &[0, 1])?;
    let images = Tensor::randn([2, 3, 96, 96], (Kind::Float, Device::Cpu));
    let statistics = PixelStatistics {
        mean: vec![0.5; 3],
        std: vec![0.25; 3],
    };
    let rows = reconstruct(&model, &images, &mask, &statistics, &Step::default())?;
    let sheet = contact_sheet(&rows);
    println!(
        "losses {:.3} and {:.3}, sheet {:?}",
        rows[0].loss,
        rows[1].loss,
        sheet.dimensions()
    );
    assert_eq!(sheet.dimensions(), (592, 396));
    Ok(())
}
