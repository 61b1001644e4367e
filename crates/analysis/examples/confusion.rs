//! Measures of a classifier from its scores alone, and its confusion matrix as `confusion.png`.
#![allow(clippy::print_stdout, reason = "an example prints")]

use fcmae_analysis::{Bootstrap, ClassificationReport, Scores, confusion_picture};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names = ["crack", "finger failure", "functional"].map(str::to_owned);
    // logits of 90 images that favour the right class, less and less
    let labels: Vec<u32> = (0..90).map(|i| i % 3).collect();
    let logit = |(i, class): (u32, u32)| {
        if class == i % 3 {
            1.0
        } else {
            ((i * 7 + class * 5) % 16) as f32 / 12.0
        }
    };
    let logits: Vec<f32> = (0..90)
        .flat_map(|i| (0..3).map(move |class| (i, class)))
        .map(logit)
        .collect();

    let scores = Scores::new(&logits, 3)?;
    let report = ClassificationReport::new(&scores, &labels, &names, &Bootstrap::default())?;
    let [low, high] = report.top1.interval.ok_or("a bootstrap gives an interval")?;
    println!(
        "top-1 {:.3} ({low:.3} to {high:.3}), macro F1 {:.3}",
        report.top1.value, report.macro_f1.value
    );
    assert!(low <= report.top1.value && report.top1.value <= high);
    let file = std::env::temp_dir().join("confusion.png");
    let matrix = report.confusion.ok_or("three classes have a matrix")?;
    confusion_picture(&matrix, &names).save(&file)?;
    println!("{}", file.display());
    Ok(())
}
