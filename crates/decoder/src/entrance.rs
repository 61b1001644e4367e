//! Where encoded features enter a decoder: onto its width, with the mask token in place of what is hidden.

use fcmae_blocks::Affine;
use fcmae_kernels::complete;
use fcmae_masking::VisibleLayout;
use tch::{Tensor, nn};

/// A 1 × 1 convolution and a mask token `[1, D, 1, 1]`.
#[derive(Debug)]
pub(crate) struct Entrance {
    proj: Affine,
    /// Absent where the encoder leaves nothing out.
    token: Option<Tensor>,
}

impl Entrance {
    /// Creates the convolution under `proj` and `mask_token` under `path`.
    pub(crate) fn new(
        path: &nn::Path,
        proj: &str,
        channels: usize,
        dim: usize,
        has_hidden: bool,
    ) -> Entrance {
        let (channels, dim) = (channels as i64, dim as i64);
        Entrance {
            proj: Affine::new(&(path / proj), &[dim, channels, 1, 1]),
            token: has_hidden.then(|| path.zeros("mask_token", &[1, dim, 1, 1])),
        }
    }

    /// Visible patches `[V, p, p, C]` → all patches `[N·L, p, p, D]`.
    pub(crate) fn forward(&self, encoded: &Tensor, layout: &VisibleLayout) -> Tensor {
        let visible = self.proj.linear(encoded);
        let Some(token) = &self.token else {
            return visible; // of every patch
        };
        let (v, p, _, dim) = visible.size4().expect("packed features are [V, p, p, C]");
        let token = token.view([1, dim]).expand([p * p, dim], false).reshape([-1]);
        complete(&visible.view([v, p * p * dim]), &token, layout).view([-1, p, p, dim])
    }
}
