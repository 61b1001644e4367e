//! A folder of its own with images and a config, and what runs leave in it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::program::{Ran, Running, program, xtask};

/// A network that trains in a second: 16 patches of 8 px, 20 training images and 4 held out, 3 epochs of 5 steps.
pub const TINY: &str = include_str!("tiny.toml");

/// A classifier that trains in seconds: 48 training images of two classes, 16 held out, 6 steps an epoch.
pub const BARS: &str = r#"seed = 3
device = "cpu"
threads = 1
head_init_scale = 1.0

[model]
name = "tiny test"
depths = [1, 1, 1, 1]
dims = [4, 8, 8, 16]
stem_stride = 1
in_chans = 1
drop_path = 0.1

[data]
path = "bars"
image_size = 32
color = "grey"
mean = [0.2]
std = [0.3]
val_fraction = 0.25
workers = 1

[augment]
crop = "resized"
scale = [0.8, 1.0]
rand_augment = ""
reprob = 0.0

[optimizer]
lr = 5e-3
layer_decay = 0.9

[schedule]
epochs = 20
warmup_epochs = 1

[train]
batch_size = 8

[ema]
decay = 0.8

[checkpoint]
every_steps = 2
keep = 3

[log]
every_steps = 1
"#;

/// A temporary folder with 24 pictures in `images/` and [`TINY`] in `tiny.toml`; every run has it as its working
/// folder, so that the same command in two places is the same run.
#[derive(Debug)]
pub struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// The folder with its images and its config.
    ///
    /// # Panics
    /// When the disk fails, as in every function here.
    #[must_use]
    pub fn new() -> Place {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = Place { folder };
        fs::create_dir(place.path("images")).expect("a new folder");
        for i in 0..24u32 {
            let bar = i * 7 % 30;
            let picture = image::GrayImage::from_fn(40, 36, |x, y| {
                let is_bar = (bar..bar + 5).contains(&x);
                image::Luma([if is_bar { 230 } else { (3 * y + i % 11) as u8 }])
            });
            let file = place.path(&format!("images/{i:02}.png"));
            picture.save(file).expect("a new file");
        }
        place.write("tiny.toml", TINY);
        place
    }

    /// With a classifier of another program: `model.pth`, as the reference writes it (ten classes; depths 1, 1, 2, 1,
    /// widths 8 to 32, stem 4).
    ///
    /// # Panics
    /// When the disk fails.
    #[must_use]
    pub fn and_classifier(self) -> Place {
        let golden = "../crates/checkpoint/tests/golden/official_dense.pth";
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(golden);
        fs::copy(golden, self.path("model.pth")).expect("a new file");
        self
    }

    /// With pictures of upright and level bars beside, in `bars/<class>/`, and [`BARS`] in `bars.toml`.
    ///
    /// # Panics
    /// When the disk fails.
    #[must_use]
    pub fn with_bars() -> Place {
        let place = Place::new();
        for class in ["level", "upright"] {
            for i in 0..32u32 {
                let bar = i * 7 % 24;
                let picture = image::GrayImage::from_fn(32, 32, |x, y| {
                    let along = if class == "level" { y } else { x };
                    image::Luma([if (bar..bar + 6).contains(&along) {
                        230
                    } else {
                        (i % 11) as u8
                    }])
                });
                let mut png = std::io::Cursor::new(Vec::new());
                picture
                    .write_to(&mut png, image::ImageFormat::Png)
                    .expect("memory");
                place.write(&format!("bars/{class}/{i:02}.png"), png.into_inner());
            }
        }
        place.write("bars.toml", BARS);
        place
    }

    /// A path inside.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders that lead to it.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().expect("it lies in this place")).expect("a new folder");
        fs::write(&file, contents).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The bytes of a file.
    #[must_use]
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Cuts a file to its first `length` bytes.
    pub fn truncate(&self, name: &str, length: usize) {
        let bytes = self.read(name);
        assert!(length < bytes.len(), "{name} has only {} bytes", bytes.len());
        self.write(name, &bytes[..length]);
    }

    /// Empties a folder.
    pub fn empty(&self, name: &str) {
        fs::remove_dir_all(self.path(name)).expect("a folder that is there");
        fs::create_dir(self.path(name)).expect("a new folder");
    }

    /// Names in a folder, sorted.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// Runs the program here to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        self.start(args).finish()
    }

    /// Runs the program here to its end with `input` on its stdin.
    #[must_use]
    pub fn run_reading(&self, input: &str, args: &[&str]) -> Ran {
        self.write("stdin", input);
        let stdin = fs::File::open(self.path("stdin")).expect("a file that was written");
        let mut command = Command::new(program());
        Running::start_reading(command.args(args).current_dir(self.folder.path()), stdin.into()).finish()
    }

    /// Starts the program here.
    #[must_use]
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(Command::new(program()).args(args).current_dir(self.folder.path()))
    }

    /// Runs `xtask` here to its end.
    #[must_use]
    pub fn run_xtask(&self, args: &[&str]) -> Ran {
        self.start_xtask(args).finish()
    }

    /// Starts `xtask` here, as the leader of a process group.
    #[must_use]
    pub fn start_xtask(&self, args: &[&str]) -> Running {
        let mut command = Command::new(xtask());
        Running::start(
            command
                .args(args)
                .current_dir(self.folder.path())
                .process_group(0),
        )
    }

    /// Runs the program here where no file may grow beyond `kibibytes`: what a full disk looks like from inside.
    #[must_use]
    pub fn run_with_file_limit(&self, kibibytes: u32, args: &[&str]) -> Ran {
        let script = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$0\" \"$@\"");
        let mut command = Command::new("bash"); // its `ulimit -f` counts in KiB
        command.arg("-c").arg(script).arg(program()).args(args);
        Running::start(command.current_dir(self.folder.path())).finish()
    }

    /// Number of the last step in a run's `metrics.jsonl`; 0 before the first.
    #[must_use]
    pub fn steps(&self, run: &str) -> u64 {
        let text = fs::read_to_string(self.path(run).join("metrics.jsonl")).unwrap_or_default();
        let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64();
        // The last line may be half written.
        text.lines().filter_map(step).max().unwrap_or_default()
    }

    /// Lines of a run's `metrics.jsonl`, without what depends on the clock.
    #[must_use]
    pub fn metrics(&self, run: &str) -> Vec<serde_json::Value> {
        let parse = |line: &str| {
            let mut value: serde_json::Value = serde_json::from_str(line).expect("one JSON object a line");
            let object = value.as_object_mut().expect("an object");
            for key in ["images_per_second", "data_wait", "seconds", "memory_mib"] {
                object.remove(key);
            }
            value
        };
        self.text(&format!("{run}/metrics.jsonl"))
            .lines()
            .map(parse)
            .collect()
    }

    /// SHA-256 of every file below a folder, by relative path; without the locks of runs, which say who ran last.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<PathBuf, String> {
        let (root, mut found) = (self.folder.path(), BTreeMap::new());
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                let name = path.strip_prefix(root).expect("it lies below").to_owned();
                if path.is_dir() && !path.is_symlink() {
                    found.insert(name, "folder".to_owned());
                    folders.push(path);
                } else if path.is_symlink() {
                    found.insert(name, fs::read_link(&path).expect("a link").display().to_string());
                } else if !path.ends_with(".lock") {
                    found.insert(name, sha256(&fs::read(&path).expect("a file")));
                }
            }
        }
        found
    }

    /// What `run` left that must not depend on interruptions.
    #[must_use]
    pub fn left(&self, run: &str) -> Left {
        let hash = |name: &str| sha256(&self.read(&format!("{run}/{name}")));
        let pictures = self.list(&format!("{run}/reconstructions"));
        let weights = self.read(&format!("{run}/checkpoints/last/model.safetensors"));
        Left {
            model: hash("checkpoints/last/model.safetensors"),
            tensors: sha256(tensors(&weights)),
            optimizer: hash("checkpoints/last/optimizer.safetensors"),
            state: hash("checkpoints/last/state.json"),
            config: hash("config.toml"),
            metrics: self.metrics(run),
            pictures: pictures
                .iter()
                .map(|name| (name.clone(), hash(&format!("reconstructions/{name}"))))
                .collect(),
            checkpoints: self.list(&format!("{run}/checkpoints")),
        }
    }
}

impl Default for Place {
    fn default() -> Place {
        Place::new()
    }
}

/// What a run leaves, as SHA-256 of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// `model.safetensors`, whose metadata hold what decided the weights.
    pub model: String,
    /// The numbers in `model.safetensors` alone.
    pub tensors: String,
    /// `optimizer.safetensors`.
    pub optimizer: String,
    /// `state.json`.
    pub state: String,
    /// `config.toml`.
    pub config: String,
    /// `metrics.jsonl` without what depends on the clock.
    pub metrics: Vec<serde_json::Value>,
    /// The pictures of reconstructions.
    pub pictures: BTreeMap<String, String>,
    /// Names in the folder of the checkpoints.
    pub checkpoints: Vec<String>,
}

/// The numbers of a safetensors file: what follows its header.
fn tensors(file: &[u8]) -> &[u8] {
    let (length, rest) = file.split_first_chunk::<8>().expect("the length of the header");
    &rest[u64::from_le_bytes(*length) as usize..]
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
