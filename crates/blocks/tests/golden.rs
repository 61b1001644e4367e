//! The block of V1 and V2 against the reference's numbers, with every gradient.

use fcmae_blocks::{Block, BlockConfig, BlockKind, Pass};
use fcmae_masking::{PatchGrid, VisibleLayout};
use fcmae_testing::{F32, F64, Golden, Tolerance, assert_close};
use tch::{Device, Kind, nn};

fn check(block_kind: BlockKind, kind: Kind, tolerance: Tolerance) {
    let g = Golden::open(env!("CARGO_MANIFEST_DIR"), "block.safetensors");
    let case = if block_kind == BlockKind::V2 { "v2" } else { "v1" };
    let mut vs = nn::VarStore::new(Device::Cpu);
    let block = Block::new(
        &vs.root(),
        8,
        &BlockConfig {
            kind: block_kind,
            ..BlockConfig::default()
        },
    );
    vs.set_kind(kind);
    for (name, parameter) in vs.variables() {
        tch::no_grad(|| parameter.shallow_clone().copy_(g.find(&format!("{case}.{name}"))));
    }

    let x = g.leaf(&format!("{case}.x"), kind); // [2, 8, 9, 10]
    let layout = VisibleLayout::full(2, PatchGrid { rows: 9, cols: 10 });
    let packed = x.permute([0, 2, 3, 1]).reshape([-1, 1, 1, 8]); // every position is a patch
    let y = block
        .forward(&packed, &layout, &Pass::default())
        .view([2, 9, 10, 8])
        .permute([0, 3, 1, 2]);
    assert_close("out", &y, g.find(&format!("{case}.out")), tolerance.forward);

    (y * g.get(&format!("{case}.grad_out"), kind))
        .sum(kind)
        .backward();
    assert_close(
        "gradient of x",
        &x.grad(),
        g.find(&format!("{case}.grad.x")),
        tolerance.gradient,
    );
    assert_eq!(
        vs.variables().len(),
        if block_kind == BlockKind::V2 { 10 } else { 9 }
    );
    for (name, parameter) in vs.variables() {
        let reference = g.find(&format!("{case}.grad.{name}"));
        assert_close(
            &format!("gradient of {name}"),
            &parameter.grad(),
            reference,
            tolerance.gradient,
        );
    }
}

#[test]
fn v2_in_f64_and_f32() {
    check(BlockKind::V2, Kind::Double, F64);
    check(BlockKind::V2, Kind::Float, F32);
}

#[test]
fn v1_in_f64_and_f32() {
    check(BlockKind::V1, Kind::Double, F64);
    check(BlockKind::V1, Kind::Float, F32);
}
