//! Made-up runs in one figure, as a file: `cargo run -p fcmae-plot --example charts`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_plot::{Axis, Chart, Figure, Scale, Series, Style, Unit};

fn main() -> std::io::Result<()> {
    let over_epochs = |epochs: u32, value: fn(f64) -> f64| -> Vec<[f64; 2]> {
        (1..=epochs)
            .map(|epoch| [f64::from(epoch), value(f64::from(epoch))])
            .collect()
    };
    let loss = vec![
        Series::line("", over_epochs(300, |x| (1.0 + 0.2 * x.sin()) / x.sqrt())).styled(Style::Pale),
        Series::line("a", over_epochs(300, |x| 1.0 / x.sqrt())),
        Series::line("b", over_epochs(200, |x| 1.3 / x.sqrt())).colored(1),
    ];
    let accuracy = Series {
        spread: vec![0.06; 12],
        ..Series::line("a", over_epochs(12, |x| 0.9 - 0.6 / x))
    };
    let log = Axis {
        scale: Scale::Log,
        ..Axis::new("loss")
    };
    let percent = Axis {
        unit: Unit::Percent,
        ..Axis::reaching("top-1", [0.0, 1.0])
    };
    let ratios = ["0.3", "0.6", "0.9"].map(str::to_owned).into();
    let by_ratio = Series::line("b", vec![[0.0, 0.41], [1.0, 0.33], [2.0, 0.52]]).colored(1);
    let figure = Figure {
        title: "Two runs".to_owned(),
        note: "Long titles and notes are wrapped; all charts share one legend.".to_owned(),
        columns: 2,
        charts: vec![
            Chart::new("Logarithmic", Axis::whole("epoch"), log, loss),
            Chart::new(
                "Per cent, with spread",
                Axis::whole("epoch"),
                percent,
                vec![accuracy],
            ),
            Chart::new(
                "Named places",
                Axis::named("mask ratio", ratios),
                Axis::from_zero("loss"),
                vec![by_ratio.styled(Style::Dots)],
            ),
        ],
    };
    let (svg, file) = (figure.svg(), std::env::temp_dir().join("charts.svg"));
    assert_eq!(svg.matches("<circle").count(), 12 + 3); // dots where there are few points
    std::fs::write(&file, svg)?;
    println!("{}", file.display());
    Ok(())
}
