//! The convolutional block attention module: gates for channels, then for places.

use fcmae_kernels::{pack_tiles, unpack_tiles};
use fcmae_masking::VisibleLayout;
use tch::{Kind, Tensor, nn};

use super::squeeze_excite::Bottleneck;
use super::{by_image, exact};
use crate::parts::Affine;

/// CBAM (arXiv 1807.06521): channels by `σ(b(mean) + b(max))` over the visible sites of the image, then places by
/// `σ(conv7×7([mean_c, max_c]))`. The convolution has a bias and no norm, as in the paper's formula; a neighbour that
/// is hidden or outside the image contributes zero.
#[derive(Debug)]
pub struct Cbam {
    /// `b`, for mean and maximum: under `fc1`, `fc2`.
    pub bottleneck: Bottleneck,
    /// `[1, 2, 7, 7]`.
    pub spatial: Affine,
}

impl Cbam {
    /// Creates the parameters under `path`.
    #[must_use]
    pub fn new(path: &nn::Path, channels: i64) -> Cbam {
        Cbam {
            bottleneck: Bottleneck::new(path, channels),
            spatial: Affine::new(&(path / "spatial"), &[1, 2, 7, 7]),
        }
    }

    /// Packed `[V, p, p, C]` → the same.
    pub fn forward(&self, x: &Tensor, layout: &VisibleLayout) -> Tensor {
        let sites = by_image(&exact(x), layout); // [N, K·p·p, C]
        let (mean, max) = mean_and_max(&sites, 1);
        let channels = self.bottleneck.forward(&mean) + self.bottleneck.forward(&max); // [N, 1, C]
        let y = (sites * channels.sigmoid()).view_as(x);
        let (mean, max) = mean_and_max(&y, -1);
        let places = self.convolve(&Tensor::cat(&[mean, max], -1), layout);
        (y * places.sigmoid()).to_kind(x.kind())
    }

    /// `[V, p, p, 2]` → `[V, p, p, 1]`.
    fn convolve(&self, x: &Tensor, layout: &VisibleLayout) -> Tensor {
        let map = unpack_tiles(x, layout).permute([0, 3, 1, 2]);
        let Affine { weight, bias } = &self.spatial;
        let out = map.conv2d(weight, Some(bias), [1, 1], [3, 3], [1, 1], 1);
        pack_tiles(&out.permute([0, 2, 3, 1]).contiguous(), layout)
    }
}

/// Over one axis, which stays.
fn mean_and_max(x: &Tensor, axis: i64) -> (Tensor, Tensor) {
    (
        x.mean_dim([axis].as_slice(), true, None::<Kind>),
        x.amax([axis], true),
    )
}
