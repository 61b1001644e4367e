//! Reading golden files and comparing with them.

use std::collections::HashMap;
use std::path::Path;

use tch::{Kind, Tensor, nn};

/// What may be left between a computation and the reference.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// For forward results.
    pub forward: f64,
    /// For a loss.
    pub loss: f64,
    /// For gradients.
    pub gradient: f64,
}

/// Computed in f64, reference stored as f64.
pub const F64: Tolerance = Tolerance {
    forward: 1e-12,
    loss: 1e-12,
    gradient: 1e-11,
};
/// Computed in f64, reference stored as f32: half a unit in the last place is 6e-8.
pub const F64_STORED_AS_F32: Tolerance = Tolerance {
    forward: 1e-7,
    loss: 1e-7,
    gradient: 1e-7,
};
/// Computed in f32 (PyTorch itself was seen at 9e-7, 2e-7 and 5e-6).
pub const F32: Tolerance = Tolerance {
    forward: 5e-6,
    loss: 1e-6,
    gradient: 5e-5,
};

/// The tensors of one reference file.
#[derive(Debug)]
pub struct Golden {
    tensors: HashMap<String, Tensor>,
}

impl Golden {
    /// Reads `tests/golden/<file>` of the package `manifest_dir` (give `env!("CARGO_MANIFEST_DIR")`).
    ///
    /// # Panics
    /// When the file is not there or not a safetensors file.
    #[must_use]
    pub fn open(manifest_dir: &str, file: &str) -> Golden {
        let path = Path::new(manifest_dir).join("tests/golden").join(file);
        let tensors = Tensor::read_safetensors(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Golden {
            tensors: tensors.into_iter().collect(),
        }
    }

    /// The tensor `name` as `kind`.
    ///
    /// # Panics
    /// When there is none.
    pub fn get(&self, name: &str, kind: Kind) -> Tensor {
        self.find(name).to_kind(kind)
    }

    /// The tensor `name` as `kind`, as a leaf that collects a gradient.
    pub fn leaf(&self, name: &str, kind: Kind) -> Tensor {
        self.get(name, kind).set_requires_grad(true)
    }

    /// The tensor `name` as it is stored.
    ///
    /// # Panics
    /// When there is none.
    pub fn find(&self, name: &str) -> &Tensor {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("no golden tensor `{name}`"))
    }

    /// Whether there is a tensor `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Fills every parameter of `vs` from `<prefix><name>` and asserts that none of these is left over.
    ///
    /// # Panics
    /// When names or shapes differ.
    pub fn fill(&self, vs: &nn::VarStore, prefix: &str) {
        let variables = vs.variables();
        for (name, parameter) in &variables {
            let value = self.find(&format!("{prefix}{name}"));
            assert_eq!(parameter.size(), value.size(), "shape of `{name}`");
            tch::no_grad(|| parameter.shallow_clone().copy_(value));
        }
        let given = self
            .tensors
            .keys()
            .filter(|name| name.starts_with(prefix))
            .count();
        assert_eq!(
            given,
            variables.len(),
            "golden tensors under `{prefix}` and parameters of the model"
        );
    }
}

/// `max|a − b| / max|b|`, in f64.
///
/// # Panics
/// When the shapes differ.
#[must_use]
pub fn deviation(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "shapes to compare");
    let (a, b) = (a.detach().to_kind(Kind::Double), b.detach().to_kind(Kind::Double));
    let largest = b.abs().max().double_value(&[]).max(1e-300);
    (a - b).abs().max().double_value(&[]) / largest
}

/// Asserts that `a` deviates from the reference `b` by at most `tolerance`.
///
/// # Panics
/// When it deviates more, or is not finite.
pub fn assert_close(what: &str, a: &Tensor, b: &Tensor, tolerance: f64) {
    let got = deviation(a, b);
    assert!(
        got <= tolerance,
        "{what}: deviation {got:.1e}, allowed {tolerance:.0e}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nan_is_a_deviation() {
        let nan = Tensor::from_slice(&[f64::NAN]);
        let caught = std::panic::catch_unwind(|| assert_close("nan", &nan, &Tensor::from_slice(&[1.0]), 1e9));
        assert!(caught.is_err());
    }
}
