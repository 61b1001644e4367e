//! Shards made of any source: the same images in the same order, the same bytes each time.

mod lock;
mod shape;
mod write;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::config::{DataConfig, ensure};
use crate::error::DataError;
use crate::source::{NAME, Row, Table, number_labels};
use crate::threads::workers;

use shape::{Shaped, shape};
use write::Writer;

/// How shards are made.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// A shard is closed before it grows beyond this many bytes.
    pub shard_bytes: u64,
    /// Longer images are made smaller until their longer side has this many pixels, and written as JPEG.
    pub max_side: Option<usize>,
    /// Quality of these, from 1 to 100.
    pub quality: u8,
}

impl Default for PackOptions {
    fn default() -> PackOptions {
        PackOptions {
            shard_bytes: 512 << 20,
            max_side: None,
            quality: 90,
        }
    }
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The shards, in order.
    pub shards: Vec<PathBuf>,
    /// Images in them.
    pub images: usize,
    /// How many of these were made smaller.
    pub resized: usize,
    /// Bytes of all shards.
    pub bytes: u64,
}

/// Images that are read and resized at the same time.
const AT_ONCE: usize = 64;

/// Packs the images that `config` names into `out/000000.tar`, …, in the layout of webdataset, in their order.
///
/// Bytes of images are copied as they are unless [`PackOptions::max_side`] asks for less. `key.cls` holds the number
/// of the class; `key.json` what else is known: the class by name, the other columns of a manifest, and the name in
/// the source where the member is called otherwise (another ending, a dot inside). So order, ids, names, classes and
/// the validation split of the shards are those of the source. A JPEG's rotation is kept, or carried out where it is
/// made smaller.
///
/// `out` appears when all is written; until then the shards lie in a hidden folder beside it, and no other process
/// can pack it. The same source and options give the same bytes. `told` hears of each shard that is finished.
///
/// # Errors
/// A source that cannot be listed; a file that cannot be read, or is no image; an `out` that exists or cannot be
/// written: each names the file.
pub fn pack(
    config: &DataConfig,
    out: &Path,
    options: &PackOptions,
    told: &mut dyn FnMut(&Path, usize),
) -> Result<Packed, DataError> {
    check(options)?;
    let table = Table::open(config)?;
    let labels = Labels::of(&table)?;
    let names = names(&table);
    let mut writer = Writer::begin(out, options.shard_bytes)?;
    let pool = workers(config.workers)?;
    let decode = config.decode_options();
    let mut resized = 0;
    let rows: Vec<(usize, &Row)> = table.rows.iter().enumerate().collect();
    for rows in rows.chunks(AT_ONCE) {
        let shaped: Vec<Result<Shaped, DataError>> = pool.install(|| {
            let one = |&(_, row): &(usize, &Row)| shape(&row.location, &decode, options);
            rows.par_iter().with_max_len(1).map(one).collect()
        });
        for (&(at, row), shaped) in rows.iter().zip(shaped) {
            let Shaped {
                bytes,
                extension,
                smaller,
            } = shaped?;
            resized += usize::from(smaller);
            let name = &names[at];
            let member = name.image(row.location.path(), extension, smaller);
            let json = labels.json(row, &member);
            let mut sample = vec![(member, bytes)];
            sample.extend(labels.class(at).map(|class| (name.with("cls"), class)));
            sample.extend(json.map(|json| (name.with("json"), json)));
            writer.add(&sample, told)?;
        }
    }
    let (shards, bytes) = writer.finish(told)?;
    Ok(Packed {
        shards,
        images: table.rows.len(),
        resized,
        bytes,
    })
}

fn check(options: &PackOptions) -> Result<(), DataError> {
    ensure(
        (1..=100).contains(&options.quality),
        "quality",
        options.quality.to_string(),
        || "must be from 1 to 100".to_owned(),
    )?;
    let side = options.max_side.unwrap_or(1);
    ensure((1..=65_535).contains(&side), "max_side", side.to_string(), || {
        "must be from 1 to 65535 pixels".to_owned()
    })?;
    ensure(options.shard_bytes > 0, "shard size", "0".to_owned(), || {
        "must be above 0".to_owned()
    })
}

/// The key of a sample.
struct Key(String);

impl Key {
    fn with(&self, extension: &str) -> String {
        format!("{}.{extension}", self.0)
    }

    /// The member's name: that of the source where its ending says what the bytes are.
    fn image(&self, source: &Path, extension: &str, smaller: bool) -> String {
        let ending = source.extension().and_then(|ending| ending.to_str());
        match ending {
            Some(ending) if !smaller && crate::source::is_image_name(source) => self.with(ending),
            _ => self.with(extension),
        }
    }
}

/// One key per row: the name without ending, made such that nobody takes it for something else.
fn names(table: &Table) -> Vec<Key> {
    let mut taken = HashSet::new();
    let key = |row: &Row| {
        let path = Path::new(&row.name);
        let parts = path.components().filter_map(|part| match part {
            std::path::Component::Normal(part) => Some(part.to_string_lossy().into_owned()),
            _ => None, // neither `/` nor `..`
        });
        let mut parts: Vec<String> = parts.collect();
        let last = path.file_stem().unwrap_or_default().to_string_lossy();
        // A key ends at the first dot, and members with control characters are refused.
        parts.pop();
        parts.push(last.replace(|c: char| c == '.' || c.is_control(), "_"));
        let wanted = parts.join("/");
        let mut key = wanted.clone();
        for number in 2.. {
            if taken.insert(key.clone()) {
                break;
            }
            key = format!("{wanted}_{number}");
        }
        Key(key)
    };
    table.rows.iter().map(key).collect()
}

/// What is written beside an image.
struct Labels {
    classes: Vec<Option<u32>>,
    /// Columns that `.json` repeats.
    columns: Vec<(usize, String)>,
}

impl Labels {
    fn of(table: &Table) -> Result<Labels, DataError> {
        let label = table.find("label");
        let (classes, class_names) = match label {
            Some(column) => number_labels(table, column)?,
            None => (vec![None; table.rows.len()], Vec::new()),
        };
        let is_numbered = class_names
            .iter()
            .enumerate()
            .all(|(at, name)| *name == at.to_string());
        let repeats = |name: &str| match name {
            "path" | "cls" | NAME => false,
            "label" => !is_numbered,
            _ => true,
        };
        let columns = table.header.iter().cloned().enumerate();
        Ok(Labels {
            classes,
            columns: columns.filter(|(_, name)| repeats(name)).collect(),
        })
    }

    fn class(&self, row: usize) -> Option<Vec<u8>> {
        Some(self.classes[row]?.to_string().into_bytes())
    }

    /// `member`: what the image is called in the shard.
    fn json(&self, row: &Row, member: &str) -> Option<Vec<u8>> {
        let mut fields: BTreeMap<&str, Value> = self
            .columns
            .iter()
            .filter(|(at, _)| !row.cell(*at).is_empty())
            .map(|(at, name)| (name.as_str(), value(row.cell(*at))))
            .collect();
        if row.name != member {
            fields.insert(NAME, Value::String(row.name.clone()));
        }
        if fields.is_empty() {
            return None;
        }
        serde_json::to_vec(&fields).ok()
    }
}

/// A number where it would be read back as the same text.
fn value(cell: &str) -> Value {
    match serde_json::from_str(cell) {
        Ok(Value::Number(number)) if number.to_string() == cell => Value::Number(number),
        _ => Value::String(cell.to_owned()),
    }
}
