//! Configuration files, with the files they extend.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use toml::Value;

use crate::error::ConfigError;
use crate::layer::Layer;
use crate::nearest::nearest;
use crate::origin::Origin;

/// The key that names the files to build upon.
pub(crate) const EXTENDS: &str = "extends";

/// A longer file is no config.
const LONGEST: u64 = 16 << 20;

/// A file being read, on the way from the first one.
struct Visit {
    shown: PathBuf,
    canonical: PathBuf,
}

/// Reads `file` and everything it extends into one layer, without the key `extends`.
pub(crate) fn read(file: &Path) -> Result<Layer, ConfigError> {
    let text = read_text(file).map_err(|(source, suggestion)| ConfigError::Read {
        file: file.to_path_buf(),
        source,
        suggestion,
    })?;
    resolve(file, &text, &mut Vec::new())
}

/// The layer of `text`, which stands in `file`; `trail` holds the files that led here.
fn resolve(file: &Path, text: &str, trail: &mut Vec<Visit>) -> Result<Layer, ConfigError> {
    let at = |line| Origin::File {
        file: file.to_path_buf(),
        line,
    };
    let mut own = Layer::parse(text, at).map_err(|p| ConfigError::Syntax {
        place: at(p.line).to_string(),
        problem: p.problem,
    })?;
    let extends = own.table.remove(EXTENDS);
    let place = own
        .origins
        .remove(EXTENDS)
        .map(|origin| origin.to_string())
        .unwrap_or_default();

    // Already opened once, so this can hardly fail; the name as it is serves as well then.
    let canonical = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    trail.push(Visit {
        shown: file.to_path_buf(),
        canonical,
    });
    let mut layer = Layer::default();
    for name in names(extends, &place)? {
        layer.merge(extended(file, &name, &place, trail)?);
    }
    trail.pop();
    layer.merge(own);
    Ok(layer)
}

/// The file names in the value of `extends`.
fn names(extends: Option<Value>, place: &str) -> Result<Vec<String>, ConfigError> {
    let name = |value: &Value| value.as_str().map(str::to_owned);
    let names = match &extends {
        None => Some(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(name).collect(),
        Some(value) => name(value).map(|name| vec![name]),
    };
    names.ok_or_else(|| ConfigError::ExtendsValue {
        place: place.to_owned(),
        got: extends.as_ref().map(Value::to_string).unwrap_or_default(),
    })
}

fn extended(file: &Path, name: &str, place: &str, trail: &mut Vec<Visit>) -> Result<Layer, ConfigError> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let parent = tidy(&folder.join(name));
    // Opened by the untidied name: `a/link/../b` is not `a/b` when `link` is one.
    let text = read_text(&folder.join(name)).map_err(|(source, suggestion)| ConfigError::Extended {
        place: place.to_owned(),
        file: parent.clone(),
        source,
        suggestion,
    })?;
    let canonical = folder
        .join(name)
        .canonicalize()
        .unwrap_or_else(|_| parent.clone());
    if let Some(start) = trail.iter().position(|visit| visit.canonical == canonical) {
        let circle = trail[start..].iter().map(|visit| &visit.shown).chain([&parent]);
        let chain = circle
            .map(|file| file.display().to_string())
            .collect::<Vec<_>>()
            .join(" → ");
        return Err(ConfigError::ExtendsCircle {
            place: place.to_owned(),
            chain,
        });
    }
    resolve(&parent, &text, trail)
}

/// The text of a file, or the reason with a file of a similar name.
fn read_text(file: &Path) -> Result<String, (io::Error, Option<String>)> {
    read_plain(file).map_err(|error| {
        let suggestion = if error.kind() == io::ErrorKind::NotFound {
            similar_file(file)
        } else {
            None
        };
        (error, suggestion)
    })
}

/// The text of a plain file of sensible length: what `extends` names is another's word, and a device need never end.
fn read_plain(file: &Path) -> io::Result<String> {
    let meta = fs::metadata(file)?;
    if !meta.is_file() && !meta.is_dir() {
        return Err(io::Error::other("it is no plain file"));
    }
    if meta.is_file() && meta.len() > LONGEST {
        let problem = format!("it has {} bytes; a config has at most {LONGEST}", meta.len());
        return Err(io::Error::other(problem));
    }
    fs::read_to_string(file)
}

/// A TOML file in the same folder whose name is like that of `file`.
fn similar_file(file: &Path) -> Option<String> {
    let folder = file.parent()?;
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = fs::read_dir(listed).ok()?;
    let names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    let stems = names.iter().map(|name| name.trim_end_matches(".toml"));
    let stem = file.file_name()?.to_str()?.trim_end_matches(".toml");
    let found = nearest(stem, stems)?;
    Some(tidy(&folder.join(format!("{found}.toml"))).display().to_string())
}

/// Takes `folder/..` out of a path, for messages.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            Component::CurDir => {}
            part => tidied.push(part),
        }
    }
    tidied
}
