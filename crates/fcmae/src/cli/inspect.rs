//! `fcmae inspect`: names, shapes, types and counts of a checkpoint.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae::checkpoint::{TensorInfo, read_safetensors_header};
use fcmae::trainer::find_weights;
use serde_json::json;

use super::{Outcome, output};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A `.safetensors` file, or the folder of a run or of a checkpoint
    file: PathBuf,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

type Header = BTreeMap<String, TensorInfo>;

pub(super) fn run(args: &Args) -> Result<Outcome> {
    let file = find_weights(&args.file)?;
    let (tensors, metadata) = read_safetensors_header(&file)?;
    if args.json {
        let describe = |(name, info): (&String, &TensorInfo)| json!({"name": name, "dtype": info.dtype.to_string(), "shape": info.shape, "elements": elements(info)});
        let list: Vec<_> = tensors.iter().map(describe).collect();
        let total: usize = tensors.values().map(elements).sum();
        output::json(&json!({"file": file, "elements": total, "tensors": list, "metadata": metadata}))?;
    } else {
        output::text(&describe(&file, &tensors, &metadata))?;
    }
    Ok(Outcome::Done)
}

fn elements(info: &TensorInfo) -> usize {
    info.shape.iter().product()
}

fn describe(file: &Path, tensors: &Header, metadata: &BTreeMap<String, String>) -> String {
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
        let text = describe(Path::new("m.safetensors"), &tensors, &metadata);
        assert!(text.contains("[4, 3, 2, 2]        48\n"), "{text}");
        assert!(text.contains("m.safetensors: 2 tensors, 52 elements\n"), "{text}");
        assert!(
            text.ends_with("config: 2 lines (shown by --json)\nstep: 7\n"),
            "{text}"
        );
    }
}
