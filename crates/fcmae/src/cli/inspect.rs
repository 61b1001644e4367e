//! `fcmae inspect`: names, shapes, types and counts of a checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::checkpoint::{
    Contents, ReadOptions, TensorInfo, find_weights_file, read_contents, recognise_weights,
};
use serde_json::json;

use super::{Outcome, output};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A `.safetensors`, `.pt`, `.pth` or `.bin` file, or the folder of a run, of a checkpoint or of transformers
    file: PathBuf,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

type Header = BTreeMap<String, TensorInfo>;

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let file = find_weights_file(&args.file, &ReadOptions::default())?;
    let contents = read_contents(&file)?;
    let network = network(&file, &contents);
    let Contents {
        tensors,
        metadata,
        format,
        skipped,
    } = contents;
    if args.json {
        let describe = |(name, info): (&String, &TensorInfo)| json!({"name": name, "dtype": info.dtype.to_string(), "shape": info.shape, "elements": elements(info)});
        let list: Vec<_> = tensors.iter().map(describe).collect();
        let total: usize = tensors.values().map(elements).sum();
        output::json(&json!({
            "file": file, "format": format.to_string(), "network": network, "elements": total, "tensors": list,
            "metadata": metadata, "skipped": skipped,
        }))?;
    } else {
        let mut about = format!("format: {format}\n");
        about += &network.map_or_else(String::new, |network| format!("network: {network}\n"));
        if !skipped.is_empty() {
            about += &format!("passed over, and not run: {}\n", skipped.join(", "));
        }
        let text = describe(&file, &tensors, &about, &metadata);
        output::text(&text)?;
    }
    Ok(Outcome::Done)
}

/// The ConvNeXt that the file holds, or its average where that is all there is; other files may be looked at too.
fn network(file: &Path, contents: &Contents) -> Option<String> {
    let recognise = |ema| recognise_weights(file, contents, &ReadOptions { ema, ignore: &[] }).ok();
    let (naming, architecture) = recognise(false).or_else(|| recognise(true))?;
    Some(format!("{architecture}; names: {naming}"))
}

fn elements(info: &TensorInfo) -> usize {
    info.shape.iter().product()
}

fn describe(file: &Path, tensors: &Header, about: &str, metadata: &BTreeMap<String, String>) -> String {
    let row = |(name, info): (&String, &TensorInfo)| {
        vec![
            name.clone(),
            info.dtype.to_string(),
            format!("{:?}", info.shape),
            elements(info).to_string(),
        ]
    };
    let rows: Vec<_> = tensors.iter().map(row).collect();
    let total: usize = tensors.values().map(elements).sum();
    let mut text = output::table(&["tensor", "type", "shape", "elements"], &rows);
    text += &format!(
        "\n{}: {} tensors, {total} elements\n",
        file.display(),
        tensors.len()
    );
    text += about;
    for (key, value) in metadata {
        let lines = value.trim_end().lines().count();
        if lines == 1 {
            text += &format!("{key}: {}\n", value.trim_end());
        } else {
            text += &format!("{key}: {lines} lines (shown by --json)\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use fcmae::checkpoint::Dtype;

    use super::*;

    #[test]
    fn tensors_are_listed_and_counted() {
        let info = |shape: &[usize]| TensorInfo {
            dtype: Dtype::F32,
            shape: shape.to_vec(),
        };
        let tensors = Header::from([
            ("a.bias".into(), info(&[4])),
            ("a.weight".into(), info(&[4, 3, 2, 2])),
        ]);
        let metadata = BTreeMap::from([
            ("step".into(), "7".into()),
            ("config".into(), "a = 1\nb = 2\n".into()),
        ]);
        let text = describe(Path::new("m.safetensors"), &tensors, "format: x\n", &metadata);
        assert!(text.contains("[4, 3, 2, 2]        48\n"), "{text}");
        assert!(
            text.contains("m.safetensors: 2 tensors, 52 elements\nformat: x\n"),
            "{text}"
        );
        assert!(
            text.ends_with("config: 2 lines (shown by --json)\nstep: 7\n"),
            "{text}"
        );
    }
}
