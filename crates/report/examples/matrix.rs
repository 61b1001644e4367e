//! What a made-up ablation of one axis looks like as a page: `cargo run -p fcmae-report --example matrix`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::fs;

use fcmae_report::{Better, Cell, Matrix, Measure, Seed, matrix_page};

fn main() -> Result<(), Box<dyn Error>> {
    let cell = |ratio: f64| Cell {
        name: format!("hide {ratio}"),
        values: [("ratio".to_owned(), ratio.into())].into(),
        seeds: (0..3)
            .map(|seed| Seed {
                seed,
                measures: [(
                    "loss".to_owned(),
                    Some(ratio * ratio - ratio + 0.6 + 0.01 * seed as f64),
                )]
                .into(),
            })
            .collect(),
        ..Cell::default()
    };
    let matrix = Matrix {
        title: "Mask ratio".to_owned(),
        axes: vec!["ratio".to_owned()],
        measures: vec![Measure {
            key: "loss".to_owned(),
            label: "held-out loss".to_owned(),
            unit: String::new(),
            better: Better::Lower,
        }],
        cells: [0.3, 0.5, 0.7].map(cell).into(),
    };
    let best = matrix.cells[1].estimate("loss").ok_or("there are seeds")?;
    let page = matrix_page(&matrix);
    let file = std::env::temp_dir().join("matrix.html");
    fs::write(&file, &page)?;
    assert!(page.contains("0.3600 ± 0.010"));
    println!(
        "{}; the best cell: {:.2} ± {:.2}",
        file.display(),
        best.mean,
        best.spread
    );
    Ok(())
}
