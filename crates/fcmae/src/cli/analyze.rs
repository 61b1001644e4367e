//! `fcmae analyze`: what features are like, of several networks in one plot.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::analysis::{
    FeatureReport, LayerMeasures, channels_figure, collapse_figure, rank_figure, redundancy_figure,
    selectivity_figure,
};
use fcmae::checkpoint::{replace_file, write_json};
use fcmae::encoder::Site;
use fcmae::plot::Figure;
use fcmae::trainer::{Analysis, AnalysisOptions, Unreadable};
use image::{ImageFormat, RgbImage};
use serde::Serialize;

use super::weights::{ReadArgs, tell_unreadable};
use super::{Outcome, output};

/// Arguments of `analyze`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Weights: files of fcmae, the reference, timm or transformers, or folders of runs or checkpoints; several are drawn
    /// in one plot
    #[arg(required = true)]
    weights: Vec<PathBuf>,
    /// A folder, a manifest `.csv` or a named data set [default: what the weights were trained on]
    #[arg(long, value_name = "PATH|NAME")]
    data: Option<String>,
    #[command(flatten)]
    read: ReadArgs,
    /// The part of the data set that is looked at [default: test, or all images where there are no parts]
    #[arg(long)]
    split: Option<String>,
    /// At most this many of its images, spread evenly over it
    #[arg(long, default_value = "1000", value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Measure how much channels prefer one class, too; the images need labels
    #[arg(long)]
    selectivity: bool,
    /// The picture whose activation maps are drawn [default: the first image]
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Folder for `analysis.json`, `layers.csv`, the plots (`.svg`) and the activation maps (`.png`)
    #[arg(short, long, default_value = "analysis")]
    output: PathBuf,
    /// Print one JSON object instead of the tables
    #[arg(long)]
    json: bool,
}

/// What is written of one network.
#[derive(Serialize)]
struct Network {
    name: String,
    weights: PathBuf,
    data: PathBuf,
    split: Option<String>,
    activation_maps: PathBuf,
    picture: PathBuf,
    unreadable: Vec<Unreadable>,
    #[serde(flatten)]
    report: FeatureReport,
}

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let mut networks = Vec::new();
    output::folder(&args.output)?;
    for (weights, name) in args.weights.iter().zip(short_names(&args.weights)) {
        networks.push(analyze(args, weights, name)?);
    }
    write_json(args.output.join("analysis.json"), &networks)?;
    let reports: Vec<_> = networks
        .iter()
        .map(|n| (n.name.clone(), n.report.clone()))
        .collect();
    let table = csv(&reports)?;
    replace_file(&args.output.join("layers.csv"), |out| out.write_all(&table))?;
    let figures = [
        ("collapse.svg", Some(collapse_figure(&reports))),
        ("redundancy.svg", Some(redundancy_figure(&reports))),
        ("channels.svg", Some(channels_figure(&reports))),
        ("rank.svg", Some(rank_figure(&reports))),
        ("selectivity.svg", selectivity_figure(&reports)),
    ];
    for (file, figure) in figures {
        if let Some(svg) = figure.as_ref().map(Figure::svg) {
            replace_file(&args.output.join(file), |out| out.write_all(svg.as_bytes()))?;
        }
    }
    if args.json {
        output::json(&serde_json::json!({"output": args.output, "networks": networks}))?;
    } else {
        for network in &networks {
            output::text(&describe(network))?;
        }
        output::text(&format!("numbers and pictures: {}\n", args.output.display()))?;
    }
    Ok(if networks.iter().all(|network| network.unreadable.is_empty()) {
        Outcome::Done
    } else {
        Outcome::Failed
    })
}

/// Measures one network and writes its activation maps.
fn analyze(args: &Args, weights: &Path, name: String) -> Result<Network> {
    let inference = args.read.open(weights, args.data.as_deref())?;
    let options = AnalysisOptions {
        split: args.split.clone(),
        limit: args.limit as usize,
        selectivity: args.selectivity,
        picture: args.picture.clone(),
    };
    let analysis: Analysis = inference.analyze(&options)?;
    args.read.tell(weights, &inference);
    tell_unreadable(&analysis.unreadable);
    let file = args
        .output
        .join(format!("maps-{}.png", name.replace(['/', '\\'], "-")));
    write_picture(&file, &analysis.maps)?;
    Ok(Network {
        name,
        weights: inference.file,
        data: analysis.data,
        split: analysis.split,
        activation_maps: file,
        picture: analysis.picture,
        unreadable: analysis.unreadable,
        report: analysis.report,
    })
}

fn write_picture(file: &Path, picture: &RgbImage) -> Result<()> {
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(replace_file(file, |out| out.write_all(png.get_ref()))?)
}

/// For each path as many of its last components as tell it from all the others; a path that is given twice stays whole.
fn short_names(paths: &[PathBuf]) -> Vec<String> {
    let end = |path: &Path, count: usize| -> PathBuf {
        let all: Vec<_> = path.components().collect();
        all[all.len().saturating_sub(count)..].iter().collect()
    };
    let name = |path: &PathBuf| {
        let longest = path.components().count();
        let is_alone = |&count: &usize| {
            paths
                .iter()
                .filter(|other| end(other, count) == end(path, count))
                .count()
                == 1
        };
        let count = (1..longest).find(is_alone).unwrap_or(longest);
        end(path, count).display().to_string()
    };
    paths.iter().map(name).collect()
}

/// A line for each network and layer. Numbers that there are not are empty; selectivity is the mean of the channels.
fn csv(networks: &[(String, FeatureReport)]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "network",
        "images",
        "stage",
        "block",
        "site",
        "channels",
        "cosine_distance",
        "rms_cosine",
        "dead",
        "saturated",
        "effective_rank",
        "largest_rank",
        "class_selectivity",
    ])?;
    let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    for (name, report) in networks {
        for layer in &report.layers {
            writer.write_record([
                name.clone(),
                report.images.to_string(),
                layer.stage.to_string(),
                layer.block.to_string(),
                layer.site.name().to_owned(),
                layer.channels.to_string(),
                layer.cosine_distance.to_string(),
                layer.rms_cosine.to_string(),
                layer.dead.to_string(),
                layer.saturated.to_string(),
                number(layer.effective_rank),
                layer.largest_rank.map_or(String::new(), |rank| rank.to_string()),
                number(layer.mean_selectivity()),
            ])?;
        }
    }
    Ok(writer.into_inner()?)
}

/// A row for each block.
fn describe(network: &Network) -> String {
    let report = &network.report;
    let cell = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let row = |output: &LayerMeasures| {
        let at = |site: Site| {
            report
                .at(site)
                .find(|layer| (layer.stage, layer.block) == (output.stage, output.block))
        };
        let hidden = at(Site::AfterGrn).or(at(Site::AfterGelu));
        let distance = |site| at(site).map(|layer| layer.cosine_distance);
        let mut cells = vec![format!("stages.{}.{}", output.stage, output.block)];
        cells.extend(Site::ALL.map(|site| cell(distance(site))));
        cells.push(cell(hidden.map(|layer| layer.rms_cosine)));
        cells.push(cell(hidden.map(|layer| layer.dead)));
        cells.push(cell(hidden.map(|layer| layer.saturated)));
        cells.push(
            output
                .effective_rank
                .map_or("-".to_owned(), |rank| format!("{rank:.1}")),
        );
        cells.push(
            output
                .largest_rank
                .map_or("-".to_owned(), |rank| rank.to_string()),
        );
        cells.push(cell(output.mean_selectivity()));
        cells
    };
    let rows: Vec<_> = report.at(Site::Output).map(row).collect();
    let header = [
        "cosine distance",
        "before GELU",
        "after GELU",
        "after GRN",
        "output",
        "rms cosine",
        "dead",
        "saturated",
        "rank",
        "of at most",
        "selectivity",
    ];
    format!(
        "{}: {} images of {}\n{}hidden layers on average: distance {:.3}, rms cosine {:.3}\n\n",
        network.name,
        report.images,
        network.data.display(),
        output::table(&header, &rows),
        report.hidden_distance(),
        report.hidden_rms_cosine()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_called_by_what_tells_them_apart() {
        let check = |paths: &[&str], expected: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            assert_eq!(short_names(&paths), expected);
        };
        check(&["runs/v1", "runs/v2"], &["v1", "v2"]);
        check(
            &["runs/v1/checkpoints/last", "runs/v2/checkpoints/last"],
            &["v1/checkpoints/last", "v2/checkpoints/last"],
        );
        check(&["a/model.pth", "model.pth"], &["a/model.pth", "model.pth"]);
        check(&["a/x", "a/x"], &["a/x", "a/x"]);
    }
}
