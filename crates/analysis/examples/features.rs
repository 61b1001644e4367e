//! Two networks on the same images, one of which has collapsed: the paper's measure tells them apart, and a plot shows it.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_analysis::{FeatureStatistics, collapse_figure};
use fcmae_blocks::initialise;
use fcmae_encoder::{EncoderConfig, SparseEncoder};
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = EncoderConfig {
        depths: vec![2, 3],
        dims: vec![8, 16],
        ..EncoderConfig::default()
    };
    let mut networks = Vec::new();
    for name in ["sound", "collapsed"] {
        let vs = nn::VarStore::new(Device::Cpu);
        let encoder = SparseEncoder::new(&vs.root(), &config)?;
        initialise(&vs, 0);
        if name == "collapsed" {
            // every channel of a hidden layer is the same function of its input
            let collapse = |mut weight: Tensor| {
                let first = weight.narrow(0, 0, 1).copy();
                weight.copy_(&first.expand_as(&weight));
            };
            let hidden = vs
                .variables()
                .into_iter()
                .filter(|(name, _)| name.contains("pwconv1.weight"));
            tch::no_grad(|| hidden.for_each(|(_, weight)| collapse(weight)));
        }
        let mut statistics = FeatureStatistics::new();
        for batch in 0..3 {
            tch::manual_seed(batch);
            let images = Tensor::randn([4, 3, 48, 64], (Kind::Float, Device::Cpu));
            statistics.add(&encoder, &images, &[])?; // images pass by: any number of them
        }
        let report = statistics.report()?;
        println!(
            "{name}: cosine distance {:.3} in hidden layers",
            report.hidden_distance()
        );
        networks.push((name.to_owned(), report));
    }
    assert!(networks[0].1.hidden_distance() > 0.3 && networks[1].1.hidden_distance() < 0.01);
    let file = std::env::temp_dir().join("collapse.svg");
    std::fs::write(&file, collapse_figure(&networks).svg())?;
    println!("{}", file.display());
    Ok(())
}
