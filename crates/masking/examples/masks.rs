//! Draws masks and shows them: `cargo run -p fcmae-masking --example masks`.
#![expect(clippy::print_stdout, reason = "an example shows what it made")]

use fcmae_masking::{MaskConfig, MaskError, PatchGrid, RandomMask, VisibleLayout};

fn main() -> Result<(), MaskError> {
    let grid = PatchGrid::for_image(160, 224, 32)?;
    let sampler = RandomMask::new(MaskConfig::random(0.6));
    let mask = sampler.sample(grid, 7, 0, &[11, 12])?;

    for image in 0..mask.images() {
        println!("image {image} (# = hidden):");
        for row in mask.hidden(image).chunks(grid.cols) {
            println!(
                "  {}",
                row.iter()
                    .map(|&hidden| if hidden { " #" } else { " ." })
                    .collect::<String>()
            );
        }
    }

    let layout = VisibleLayout::from(&mask);
    println!(
        "{} of {} patches visible per image, {} packed rows",
        layout.visible_per_image(),
        grid.patches(),
        layout.rows()
    );
    assert_eq!(layout.visible_per_image(), 14);
    for (row, &flat) in layout.visible().iter().enumerate() {
        assert_eq!(layout.slots()[flat as usize] as usize, row);
    }

    let refused = RandomMask::new(MaskConfig::random(0.99)).sample(grid, 7, 0, &[11]);
    println!(
        "ratio 0.99: {}",
        refused.map_or_else(|error| error.to_string(), |_| unreachable!())
    );
    Ok(())
}
