//! `fcmae evaluate`: what a classifier gets right, with intervals and the confusion matrix.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::analysis::{ClassificationReport, ConfusionMatrix, Measure, MultiLabelReport, confusion_picture};
use fcmae::checkpoint::replace_file;
use fcmae::trainer::{Evaluation, EvaluationReport};
use image::ImageFormat;
use serde_json::json;

use super::measured::Measured;
use super::weights::{WeightsArgs, tell_unreadable};
use super::{Outcome, output};

/// More classes make a table that nobody reads; JSON and picture have them all.
const MOST_SHOWN: usize = 40;
/// More columns do not fit beside each other.
const WIDEST_MATRIX: usize = 12;

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    weights: WeightsArgs,
    /// The part of the data set that is measured [default: test, or all images where there are no parts]
    #[arg(long)]
    split: Option<String>,
    /// Folder for `report.json` and `confusion.png`
    #[arg(short, long, default_value = "evaluation")]
    output: PathBuf,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let inference = args.weights.open()?;
    let (dataset, note) = inference.labelled(args.split.as_deref())?;
    output::folder(&args.output)?;
    let evaluation = inference.evaluate(&dataset)?;
    args.weights.tell(&inference);
    note.iter().for_each(|note| eprintln!("note: {note}"));
    if dataset.split().is_none() && args.weights.is_own_data() {
        eprintln!(
            "note: {} has no parts: all of its images are measured, those that were trained on among them",
            dataset.origin().display()
        );
    }
    tell_unreadable(&evaluation.unreadable);
    let split = dataset.split();
    Measured::new(&inference, dataset.origin(), split)?
        .with_classes(note)
        .write(&args.output.join("report.json"), &evaluation)?;
    let matrix = match &evaluation.report {
        EvaluationReport::SingleLabel(report) => report.confusion.as_ref(),
        EvaluationReport::MultiLabel(_) => None,
    };
    if let Some(matrix) = matrix {
        write_picture(
            &args.output.join("confusion.png"),
            matrix,
            &evaluation.class_names,
        )?;
    }
    if args.json {
        let (file, data) = (&inference.file, dataset.origin());
        output::json(&json!({
            "weights": file, "data": data, "split": split, "output": args.output, "report": evaluation.report,
            "class_names": evaluation.class_names, "unreadable": evaluation.unreadable,
        }))?;
    } else {
        let (file, data) = (inference.file.display(), dataset.origin().display());
        let what = split.map_or("all images".to_owned(), |split| format!("`{split}`"));
        output::text(&format!("{file} on {data}, {what}\n\n"))?;
        output::text(&describe(&evaluation, inference.config.bootstrap.level))?;
        let what = matrix.map_or("report", |_| "report and picture");
        output::text(&format!("\n{what}: {}\n", args.output.display()))?;
    }
    Ok(Outcome::of_pictures(&evaluation.unreadable))
}

fn write_picture(file: &Path, matrix: &ConfusionMatrix, names: &[String]) -> Result<()> {
    let mut png = std::io::Cursor::new(Vec::new());
    confusion_picture(matrix, names).write_to(&mut png, ImageFormat::Png)?;
    Ok(replace_file(file, |out| out.write_all(png.get_ref()))?)
}

/// `level` is the share of the resamples inside an interval.
fn describe(evaluation: &Evaluation, level: f64) -> String {
    match &evaluation.report {
        EvaluationReport::SingleLabel(report) => single_label(report, &evaluation.class_names, level),
        EvaluationReport::MultiLabel(report) => multi_label(report, level),
    }
}

/// Measures, classes and confusion matrix.
pub(super) fn single_label(report: &ClassificationReport, names: &[String], level: f64) -> String {
    let rows = [
        ("top-1", Some(report.top1)),
        ("top-5", report.top5),
        ("balanced accuracy", Some(report.balanced_accuracy)),
        ("macro precision", Some(report.macro_precision)),
        ("macro recall", Some(report.macro_recall)),
        ("macro F1", Some(report.macro_f1)),
        ("AUROC", report.auroc),
    ];
    let mut text = measures(&rows, level) + &format!("\n{} images\n", report.images);
    let Some(matrix) = &report.confusion else {
        let (classes, most) = (names.len(), ConfusionMatrix::MOST_CLASSES);
        return text + &format!("no confusion matrix: {classes} classes are more than {most}\n");
    };
    if names.len() > MOST_SHOWN {
        return text;
    }
    let row = |class: &fcmae::analysis::ClassReport| {
        let m = &class.measures;
        let mut cells = vec![class.name.clone(), class.support.to_string()];
        cells.extend([m.precision, m.recall, m.f1].map(|value| format!("{value:.4}")));
        cells.push(class.auroc.map_or("-".to_owned(), |area| format!("{area:.4}")));
        cells
    };
    let rows: Vec<_> = report.per_class.iter().map(row).collect();
    text += "\n";
    text += &output::table(&["class", "images", "precision", "recall", "F1", "AUROC"], &rows);
    if names.len() > WIDEST_MATRIX {
        return text;
    }
    text + "\n" + &confusion(matrix, names)
}

fn multi_label(report: &MultiLabelReport, level: f64) -> String {
    let rows = [
        ("mean average precision", report.mean_average_precision),
        ("macro F1", Some(report.macro_f1)),
        ("micro F1", Some(report.micro_f1)),
        ("exact match", Some(report.exact_match)),
    ];
    let text = measures(&rows, level) + &format!("\n{} images\n\n", report.images);
    let row = |class: &fcmae::analysis::MultiLabelClass| {
        let m = &class.measures;
        let mut cells = vec![class.name.clone(), class.support.to_string()];
        cells.extend([m.precision, m.recall, m.f1].map(|value| format!("{value:.4}")));
        cells.extend(
            [class.average_precision, class.auroc].map(|v| v.map_or("-".to_owned(), |v| format!("{v:.4}"))),
        );
        cells
    };
    let rows: Vec<_> = report.per_class.iter().take(MOST_SHOWN).map(row).collect();
    text + &output::table(
        &["class", "images", "precision", "recall", "F1", "AP", "AUROC"],
        &rows,
    )
}

fn measures(rows: &[(&str, Option<Measure>)], level: f64) -> String {
    let row = |(name, measure): &(&str, Option<Measure>)| {
        let measure = (*measure)?;
        let error = measure
            .standard_error
            .map_or(String::new(), |error| format!("{error:.4}"));
        let interval = measure
            .interval
            .map_or(String::new(), |[low, high]| format!("{low:.4} to {high:.4}"));
        Some(vec![
            (*name).to_owned(),
            format!("{:.4}", measure.value),
            error,
            interval,
        ])
    };
    let rows: Vec<_> = rows.iter().filter_map(row).collect();
    let interval = format!("{} % interval", level * 100.0);
    output::table(&["measure", "value", "std. error", &interval], &rows)
}

fn confusion(matrix: &ConfusionMatrix, names: &[String]) -> String {
    let mut header = vec!["true \\ predicted"];
    header.extend(names.iter().map(String::as_str));
    let row = |(name, counts): (&String, &[u64])| {
        std::iter::once(name.clone())
            .chain(counts.iter().map(u64::to_string))
            .collect()
    };
    let rows: Vec<Vec<String>> = names.iter().zip(matrix.rows()).map(row).collect();
    output::table(&header, &rows)
}

#[cfg(test)]
mod tests {
    use fcmae::analysis::{Bootstrap, Scores};

    use super::*;

    #[test]
    fn a_matrix_that_is_left_out_is_told() {
        let told = |classes: usize| {
            let (values, names) = (vec![0.0; classes], vec!["a".to_owned(); classes]);
            let scores = Scores::new(&values, classes).unwrap();
            let report = ClassificationReport::new(&scores, &[0], &names, &Bootstrap::default()).unwrap();
            single_label(&report, &names, 0.95)
        };
        let line = "\nno confusion matrix: 2001 classes are more than 2000\n";
        assert!(told(2001).ends_with(line) && !told(2000).contains("no confusion matrix"));
        assert!(told(2).contains("true \\ predicted"));
    }
}
