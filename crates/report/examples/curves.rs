//! A chart of two made-up losses as SVG, and what an ablation of one axis looks like as a page.
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use fcmae_report::chart::{Axis, Chart, Series};
use fcmae_report::{Better, Cell, Matrix, Measure, Seed, matrix_page};

fn main() -> Result<(), Box<dyn Error>> {
    let loss = |from: f64| {
        (1..=20)
            .map(|epoch| [f64::from(epoch), from / f64::from(epoch).sqrt()])
            .collect()
    };
    let curves = vec![
        Series::line("training", loss(1.0)),
        Series::line("held out", loss(0.9)).colored(1),
    ];
    let svg = Chart::new("Loss", Axis::whole("epoch"), Axis::default(), curves).svg();
    println!(
        "{} bytes of SVG, {} curves",
        svg.len(),
        svg.matches("stroke-opacity").count()
    );

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
    assert!(page.contains("0.3600 ± 0.010"));
    println!(
        "{} bytes of HTML; the best cell: {:.2} ± {:.2}",
        page.len(),
        best.mean,
        best.spread
    );
    Ok(())
}
