//! What is killed: a verb, the folder it works in, and how it is told whether its work is done.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::libtorch;

/// A network that trains in a second.
const TINY: &str = include_str!("../../../tests/tiny.toml");

/// Steps of the pre-training: 6 epochs of 5.
const STEPS: u64 = 30;

/// A verb to be killed.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) name: &'static str,
    whose: Whose,
    pub(super) args: &'static [&'static str],
    pub(super) aim: Aim,
    /// What is done when it is done: files and folders, by name.
    pub(super) left: &'static [&'static str],
    is_done: fn(&Path) -> bool,
}

/// Whose verb it is.
#[derive(Debug, Clone, Copy)]
enum Whose {
    /// The program's.
    Fcmae,
    /// Ours.
    Xtask,
}

/// When it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Anywhere in its life.
    Anywhere,
    /// While it writes something whose name in this folder begins so.
    Writing {
        folder: &'static str,
        prefix: &'static str,
    },
}

/// A checkpoint after every step.
const PRETRAIN: &[&str] = &[
    "pretrain",
    "tiny.toml",
    "--set",
    "schedule.epochs=6",
    "--set",
    "checkpoint.every_steps=1",
    "--quiet",
];
const CHECKPOINT: &[&str] = &[
    "runs/tiny/checkpoints/last/model.safetensors",
    "runs/tiny/checkpoints/last/optimizer.safetensors",
    "runs/tiny/checkpoints/last/state.json",
    "runs/tiny/reconstructions",
];

impl Victim {
    pub(super) fn all() -> [Victim; 4] {
        [
            Victim {
                name: "pretrain",
                whose: Whose::Fcmae,
                args: PRETRAIN,
                aim: Aim::Anywhere,
                left: CHECKPOINT,
                is_done: is_trained,
            },
            Victim {
                name: "checkpoint",
                whose: Whose::Fcmae,
                args: PRETRAIN,
                aim: Aim::Writing {
                    folder: "runs/tiny/checkpoints",
                    prefix: ".staging-",
                },
                left: CHECKPOINT,
                is_done: is_trained,
            },
            Victim {
                name: "pack",
                whose: Whose::Fcmae,
                args: &["data", "pack", "photos", "shards", "--shard-mib", "1"], // four of them
                aim: Aim::Anywhere,
                left: &["shards"],
                is_done: |place| place.join("shards").exists(),
            },
            Victim {
                name: "convert",
                whose: Whose::Fcmae,
                args: &["convert", "weights.safetensors", "--to", "hf", "converted"],
                aim: Aim::Anywhere,
                left: &["converted"],
                is_done: |place| place.join("converted/config.json").exists(), // written last
            },
        ]
    }

    /// `setup` into a cache and a checkout of its own: each piece of work downloads libtorch.
    pub(super) fn setup() -> Victim {
        Victim {
            name: "setup",
            whose: Whose::Xtask,
            args: &["setup"],
            aim: Aim::Anywhere,
            left: &["cache/libtorch"],
            is_done: |place| libtorch::check(&place.join(".libtorch")).is_ok(),
        }
    }

    /// How it is started in its folder.
    pub(super) fn command(&self, fcmae: &Path, place: &Path) -> Result<Command> {
        let mut command = match self.whose {
            Whose::Fcmae => Command::new(fcmae),
            Whose::Xtask => {
                let mut command = Command::new(env::current_exe()?);
                command.env("CARGO_MANIFEST_DIR", place.join("xtask"));
                command.env("FCMAE_CACHE", place.join("cache"));
                command.env_remove("LIBTORCH").env_remove("LIBTORCH_USE_PYTORCH");
                command
            }
        };
        command.args(self.args).current_dir(place);
        Ok(command)
    }

    /// Makes a folder with all that the verb needs.
    pub(super) fn prepare(&self, place: &Path, weights: Option<&Path>) -> Result<()> {
        let write = |name: &str, bytes: &[u8]| {
            let file = place.join(name);
            fs::create_dir_all(file.parent().expect("it lies in the place"))?;
            fs::write(&file, bytes).with_context(|| file.display().to_string())
        };
        write("tiny.toml", TINY.as_bytes())?;
        for i in 0..24u32 {
            write(&format!("images/{i:02}.pgm"), &picture(i, [40, 36]))?;
            write(&format!("photos/{i:02}.pgm"), &picture(i, [400, 360]))?;
        }
        if let Some(weights) = weights {
            fs::copy(weights, place.join("weights.safetensors"))?;
        }
        Ok(())
    }

    /// Whether the verb needs weights of a run.
    pub(super) fn needs_weights(&self) -> bool {
        self.args.contains(&"weights.safetensors")
    }

    /// SHA-256 of all that is left, where the work is done.
    pub(super) fn result(&self, place: &Path) -> Result<Option<String>> {
        if !(self.is_done)(place) {
            return Ok(None);
        }
        let mut hash = Sha256::new();
        for name in self.left {
            for file in files(&place.join(name))? {
                hash.update(file.strip_prefix(place)?.as_os_str().as_encoded_bytes());
                hash.update(fs::read(&file).with_context(|| file.display().to_string())?);
            }
        }
        Ok(Some(
            hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }
}

fn is_trained(place: &Path) -> bool {
    let state = fs::read_to_string(place.join("runs/tiny/checkpoints/last/state.json")).unwrap_or_default();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
    state["step"] == STEPS && state["epochs_closed"] == 6
}

/// A file, or all files of a folder, sorted, hidden ones left out: nobody takes them for the work.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.extend(files(&entry.path())?);
        }
    }
    found.sort();
    Ok(found)
}

/// A bright bar on a ramp, so wide and high, as a PGM file.
fn picture(i: u32, [width, height]: [u32; 2]) -> Vec<u8> {
    let bar = i * 7 % 30;
    let pixel = |x: u32, y: u32| match (bar..bar + 5).contains(&x) {
        true => 230,
        false => (3 * y + i % 11) as u8,
    };
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| pixel(x, y)));
    format!("P5 {width} {height} 255\n")
        .into_bytes()
        .into_iter()
        .chain(pixels)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_of_whole_work_and_of_every_file() {
        let place = tempfile::tempdir().unwrap();
        let [.., convert] = Victim::all();
        convert.prepare(place.path(), None).unwrap();
        assert!(place.path().join("images/23.pgm").exists());
        let out = place.path().join("converted");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("model.safetensors"), "weights").unwrap();
        assert_eq!(
            convert.result(place.path()).unwrap(),
            None,
            "config.json is not there yet"
        );
        fs::write(out.join("config.json"), "{}").unwrap();
        let whole = convert.result(place.path()).unwrap().unwrap();
        fs::write(out.join(".model.safetensors.7.part"), "half").unwrap();
        assert_eq!(convert.result(place.path()).unwrap().as_ref(), Some(&whole));
        fs::write(out.join("model.safetensors"), "weighty").unwrap();
        assert_ne!(convert.result(place.path()).unwrap().unwrap(), whole);
    }
}
