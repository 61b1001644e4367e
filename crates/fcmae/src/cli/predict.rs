//! `fcmae predict`: the classes of pictures, as they come.

use anyhow::Result;
use fcmae::trainer::{Inference, Prediction, one_line};
use serde_json::json;

use super::weights::PicturesArgs;
use super::{Outcome, output};

/// Arguments of `predict`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pictures: PicturesArgs,
    /// How many classes are given for each picture, the most likely first
    #[arg(long, aliases = ["topk", "top-k"], default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// A line for people, or for programs with all logits
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// `picture: class 0.98, class 0.01, …`
    #[default]
    Text,
    /// A header, then a row per picture: the most likely classes, all logits
    Csv,
    /// One JSON object per picture and line
    Json,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let (inference, files) = args.pictures.open()?;
    let format = if args.json { Format::Json } else { args.format };
    let top = (args.top as usize).min(inference.class_names.len());
    let (mut has_header, mut is_told) = (false, false);
    let done = inference.predict(files, |result| {
        if result.is_ok() && !is_told {
            is_told = true;
            args.pictures.tell(&inference);
        }
        if format == Format::Csv && !has_header {
            has_header = true;
            output::part(&csv_line(&header(&inference, top))?)?;
        }
        match result {
            Ok(prediction) => output::part(&match format {
                Format::Text => line(&inference, &prediction, top),
                Format::Csv => csv_line(&row(&inference, &prediction, top))?,
                Format::Json => object(&inference, &prediction, top).to_string() + "\n",
            }),
            Err(unreadable) => {
                eprintln!("unreadable: {}", one_line(&unreadable.problem));
                if format == Format::Json {
                    let object = json!({"file": unreadable.file, "error": unreadable.problem});
                    return output::part(&(object.to_string() + "\n"));
                }
                Ok(())
            }
        }
    });
    let done = match done {
        Err(error) if output::is_unread(&error) => return Ok(Outcome::Done),
        done => done?,
    };
    if done.unreadable == 0 {
        return Ok(Outcome::Done);
    }
    let total = done.images + done.unreadable;
    eprintln!(
        "{} of {total} pictures could not be read; the others are done",
        done.unreadable
    );
    Ok(Outcome::Failed)
}

fn line(inference: &Inference, prediction: &Prediction, top: usize) -> String {
    let likely = inference.most_likely(&prediction.logits, top);
    let shown = |(class, share): &(usize, f64)| format!("{} {share:.4}", inference.class_names[*class]);
    let shown: Vec<_> = likely.iter().map(shown).collect();
    format!("{}: {}\n", prediction.file.display(), shown.join(", "))
}

fn object(inference: &Inference, prediction: &Prediction, top: usize) -> serde_json::Value {
    let likely = inference.most_likely(&prediction.logits, top);
    let entry = |(class, share): &(usize, f64)| json!({"class": inference.class_names[*class], "index": class, "probability": share});
    let likely: Vec<_> = likely.iter().map(entry).collect();
    json!({"file": prediction.file, "top": likely, "logits": prediction.logits})
}

fn header(inference: &Inference, top: usize) -> Vec<String> {
    let pairs = (1..=top).flat_map(|place| [format!("class_{place}"), format!("probability_{place}")]);
    let logits = inference.class_names.iter().map(|name| format!("logit_{name}"));
    std::iter::once("path".to_owned())
        .chain(pairs)
        .chain(logits)
        .collect()
}

fn row(inference: &Inference, prediction: &Prediction, top: usize) -> Vec<String> {
    let likely = inference.most_likely(&prediction.logits, top);
    let pairs = likely
        .iter()
        .flat_map(|(class, share)| [inference.class_names[*class].clone(), share.to_string()]);
    let logits = prediction.logits.iter().map(f32::to_string);
    std::iter::once(prediction.file.display().to_string())
        .chain(pairs)
        .chain(logits)
        .collect()
}

fn csv_line(cells: &[String]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    Ok(String::from_utf8(writer.into_inner()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_are_quoted() {
        let cells = ["a, b.png", "0.5"].map(str::to_owned);
        assert_eq!(csv_line(&cells).unwrap(), "\"a, b.png\",0.5\n");
    }
}
