//! Global Response Normalization in the paper's form and in those it was compared with.

use fcmae_kernels::{GRN_EPS, GrnScope};
use fcmae_masking::VisibleLayout;
use tch::{Kind, Tensor, nn};

use super::config::{Aggregation, Components, GrnForm, Normalizer};
use super::exact;

/// `γ·(X·N(G(X))) + β + X` (paper §4, Eq. 1–3): `gamma`, `beta` of shape `[1, 1, 1, C]`.
///
/// Both start at 0, so that it starts as the identity; without the residual `gamma` starts at 1, as that of other
/// norms does: at 0 no block would let anything through.
#[derive(Debug)]
pub struct Grn {
    /// Scale of the normalised response.
    pub gamma: Tensor,
    /// Shift.
    pub beta: Tensor,
    /// How it computes.
    pub form: GrnForm,
}

impl Grn {
    /// Creates the parameters under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64, form: GrnForm) -> Grn {
        let shape = [1, 1, 1, channels];
        Grn {
            gamma: if form.is_bare {
                path.ones("gamma", &shape)
            } else {
                path.zeros("gamma", &shape)
            },
            beta: path.zeros("beta", &shape),
            form,
        }
    }

    /// Packed `[V, p, p, C]` → the same; the paper's form is [`fcmae_kernels::grn`].
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout) -> Tensor {
        let GrnForm { scope, .. } = self.form;
        if self.form
            == (GrnForm {
                scope,
                ..GrnForm::default()
            })
        {
            return fcmae_kernels::grn(x, &self.gamma, &self.beta, layout, scope);
        }
        let groups = match scope {
            GrnScope::Sample => layout.images() as i64,
            GrnScope::Batch => 1,
        };
        let channels = self.gamma.numel() as i64;
        let sites = exact(x).reshape([groups, -1, channels]);
        let (gamma, beta) = (
            self.gamma.view([1, 1, channels]),
            self.beta.view([1, 1, channels]),
        );
        // γ·(x·N) + β + x, with all that x is multiplied by as one factor: each pass over the sites costs time.
        let factor = match self.form.components {
            Components::Affine => gamma,
            Components::G => gamma * self.aggregate(&sites),
            Components::N => gamma * self.normalise(&sites),
            Components::Full => gamma * self.normalise(&self.aggregate(&sites)),
        };
        let factor = if self.form.is_bare { factor } else { factor + 1.0 };
        let y = sites * factor + beta;
        y.view_as(x).to_kind(x.kind())
    }

    /// `G`: `[groups, sites, C]` → `[groups, 1, C]`.
    fn aggregate(&self, sites: &Tensor) -> Tensor {
        let over_sites: &[i64] = &[1];
        match self.form.aggregation {
            Aggregation::L2 => sites.norm_scalaropt_dim(2.0, over_sites, true),
            Aggregation::L1 => sites.abs().sum_dim_intlist(over_sites, true, None::<Kind>),
            Aggregation::Avg => sites.mean_dim(over_sites, true, None::<Kind>),
        }
    }

    /// `N` over the last axis.
    fn normalise(&self, g: &Tensor) -> Tensor {
        let over_channels: &[i64] = &[-1];
        let mean = g.mean_dim(over_channels, true, None::<Kind>);
        match self.form.normalizer {
            Normalizer::DivisiveMean => g / (mean + GRN_EPS),
            Normalizer::Standardise => (g - mean) / (g.var_dim(over_channels, false, true) + GRN_EPS).sqrt(),
            Normalizer::InverseSum => (mean + GRN_EPS).reciprocal(),
        }
    }
}
