//! What answers the activations of a block's hidden layer: GRN, and what the paper compares it with (Table 2).

mod batch_norm;
mod cbam;
mod config;
mod grn;
mod lrn;
mod squeeze_excite;

use fcmae_kernels::GrnScope;
use fcmae_masking::VisibleLayout;
use tch::{Kind, Tensor, nn};

use crate::parts::LayerNorm;
use crate::pass::Pass;

pub use batch_norm::{BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, BatchNorm};
pub use cbam::Cbam;
pub use config::{
    Aggregation, Components, GrnForm, Normalizer, Placement, ResponseConfig, ResponseError, ResponseKind,
};
pub use grn::Grn;
pub use lrn::lrn;
pub use squeeze_excite::{Bottleneck, SqueezeExcite};

/// One of them, with its parameters.
#[derive(Debug)]
pub enum Response {
    /// Nothing (V1).
    Nothing,
    /// Global Response Normalization (V2), under `grn`.
    Grn(Grn),
    /// Local response normalization; it has no parameters.
    Lrn,
    /// Batch normalization, under `bn`.
    BatchNorm(BatchNorm),
    /// Layer normalization over channels, under `ln`.
    LayerNorm(LayerNorm),
    /// Squeeze-and-excitation, under `se`.
    SqueezeExcite(SqueezeExcite),
    /// Convolutional block attention, under `cbam`.
    Cbam(Cbam),
}

impl Response {
    /// Creates the parameters under a name of its own in `path`.
    #[must_use]
    pub fn new(
        path: &nn::Path,
        channels: i64,
        kind: ResponseKind,
        config: &ResponseConfig,
        scope: GrnScope,
    ) -> Response {
        let path = |name| path / name;
        match kind {
            ResponseKind::None => Response::Nothing,
            ResponseKind::Grn => Response::Grn(Grn::new(&path("grn"), channels, config.form(scope))),
            ResponseKind::Lrn => Response::Lrn,
            ResponseKind::Bn => Response::BatchNorm(BatchNorm::new(&path("bn"), channels)),
            ResponseKind::Ln => Response::LayerNorm(LayerNorm::new(&path("ln"), channels)),
            ResponseKind::Se => Response::SqueezeExcite(SqueezeExcite::new(&path("se"), channels)),
            ResponseKind::Cbam => Response::Cbam(Cbam::new(&path("cbam"), channels)),
        }
    }

    /// Packed `[V, p, p, C]` → the same. What is hidden does not exist: statistics run over visible sites.
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout, pass: &Pass) -> Tensor {
        match self {
            Response::Nothing => x.shallow_clone(),
            Response::Grn(grn) => grn.forward(x, layout),
            Response::Lrn => lrn(x),
            Response::BatchNorm(norm) => norm.forward(x, pass.is_training),
            Response::LayerNorm(norm) => norm.forward(x),
            Response::SqueezeExcite(gate) => gate.forward(x, layout),
            Response::Cbam(gate) => gate.forward(x, layout),
        }
    }
}

/// In f32 at least, as statistics are taken.
fn exact(x: &Tensor) -> Tensor {
    match x.kind() {
        Kind::Double => x.shallow_clone(),
        _ => x.to_kind(Kind::Float),
    }
}

/// Packed `[V, p, p, C]` by image: `[N, K·p·p, C]`.
fn by_image(x: &Tensor, layout: &VisibleLayout) -> Tensor {
    let channels = x.size()[3];
    x.reshape([layout.images() as i64, -1, channels])
}
