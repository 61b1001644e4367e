//! Stem and downsampling: strided convolutions that never cross a tile, so they are matrix products.

use fcmae_masking::VisibleLayout;
use tch::Tensor;

use crate::path::on_path;
use crate::pointwise::linear_reference as linear;
use crate::tiles::visible_pixels;
use crate::{cpu, profile};

/// The stem's convolution on the visible patches: images `[N, C, H, W]` → `[V, p, p, d]`, `p = P / s`.
///
/// `weight`: `[d, C, s, s]`, kernel = stride = `s` (4 in the standard family), no padding; `bias`: `[d]`.
/// `kind` of the result is that of `images`. Hidden pixels are never read.
pub fn stem(images: &Tensor, weight: &Tensor, bias: &Tensor, layout: &VisibleLayout) -> Tensor {
    profile::span(
        || "stem, forward".to_owned(),
        || {
            on_path(
                |isa| cpu::stem(isa, images, weight, bias, layout),
                || stem_reference(images, weight, bias, layout),
            )
        },
    )
}

/// [`stem`] by libtorch.
pub(crate) fn stem_reference(
    images: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    layout: &VisibleLayout,
) -> Tensor {
    let (d, c, s, _) = weight.size4().expect("stem weights are [d, C, s, s]");
    let pixels = visible_pixels(images, layout); // [V, C, P, P]
    let (v, patch) = (pixels.size()[0], pixels.size()[2]);
    let p = patch / s;
    let rows = pixels
        .view([v, c, p, s, p, s])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([v, p, p, c * s * s]);
    linear(&rows, &weight.view([d, c * s * s]), bias)
}

/// The 2×2 stride-2 convolution between stages: `x [V, p, p, C]` → `[V, p/2, p/2, d]`; `weight`: `[d, C, 2, 2]`.
pub fn downsample(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    profile::span(
        || format!("downsample {}-{}, forward", weight.size()[1], weight.size()[0]),
        || {
            on_path(
                |isa| cpu::downsample(isa, x, weight, bias),
                || downsample_reference(x, weight, bias),
            )
        },
    )
}

/// [`downsample`] by libtorch.
pub(crate) fn downsample_reference(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
    let (v, p, _, c) = x.size4().expect("packed features are [V, p, p, C]");
    let half = p / 2;
    let rows = x
        .view([v, half, 2, half, 2, c])
        .permute([0, 1, 3, 5, 2, 4])
        .reshape([v, half, half, c * 4]);
    linear(&rows, &weight.view([-1, c * 4]), bias)
}

#[cfg(test)]
mod tests {
    use fcmae_masking::{PatchGrid, PatchMask};
    use tch::{Device, Kind};

    use super::*;
    use crate::tiles::pack_tiles;

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    fn layout() -> VisibleLayout {
        let grid = PatchGrid { rows: 2, cols: 3 };
        let mask = PatchMask::from_hidden_indices(grid, &[vec![1, 2, 5], vec![0, 3, 4]]).unwrap();
        VisibleLayout::from(&mask)
    }

    #[test]
    fn the_stem_is_a_strided_convolution() {
        tch::manual_seed(1);
        let (images, layout) = (Tensor::randn([2, 3, 16, 24], F64), layout());
        let (w, b) = (Tensor::randn([5, 3, 4, 4], F64), Tensor::randn([5], F64));
        let dense = images
            .conv2d(&w, Some(&b), [4, 4], [0, 0], [1, 1], 1)
            .permute([0, 2, 3, 1])
            .contiguous();
        let difference = (stem(&images, &w, &b, &layout) - pack_tiles(&dense, &layout))
            .abs()
            .max();
        assert!(difference.double_value(&[]) < 1e-13);
    }

    #[test]
    fn downsampling_is_a_strided_convolution() {
        tch::manual_seed(2);
        let (map, layout) = (Tensor::randn([2, 8, 12, 6], F64), layout());
        let (w, b) = (Tensor::randn([7, 6, 2, 2], F64), Tensor::randn([7], F64));
        let dense = map
            .permute([0, 3, 1, 2])
            .conv2d(&w, Some(&b), [2, 2], [0, 0], [1, 1], 1);
        let dense = pack_tiles(&dense.permute([0, 2, 3, 1]).contiguous(), &layout);
        let difference = (downsample(&pack_tiles(&map, &layout), &w, &b) - dense)
            .abs()
            .max();
        assert!(difference.double_value(&[]) < 1e-13);
    }
}
