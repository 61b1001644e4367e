//! How the parameters of an FCMAE start.

use fcmae_blocks::{Distribution, redraw};
use tch::nn;

use crate::config::Init;
use crate::fcmae::Fcmae;

impl Fcmae {
    /// Draws the weights of the store this model was created in, from the seed alone (fact sheet §2.8).
    pub fn initialise(&self, vs: &nn::VarStore, seed: u64) {
        fcmae_blocks::initialise(vs, seed);
        if self.config().init == Init::Reference {
            for (name, tensor) in vs.variables() {
                if let Some(distribution) = reference(&name, &tensor.size(), self.config().decoder.dim) {
                    redraw(&tensor, &name, seed, distribution);
                }
            }
        }
    }
}

/// The reference's distribution where it differs from std 0.02.
///
/// Its encoder draws 0.02 first; then the whole tree is drawn again with timm's default std of 1, but for the
/// 2×2 convolutions, while the decoder's linear maps keep PyTorch's own start, biases included.
fn reference(name: &str, shape: &[i64], dim: usize) -> Option<Distribution> {
    let linear = |fan_in: usize| Distribution::Uniform {
        bound: 1.0 / (fan_in as f64).sqrt(),
    };
    let is_weight = name.ends_with(".weight") && shape.len() > 1;
    let is_downsampling = name.contains("downsample_layers.") && !name.contains("downsample_layers.0.");
    if name.starts_with("decoder.") && name.contains(".pwconv1.") {
        Some(linear(dim))
    } else if name.starts_with("decoder.") && name.contains(".pwconv2.") {
        Some(linear(4 * dim))
    } else if is_weight && !is_downsampling {
        Some(Distribution::TruncatedNormal { std: 1.0 })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use fcmae_decoder::DecoderConfig;
    use fcmae_encoder::EncoderConfig;
    use fcmae_masking::{MaskConfig, PatchGrid, RandomMask};
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::config::FcmaeConfig;
    use crate::fcmae::Step;

    fn model(init: Init) -> (nn::VarStore, Fcmae) {
        let config = FcmaeConfig {
            encoder: EncoderConfig::default(),
            decoder: DecoderConfig {
                dim: 64,
                ..DecoderConfig::default()
            },
            init,
            ..FcmaeConfig::default()
        };
        let vs = nn::VarStore::new(Device::Cpu);
        let model = Fcmae::new(&vs.root(), &config).unwrap();
        model.initialise(&vs, 5);
        (vs, model)
    }

    fn spread(vs: &nn::VarStore, name: &str) -> f64 {
        vs.variables()[name].std(true).double_value(&[])
    }

    #[test]
    fn the_reference_start_has_the_table_of_the_fact_sheet() {
        let (vs, _) = model(Init::Reference);
        let cut = 0.8796; // std of N(0, 1) cut at ±2
        for (name, std) in [
            ("encoder.stages.2.0.dwconv.weight", cut),
            ("encoder.stages.2.0.pwconv1.weight", cut),
            ("encoder.downsample_layers.0.0.weight", cut),
            ("encoder.downsample_layers.1.1.weight", 0.02),
            ("proj.weight", cut),
            ("decoder.0.dwconv.weight", cut),
            ("pred.weight", cut),
            ("decoder.0.pwconv1.weight", 1.0 / (3.0f64 * 64.0).sqrt()),
            ("decoder.0.pwconv2.bias", 1.0 / (3.0f64 * 256.0).sqrt()),
            ("mask_token", 0.02),
        ] {
            let got = spread(&vs, name);
            assert!(
                (got / std - 1.0).abs() < 0.25,
                "{name}: {got}, expected about {std}"
            );
        }
        assert_eq!(spread(&vs, "encoder.stages.2.0.pwconv1.bias"), 0.0);
    }

    #[test]
    fn the_start_loss_is_about_one_by_default_and_large_by_the_reference() {
        let mask = RandomMask::new(MaskConfig::default())
            .sample(PatchGrid { rows: 3, cols: 3 }, 0, 0, &[0, 1])
            .unwrap();
        let images = Tensor::randn([2, 3, 96, 96], (Kind::Float, Device::Cpu));
        let loss = |init| {
            let (_vs, model) = model(init);
            model
                .loss(&images, &mask, &Step::default())
                .unwrap()
                .double_value(&[])
        };
        let truncated = loss(Init::Truncated);
        assert!((truncated - 1.0).abs() < 0.05, "{truncated}");
        assert!(loss(Init::Reference) > 2.0);
    }
}
