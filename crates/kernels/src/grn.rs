//! Global Response Normalization on packed tiles (paper §4, Eq. 1–3).

use fcmae_masking::VisibleLayout;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Added to the mean norm in GRN's divisor.
pub const GRN_EPS: f64 = 1e-6;

/// Over which sites GRN's norm runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrnScope {
    /// The visible sites of each image: the paper's formula, and that of every dense network.
    #[default]
    Sample,
    /// The visible sites of all images of the batch together: what the reference's sparse code does.
    Batch,
}

/// `y = γ·(x·N) + β + x` with `G_c = ‖x_c‖₂` over visible sites and `N_c = G_c / (mean_c G + 1e-6)`.
///
/// `x`, result: `[V, p, p, C]`; `gamma`, `beta`: any shape with `C` elements. The divisor is the mean (the
/// paper's Eq. 2 shows the sum, its footnote and the code use the mean). Norms are taken in f32 at least.
/// The gradient of a norm that is exactly zero is zero.
pub fn grn(x: &Tensor, gamma: &Tensor, beta: &Tensor, layout: &VisibleLayout, scope: GrnScope) -> Tensor {
    let groups = match scope {
        GrnScope::Sample => layout.images() as i64,
        GrnScope::Batch => 1,
    };
    let c = gamma.numel() as i64;
    let sites = x.view([groups, -1, c]); // [N or 1, K·p·p (·N), C]
    let exact = if x.kind() == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    };
    let g = sites.norm_scalaropt_dim_dtype(2.0, [1i64].as_slice(), true, exact); // [N or 1, 1, C]
    let n = &g / (g.mean_dim([-1i64].as_slice(), true, exact) + GRN_EPS);
    // γ·(x·N) + β + x, with the two multiplications of x as one.
    let scale: Tensor = (n * gamma.view([1, 1, c]) + 1.0).to_kind(x.kind());
    (sites * scale + beta.view([1, 1, c]).to_kind(x.kind())).view_as(x)
}
