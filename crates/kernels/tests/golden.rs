//! GRN and patches against the reference's numbers.

use fcmae_kernels::{GrnScope, grn, normalise_target, patchify, target_statistics, unpatchify};
use fcmae_masking::{PatchGrid, PatchMask, VisibleLayout};
use fcmae_testing::{F32, F64, Golden, Tolerance, assert_close};
use tch::{Kind, Tensor};

fn golden(file: &str) -> Golden {
    Golden::open(env!("CARGO_MANIFEST_DIR"), file)
}

/// A map `[N, H, W, C]` whose every site is a patch of its own, `visible [N, H, W, 1]` (1 = visible).
fn layout(shape: &[i64], visible: Option<&Tensor>) -> VisibleLayout {
    let grid = PatchGrid {
        rows: shape[1] as usize,
        cols: shape[2] as usize,
    };
    let Some(visible) = visible else {
        return VisibleLayout::full(shape[0] as usize, grid);
    };
    let hidden = |n| {
        Vec::<f64>::try_from(visible.get(n).view([-1]))
            .unwrap()
            .iter()
            .map(|&v| v == 0.0)
            .collect()
    };
    VisibleLayout::from(&PatchMask::from_hidden(grid, (0..shape[0]).map(hidden).collect()).unwrap())
}

fn check_grn(case: &str, scope: GrnScope, masked: bool, kind: Kind, tolerance: Tolerance) {
    let g = golden("grn.safetensors");
    let outputs = match (masked, scope) {
        (false, _) => format!("{case}."),
        (true, GrnScope::Sample) => format!("{case}.sample."),
        (true, GrnScope::Batch) => format!("{case}.batch."),
    };
    let x = g.leaf(&format!("{case}.x"), kind);
    let (gamma, beta) = (
        g.leaf(&format!("{case}.gamma"), kind),
        g.leaf(&format!("{case}.beta"), kind),
    );
    let layout = layout(&x.size(), masked.then(|| g.find("masked.visible")));
    let packed = fcmae_kernels::pack_tiles(&x, &layout);
    let y = grn(&packed, &gamma, &beta, &layout, scope);
    let map = fcmae_kernels::unpack_tiles(&y, &layout);
    assert_close("out", &map, g.find(&format!("{outputs}out")), tolerance.forward);
    if g.has(&format!("{case}.grad_out")) {
        (map * g.get(&format!("{case}.grad_out"), kind))
            .sum(kind)
            .backward();
        for (name, leaf) in [("x", &x), ("gamma", &gamma), ("beta", &beta)] {
            let reference = g.find(&format!("{outputs}grad.{name}"));
            assert_close(
                &format!("gradient of {name}"),
                &leaf.grad(),
                reference,
                tolerance.gradient,
            );
        }
    }
}

#[test]
fn grn_dense() {
    for (kind, tolerance) in [(Kind::Double, F64), (Kind::Float, F32)] {
        check_grn("exact", GrnScope::Sample, false, kind, tolerance);
        check_grn("dense", GrnScope::Sample, false, kind, tolerance);
    }
}

#[test]
fn grn_over_visible_sites_in_both_scopes() {
    for (kind, tolerance) in [(Kind::Double, F64), (Kind::Float, F32)] {
        check_grn("masked", GrnScope::Sample, true, kind, tolerance);
        check_grn("masked", GrnScope::Batch, true, kind, tolerance);
    }
}

#[test]
fn patches_and_targets() {
    let g = golden("patchify.safetensors");
    let images = g.get("images", Kind::Double);
    let patches = patchify(&images, 32);
    assert_eq!(patches, g.get("patches", Kind::Double));
    assert_eq!(unpatchify(&patches, 2, 3, 32), images);
    let (mean, var) = target_statistics(&patches);
    assert_close("mean", &mean, g.find("mean"), F64.forward);
    assert_close("var", &var, g.find("var"), F64.forward);
    assert_close(
        "target",
        &normalise_target(&patches),
        g.find("target"),
        F64.forward,
    );
}

#[test]
fn patches_of_two_channels() {
    let g = golden("patchify.safetensors");
    let images = g.get("tiny.images", Kind::Double);
    assert_eq!(&patchify(&images, 2), g.find("tiny.patches"));
    assert_eq!(
        &unpatchify(g.find("tiny.patches"), 2, 3, 2),
        g.find("tiny.unpatchify")
    );
}

#[test]
fn a_flat_patch_is_a_target_of_zeros() {
    let g = golden("patchify.safetensors");
    let target = normalise_target(&patchify(&g.get("flat.images", Kind::Double), 32));
    assert_eq!(&target, g.find("flat.target"));
}
