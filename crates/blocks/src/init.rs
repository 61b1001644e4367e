//! How weights start: drawn from a generator keyed by the parameter's name, so that a store's start depends
//! on the seed alone, not on device, order of creation or other models in the process.

use fcmae_random::{Purpose, Stream, hash64};
use tch::{Tensor, nn};

/// What a weight is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// Normal with mean 0, redrawn outside `[−2, 2]` (timm's default bounds, which are absolute, not in σ).
    TruncatedNormal {
        /// Standard deviation before truncation.
        std: f64,
    },
    /// Uniform on `[−bound, bound)`.
    Uniform {
        /// Largest magnitude.
        bound: f64,
    },
}

/// Draws every weight of `vs` from the truncated normal with std 0.02 (fact sheet §1.5, §2.8 `"truncated"`).
///
/// Weights are the tensors with two dimensions or more; biases, LayerNorm, GRN and LayerScale keep the
/// constants they were created with (0, 1, 0 and `layer_scale_init`), and so do a norm's running statistics.
pub fn initialise(vs: &nn::VarStore, seed: u64) {
    for (name, tensor) in vs.variables() {
        let is_weight = tensor.dim() > 1 && !name.ends_with("grn.gamma") && !name.ends_with("grn.beta");
        if is_weight {
            redraw(&tensor, &name, seed, Distribution::TruncatedNormal { std: 0.02 });
        }
    }
}

/// Draws one parameter, in place, from a stream keyed by `(seed, name)`.
pub fn redraw(tensor: &Tensor, name: &str, seed: u64, distribution: Distribution) {
    let mut stream = Stream::new(seed, Purpose::Init, 0, hash64(name.as_bytes()));
    let mut draw = || match distribution {
        Distribution::TruncatedNormal { std } => stream.truncated_normal(std, -2.0, 2.0) as f32,
        Distribution::Uniform { bound } => stream.uniform_in(-bound, bound) as f32,
    };
    let values: Vec<f32> = (0..tensor.numel()).map(|_| draw()).collect();
    let values = Tensor::from_slice(&values).view(tensor.size().as_slice());
    tch::no_grad(|| tensor.shallow_clone().copy_(&values));
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::{Block, BlockConfig};

    fn store(seed: u64) -> nn::VarStore {
        let vs = nn::VarStore::new(Device::Cpu);
        let _ = Block::new(&vs.root(), 32, &BlockConfig::default());
        initialise(&vs, seed);
        vs
    }

    #[test]
    fn depends_on_the_seed_alone() {
        let (a, b, other) = (store(1).variables(), store(1).variables(), store(2).variables());
        for (name, tensor) in &a {
            assert_eq!(tensor, &b[name], "{name}");
        }
        assert_ne!(a["pwconv1.weight"], other["pwconv1.weight"]);
        assert_ne!(
            a["pwconv1.weight"],
            a["pwconv2.weight"].view_as(&a["pwconv1.weight"])
        );
    }

    #[test]
    fn has_the_spread_of_the_paper_and_leaves_constants_alone() {
        let variables = store(3).variables();
        let spread = variables["pwconv1.weight"].std(true).double_value(&[]);
        assert!((spread - 0.02).abs() < 0.02 * 0.05, "{spread}");
        for (name, value) in [
            ("norm.weight", 1.0),
            ("norm.bias", 0.0),
            ("grn.gamma", 0.0),
            ("pwconv1.bias", 0.0),
        ] {
            let tensor = &variables[name];
            assert_eq!(tensor, &tensor.full_like(value), "{name}");
        }
    }

    #[test]
    fn wide_draws_are_cut_at_two() {
        let t = Tensor::zeros([4096], (Kind::Float, Device::Cpu));
        redraw(&t, "w", 0, Distribution::TruncatedNormal { std: 1.0 });
        assert!(t.abs().max().double_value(&[]) <= 2.0);
        assert!((t.std(true).double_value(&[]) - 0.8796).abs() < 0.03); // std of N(0, 1) cut at ±2
    }
}
