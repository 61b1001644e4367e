//! The programs between which weights go: ours, and timm and transformers in one Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::pair::Logits;
use crate::peer::Python;
use crate::{paths, process};

/// Another program.
pub(super) struct Other {
    pub(super) name: &'static str,
    /// What `fcmae convert --to` calls it.
    pub(super) to: &'static str,
    /// The file or folder of its weights, as `xtask/peer/interop.py` knows it.
    pub(super) file: &'static str,
}

/// timm, which opens a folder.
pub(super) const FOLDER_OF_TIMM: &str = "local-dir";

pub(super) const OTHERS: [Other; 4] = [
    Other {
        name: "timm",
        to: "timm",
        file: "timm.pth",
    },
    Other {
        name: FOLDER_OF_TIMM,
        to: "timm",
        file: "timm",
    },
    Other {
        name: "reference",
        to: "official",
        file: "reference.pth",
    },
    Other {
        name: "transformers",
        to: "hf",
        file: "transformers",
    },
];

/// Our program, in release mode.
#[derive(Debug)]
pub(super) struct Fcmae(pub(super) PathBuf);

impl Fcmae {
    /// `fcmae predict` on the pictures of a folder; they have the network's size, and nothing is cut off.
    pub(super) fn logits(&self, weights: &Path, folder: &Path) -> Result<Logits> {
        let mut command = Command::new(&self.0);
        command.arg("predict").arg(weights).arg(folder.join("pictures"));
        command.arg("--json");
        for setting in ["data.crop_pct=1", "precision=f32", "device=cpu"] {
            command.args(["--set", setting]);
        }
        let text = said(&mut command)?;
        text.lines().map(logits_of_line).collect()
    }

    pub(super) fn convert(&self, from: &Path, to: &str, into: &Path) -> Result<()> {
        let mut command = Command::new(&self.0);
        said(command.arg("convert").arg(from).args(["--to", to]).arg(into)).map(drop)
    }
}

/// The logits of a line of `fcmae predict --json`.
pub(crate) fn logits_of_line(line: &str) -> Result<Vec<f32>> {
    let mut line: Value = serde_json::from_str(line)?;
    let logits = line["logits"].take();
    serde_json::from_value(logits).context("a picture without finite logits")
}

/// timm and transformers in one Python.
#[derive(Debug)]
pub(crate) struct Others(pub(crate) Python);

/// What it says of pictures.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Of PyTorch, timm and transformers.
    pub(crate) versions: Value,
    /// By program: logits, or a text that says why there are none.
    logits: Map<String, Value>,
}

impl Others {
    /// Writes random weights of timm and transformers and a few pictures to `folder`.
    pub(crate) fn draw(&self, size: &str, folder: &Path) -> Result<Answer> {
        self.ask(&["draw", size], folder)
    }

    /// Loads what was exported to `folder`, and writes pictures as those weights want them.
    pub(super) fn load(&self, folder: &Path) -> Result<Answer> {
        self.ask(&["load"], folder)
    }

    fn ask(&self, verb: &[&str], folder: &Path) -> Result<Answer> {
        let script = paths::checkout().join("xtask/peer/interop.py");
        let text = said(
            self.0
                .command(Path::new(&paths::display(&script)))
                .args(verb)
                .arg(folder),
        )?;
        Answer::parse(&text).with_context(|| format!("interop.py printed {text:?}"))
    }
}

impl Answer {
    /// The last line is the JSON object.
    fn parse(text: &str) -> Result<Answer> {
        let mut line: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
        match line["logits"].take() {
            Value::Object(logits) => Ok(Answer {
                versions: line["versions"].take(),
                logits,
            }),
            _ => bail!("no logits"),
        }
    }

    /// Whether the program was asked.
    pub(super) fn has(&self, program: &str) -> bool {
        self.logits.contains_key(program)
    }

    /// The logits of a program, or why it has none.
    pub(super) fn logits(&self, program: &str) -> Result<Logits> {
        match self.logits.get(program) {
            Some(Value::String(why)) => Err(anyhow!("{program}: {why}")),
            Some(rows) => Ok(serde_json::from_value(rows.clone())?),
            None => Err(anyhow!("{program} was not asked")),
        }
    }
}

/// Says what runs, and gives back what it prints.
fn said(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", process::line(command));
    process::capture(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_logits_or_a_reason() {
        let text = "warning\n{\"versions\": {\"timm\": \"1\"}, \"logits\": {\"timm\": [[0.5]], \"transformers\": \"KeyError: x\"}}\n";
        let answer = Answer::parse(text).unwrap();
        assert_eq!(answer.logits("timm").unwrap(), [[0.5]]);
        let why = |program| answer.logits(program).unwrap_err().to_string();
        assert_eq!(why("transformers"), "transformers: KeyError: x");
        assert_eq!(why("reference"), "reference was not asked");
        assert!(Answer::parse("").is_err() && Answer::parse("{}").is_err());
    }

    #[test]
    fn a_line_of_ours_has_finite_logits_or_is_an_error() {
        assert_eq!(
            logits_of_line(r#"{"file": "a", "logits": [1, -0.5]}"#).unwrap(),
            [1.0, -0.5]
        );
        for bad in [
            r#"{"file": "a", "error": "no picture"}"#,
            r#"{"logits": [null]}"#,
            "",
        ] {
            assert!(logits_of_line(bad).is_err(), "{bad}");
        }
    }
}
