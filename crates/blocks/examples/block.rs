//! A V2 block on two images whose right half is hidden: what is hidden costs nothing.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_blocks::{Block, BlockConfig, Pass, initialise};
use fcmae_masking::{PatchGrid, PatchMask, VisibleLayout};
use tch::{Device, Kind, Tensor, nn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vs = nn::VarStore::new(Device::Cpu);
    let block = Block::new(&vs.root(), 16, &BlockConfig::default());
    initialise(&vs, 0);

    let grid = PatchGrid { rows: 2, cols: 2 };
    let mask = PatchMask::from_hidden_indices(grid, &[vec![1, 3], vec![1, 3]])?; // right column hidden
    let layout = VisibleLayout::from(&mask);
    let x = Tensor::randn([layout.rows() as i64, 8, 8, 16], (Kind::Float, Device::Cpu));
    let y = block.forward(&x, &layout, &Pass::default());
    println!(
        "packed {:?} -> {:?}: {} of {} tiles",
        x.size(),
        y.size(),
        layout.rows(),
        2 * grid.patches()
    );
    assert_eq!(y.size(), [4, 8, 8, 16]);
    Ok(())
}
