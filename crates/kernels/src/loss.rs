//! Patches as prediction targets, and the loss on hidden patches (fact sheet §2.7).

use fcmae_masking::VisibleLayout;
use tch::{Kind, Tensor};

use crate::path::on_path;
use crate::tiles::select_hidden;
use crate::{cpu, profile};

/// Added to a patch's variance when its pixels are normalised.
pub const TARGET_EPS: f64 = 1e-6;

/// Images `[N, C, H, W]` → patches `[N, L, P·P·C]`; within a patch the index is `(row·P + col)·C + channel`.
pub fn patchify(images: &Tensor, patch: i64) -> Tensor {
    let (n, c, h, w) = images.size4().expect("images are [N, C, H, W]");
    let (gh, gw) = (h / patch, w / patch);
    let split = images.view([n, c, gh, patch, gw, patch]);
    split
        .permute([0, 2, 4, 3, 5, 1])
        .reshape([n, gh * gw, patch * patch * c])
}

/// The inverse of [`patchify`]: patches `[N, gh·gw, P·P·C]` → images `[N, C, gh·P, gw·P]`.
pub fn unpatchify(patches: &Tensor, gh: i64, gw: i64, patch: i64) -> Tensor {
    let (n, _, values) = patches.size3().expect("patches are [N, L, P·P·C]");
    let c = values / (patch * patch);
    let split = patches.view([n, gh, gw, patch, patch, c]);
    split
        .permute([0, 5, 1, 3, 2, 4])
        .reshape([n, c, gh * patch, gw * patch])
}

/// Mean and Bessel-corrected variance of each patch over all its values: `[…, P·P·C]` → two of `[…, 1]`.
pub fn target_statistics(patches: &Tensor) -> (Tensor, Tensor) {
    let mean = patches.mean_dim([-1i64].as_slice(), true, None::<Kind>);
    let var = patches.var_dim([-1i64].as_slice(), true, true);
    (mean, var)
}

/// `(t − mean) / √(var + 1e-6)` per patch: the target under `norm_pix_loss`.
pub fn normalise_target(patches: &Tensor) -> Tensor {
    let (mean, var) = target_statistics(patches);
    (patches - mean) / (var + TARGET_EPS).sqrt()
}

/// Mean squared error on hidden patches only, a scalar in f32 at least.
///
/// `pred`: the predictions of the hidden patches alone, `[N·(L−K), P·P·C]`; `images`: `[N, C, H, W]`. Every
/// image hides the same number of patches, so the mean over all values is the reference's `Σ(loss·mask) / Σ mask`.
pub fn masked_loss(pred: &Tensor, images: &Tensor, layout: &VisibleLayout, norm_pix_loss: bool) -> Tensor {
    profile::span(
        || "loss, forward".to_owned(),
        || {
            on_path(
                |isa| cpu::masked_loss(isa, pred, images, layout, norm_pix_loss),
                || masked_loss_reference(pred, images, layout, norm_pix_loss),
            )
        },
    )
}

/// [`masked_loss`] by libtorch.
pub(crate) fn masked_loss_reference(
    pred: &Tensor,
    images: &Tensor,
    layout: &VisibleLayout,
    norm_pix_loss: bool,
) -> Tensor {
    let patch = images.size()[2] / layout.grid().rows as i64;
    let target = select_hidden(&patchify(images, patch).flatten(0, 1), layout);
    let target = if norm_pix_loss {
        normalise_target(&target)
    } else {
        target
    };
    (pred.to_kind(target.kind()) - target).square().mean(None::<Kind>)
}
