//! The masking, proved: what this machine computes against the definition, for one configuration.

use fcmae_encoder::{EncoderConfig, EncoderError, EncoderKind, Pass, SparseEncoder, masked_dense};
use fcmae_kernels::{GrnScope, pack_tiles};
use fcmae_masking::{MaskConfig, MaskError, PatchGrid, PatchMask, RandomMask, VisibleLayout};
use fcmae_random::{Purpose, Stream, hash64};
use serde::Serialize;
use tch::{Device, Kind, Tensor, nn};

/// What to verify on.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Image sizes (height, width), multiples of the total stride.
    pub sizes: Vec<(usize, usize)>,
    /// Images per batch, at least 2 (independence needs a neighbour).
    pub images: usize,
    /// Share of patches hidden.
    pub mask_ratio: f64,
    /// Seed of parameters, images and masks.
    pub seed: u64,
    /// Where to compute.
    pub device: Device,
}

impl Default for VerifyOptions {
    /// The paper's square, a rectangle, ratio 0.6, on the CPU.
    fn default() -> VerifyOptions {
        VerifyOptions {
            sizes: vec![(224, 224), (160, 224)],
            images: 2,
            mask_ratio: 0.6,
            seed: 0,
            device: Device::Cpu,
        }
    }
}

/// Something that cannot be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The encoder's configuration.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// A size or ratio that does not fit.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// A dense encoder.
    #[error(
        "`model.encoder` = \"dense\" masks nothing inside, so there is nothing to verify; use \"sparse\" or \"masked_dense\""
    )]
    Dense,
}

/// One row of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was compared.
    pub what: &'static str,
    /// `f64` or `f32`.
    pub precision: &'static str,
    /// GRN scope.
    pub scope: GrnScope,
    /// Image size.
    pub height: usize,
    /// Image size.
    pub width: usize,
    /// The worst tensor's `max|a − b| / max|b|`; for exact checks the largest absolute difference.
    pub deviation: f64,
    /// What is allowed; 0 where the promise is bit for bit.
    pub tolerance: f64,
    /// Name of the worst tensor.
    pub worst: String,
}

impl Check {
    /// Whether the deviation is within the tolerance (a NaN is not).
    #[must_use]
    pub fn passed(&self) -> bool {
        self.deviation <= self.tolerance
    }
}

/// The whole table.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// One row per comparison.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every check passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(Check::passed)
    }
}

/// Verifies an encoder of this configuration with random parameters (gamma, beta and biases too: at their start
/// GRN is the identity and hides every mistake), in f64 and f32, in both GRN scopes, on every size. Batch
/// normalization is verified as evaluation computes it.
///
/// # Errors
/// A configuration that cannot be built or does not mask, a size that the stride does not divide, a ratio that does not fit.
pub fn verify(config: &EncoderConfig, options: &VerifyOptions) -> Result<Report, VerifyError> {
    let config = EncoderConfig {
        drop_path: 0.0,
        ..config.clone()
    };
    if config.encoder == EncoderKind::Dense {
        return Err(VerifyError::Dense);
    }
    let mut checks = Vec::new();
    for &(height, width) in &options.sizes {
        for grn_scope in [GrnScope::Sample, GrnScope::Batch] {
            let config = EncoderConfig {
                grn_scope,
                ..config.clone()
            };
            for kind in [Kind::Double, Kind::Float] {
                let subject = Subject::new(&config, options, height, width, kind)?;
                let results = [
                    subject.forward(),
                    subject.gradients(),
                    subject.leak(),
                    subject.independence(),
                ];
                checks.extend(results.into_iter().flatten());
            }
        }
    }
    Ok(Report { checks })
}

/// A network with random parameters, images and a mask.
struct Subject {
    vs: nn::VarStore,
    encoder: SparseEncoder,
    images: Tensor,
    mask: PatchMask,
    layout: VisibleLayout,
    kind: Kind,
    seed: u64,
}

impl Subject {
    fn new(
        config: &EncoderConfig,
        options: &VerifyOptions,
        height: usize,
        width: usize,
        kind: Kind,
    ) -> Result<Subject, VerifyError> {
        let mut vs = nn::VarStore::new(options.device);
        let encoder = SparseEncoder::new(&vs.root(), config)?;
        vs.set_kind(kind);
        randomise(&vs, options.seed);
        let grid = PatchGrid::for_image(height, width, config.total_stride())?;
        let ids: Vec<u64> = (0..options.images.max(2) as u64).collect();
        let sampler = RandomMask::new(MaskConfig::random(options.mask_ratio));
        let mask = sampler.sample(grid, options.seed, 0, &ids)?;
        let shape = [ids.len(), config.in_chans, height, width].map(|s| s as i64);
        let images = normal(&shape, options.seed, "images")
            .to_device(options.device)
            .to_kind(kind);
        let layout = VisibleLayout::from(&mask);
        Ok(Subject {
            vs,
            encoder,
            images,
            mask,
            layout,
            kind,
            seed: options.seed,
        })
    }

    fn check(&self, what: &'static str, deviation: f64, tolerance: f64, worst: String) -> Check {
        let precision = if self.kind == Kind::Double { "f64" } else { "f32" };
        let size = self.images.size();
        let (height, width) = (size[2] as usize, size[3] as usize);
        let scope = self.encoder.config().grn_scope;
        Check {
            what,
            precision,
            scope,
            height,
            width,
            deviation,
            tolerance,
            worst,
        }
    }

    /// The tolerance for this precision.
    fn allow(&self, f64s: f64, f32s: f64) -> f64 {
        if self.kind == Kind::Double { f64s } else { f32s }
    }

    /// Every stage's output: packed against masked-dense.
    fn forward(&self) -> Option<Check> {
        let (packed, dense) = tch::no_grad(|| {
            let packed = self
                .encoder
                .forward_stages(&self.images, &self.layout, &Pass::default());
            (
                packed,
                masked_dense(&self.encoder, &self.images, &self.mask, &Pass::default()),
            )
        });
        let stages = packed.iter().zip(&dense).enumerate();
        let all =
            stages.map(|(s, (a, b))| (format!("stage {s}"), deviation(a, &pack_tiles(b, &self.layout))));
        let (worst, value) = largest(all);
        Some(self.check(
            "sparse = masked-dense, forward",
            value,
            self.allow(1e-12, 1e-5),
            worst,
        ))
    }

    /// The gradient of a random linear function of the output in every parameter and the pixels.
    fn gradients(&self) -> Option<Check> {
        let images = self.images.detach().set_requires_grad(true);
        let parameters = self.vs.variables().into_iter().filter(|(_, t)| t.requires_grad());
        let mut leaves: Vec<(String, Tensor)> = parameters.collect();
        leaves.push(("pixels".to_owned(), images.shallow_clone()));
        let gradients = |output: Tensor| {
            let probe = normal(&output.size(), self.seed, "probe")
                .to_device(output.device())
                .to_kind(self.kind);
            let inputs: Vec<&Tensor> = leaves.iter().map(|(_, t)| t).collect();
            Tensor::run_backward(&[(output * probe).sum(self.kind)], &inputs, false, false)
        };
        let ours = gradients(self.encoder.forward(&images, &self.layout, &Pass::default()));
        let dense = masked_dense(&self.encoder, &images, &self.mask, &Pass::default()).pop()?;
        let reference = gradients(pack_tiles(&dense, &self.layout));
        let pairs = leaves.iter().zip(ours.iter().zip(&reference));
        let (worst, value) = largest(pairs.map(|((name, _), (a, b))| (name.clone(), deviation(a, b))));
        Some(self.check(
            "sparse = masked-dense, gradients",
            value,
            self.allow(1e-11, 5e-5),
            worst,
        ))
    }

    /// Other pixels under the mask: not one bit of the output may change.
    fn leak(&self) -> Option<Check> {
        let size = self.images.size();
        let hidden = self
            .mask
            .upsample((size[2] / self.mask.grid().rows as i64) as usize);
        let hidden = Tensor::from_slice(&hidden)
            .view([size[0], 1, size[2], size[3]])
            .to_device(self.images.device());
        let other = normal(&size, self.seed, "other pixels")
            .to_device(self.images.device())
            .to_kind(self.kind);
        let changed = other.where_self(&hidden, &self.images);
        let difference = self.difference(&changed, 0, self.layout.rows());
        Some(self.check(
            "hidden pixels change nothing",
            difference,
            0.0,
            "output".to_owned(),
        ))
    }

    /// Another second image: not one bit of the first one's features may change (scope `sample`).
    fn independence(&self) -> Option<Check> {
        if self.encoder.config().grn_scope == GrnScope::Batch {
            return None; // the scope couples the images of a batch on purpose
        }
        let changed = self.images.copy();
        changed.get(1).copy_(&(self.images.get(1).flip([2]) * 2.0));
        let difference = self.difference(&changed, 0, self.layout.visible_per_image());
        Some(self.check(
            "images are independent",
            difference,
            0.0,
            "first image".to_owned(),
        ))
    }

    /// Largest absolute difference of some rows of the output between the images and `changed`.
    fn difference(&self, changed: &Tensor, first_row: usize, rows: usize) -> f64 {
        let output = |images: &Tensor| self.encoder.forward(images, &self.layout, &Pass::default());
        tch::no_grad(|| {
            let difference = output(&self.images) - output(changed);
            difference
                .narrow(0, first_row as i64, rows as i64)
                .abs()
                .max()
                .double_value(&[])
        })
    }
}

/// Lively parameters: weights of variance 1 / fan-in, nothing at its initial 0 or 1.
fn randomise(vs: &nn::VarStore, seed: u64) {
    for (name, parameter) in vs.variables() {
        let size = parameter.size();
        let fan_in: i64 = size[1..].iter().product();
        let draw = normal(&size, seed, &name);
        let value = if name.contains("grn.") || name.ends_with(".gamma") {
            draw * 0.5
        } else if name.ends_with(".bias") {
            draw * 0.1
        } else if size.len() == 1 {
            draw * 0.2 + 1.0 // LayerNorm
        } else {
            draw / (fan_in as f64).sqrt()
        };
        tch::no_grad(|| parameter.shallow_clone().copy_(&value));
    }
}

/// Normal numbers keyed by seed and name, f32 values in f64 so that both precisions start from the same ones.
fn normal(shape: &[i64], seed: u64, name: &str) -> Tensor {
    let mut stream = Stream::new(seed, Purpose::Init, 1, hash64(name.as_bytes()));
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| stream.normal() as f32)
        .collect();
    Tensor::from_slice(&values).view(shape).to_kind(Kind::Double)
}

/// `max|a − b| / max|b|`.
fn deviation(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let scale = b.abs().max().double_value(&[]).max(f64::MIN_POSITIVE);
    (a - b).abs().max().double_value(&[]) / scale
}

/// The pair with the largest deviation; a NaN is larger than any, its sign (libtorch yields either) taken off.
fn largest(all: impl Iterator<Item = (String, f64)>) -> (String, f64) {
    all.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use fcmae_blocks::{BlockKind, ResponseKind};

    use super::*;

    fn tiny() -> EncoderConfig {
        EncoderConfig {
            depths: vec![1, 2],
            dims: vec![4, 6],
            ..EncoderConfig::default()
        }
    }

    #[test]
    fn passes_for_v1_and_v2_on_squares_and_rectangles() {
        for block in [BlockKind::V1, BlockKind::V2] {
            let config = EncoderConfig { block, ..tiny() };
            let options = VerifyOptions {
                sizes: vec![(24, 24), (16, 32)],
                ..VerifyOptions::default()
            };
            let report = verify(&config, &options).unwrap();
            assert!(report.passed(), "{report:#?}");
            assert_eq!(report.checks.len(), 2 * 2 * (4 + 3)); // sizes × precisions × (scope sample + scope batch)
        }
    }

    #[test]
    fn alternatives_are_verified_too_and_a_dense_encoder_is_refused() {
        let options = VerifyOptions {
            sizes: vec![(16, 16)],
            ..VerifyOptions::default()
        };
        for kind in [ResponseKind::Bn, ResponseKind::Cbam] {
            let mut config = tiny();
            config.response.kind = Some(kind);
            let report = verify(&config, &options).unwrap();
            assert!(report.passed(), "{report:#?}");
        }
        let dense = EncoderConfig {
            encoder: EncoderKind::Dense,
            ..tiny()
        };
        let message = verify(&dense, &options).unwrap_err().to_string();
        assert!(
            message.starts_with("`model.encoder` = \"dense\" masks nothing"),
            "{message}"
        );
    }

    #[test]
    fn a_deviation_above_its_tolerance_or_a_nan_fails() {
        let subject = Subject::new(&tiny(), &VerifyOptions::default(), 16, 16, Kind::Float).unwrap();
        assert!(subject.check("", 1e-6, 1e-5, String::new()).passed());
        assert!(!subject.check("", 1e-4, 1e-5, String::new()).passed());
        assert!(!subject.check("", f64::NAN, 1e-5, String::new()).passed());
    }

    #[test]
    fn a_nan_of_either_sign_is_the_largest() {
        for nan in [f64::NAN, -f64::NAN] {
            for all in [[("a", nan), ("b", 1e-7)], [("b", 1e-7), ("a", nan)]] {
                let (worst, value) = largest(all.into_iter().map(|(name, x)| (name.to_owned(), x)));
                assert!(worst == "a" && value.is_nan(), "{all:?}: {worst}");
            }
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_an_error() {
        let options = VerifyOptions {
            sizes: vec![(20, 24)],
            ..VerifyOptions::default()
        };
        assert!(
            verify(&tiny(), &options)
                .unwrap_err()
                .to_string()
                .contains("height 20")
        );
    }
}
