//! Tar shards in the layout of webdataset: `key.jpg` with `key.cls` or `key.json`, read in place.
//!
//! The first use of a shard reads its headers and leaves an index in the cache; from then on order, random access and
//! the exact middle of an epoch cost what they cost with a folder.

mod braces;
mod index;
mod names;
mod progress;
mod samples;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::manifest::MOST_CLASSES;
use super::table::{Row, Table};
use crate::config::DataConfig;
use crate::error::DataError;
use crate::storage::{Client, Halt, Location, Shard};
use crate::threads::workers;

use index::Cache;
use progress::Progress;
use samples::{CLASS, LABEL, MOST_FIELDS, Sample};

pub(crate) use index::{BESIDE, SEAL, blank_seal, lay_beside};
pub use progress::tell_of_listing;
pub(crate) use samples::NAME;

/// Shards that are asked for at the same time: servers answer slowly, but many at once.
const AT_ONCE: usize = 16;

/// Smaller files are scanned as fast as their index would be read.
const WORTH_AN_INDEX: u64 = 16 << 20;

/// The images of the shards that `path` names, or `None` where `path` means something else.
///
/// Columns are the fields of the `.json` members, `cls`, and `label`, which is `cls` where no `.json` has it. Where
/// both say the same of every image, classes are numbered by `cls` and named by `label`.
pub(super) fn read(path: &Path, config: &DataConfig) -> Result<Option<Table>, DataError> {
    let Some(names) = names::find(path, &config.split)? else {
        return Ok(None);
    };
    let cache = super::named::cache_home("shards").map(|folder| Cache {
        folder,
        from_bytes: WORTH_AN_INDEX,
    });
    open(path, &names, &Client::new(config.retry()), cache.as_ref()).map(Some)
}

/// Whether the shards that `path` names are those of `split` alone.
pub(super) fn are_part(path: &Path, split: &str) -> bool {
    let named = |split| names::find(path, split).ok().flatten();
    !split.is_empty() && named(split).is_some_and(|shards| Some(shards) != named("\u{1}")) // which nobody calls a split
}

fn open(path: &Path, names: &[String], client: &Client, cache: Option<&Cache>) -> Result<Table, DataError> {
    let (halt, progress) = (Halt::default(), Progress::new(names.len()));
    let list = |name: &String| -> Result<Listed, DataError> {
        let shard = Arc::new(Shard::open(name, client, &halt)?);
        let samples = index::indexed(&shard, cache, &halt)?;
        progress.add();
        Ok((shard, samples))
    };
    // A server that stays away for one shard does so for all: nobody else begins to wait for it.
    let one = |name: &String| {
        list(name).inspect_err(|error| {
            if matches!(error, DataError::Fetch { .. }) {
                halt.raise();
            }
        })
    };
    // All of them, so that the error is that of the first in order, whichever was met first.
    let mut shards: Vec<_> = match names {
        [only] => vec![one(only)],
        _ => {
            let workers = workers(AT_ONCE.min(names.len()))?;
            workers.install(|| names.par_iter().with_max_len(1).map(one).collect())
        }
    };
    if halt.is_raised() {
        shards.retain(|shard| !matches!(shard, Err(DataError::Stopped)));
    }
    table(path, shards.into_iter().collect::<Result<_, _>>()?)
}

/// A shard and its images.
type Listed = (Arc<Shard>, Vec<Sample>);

fn table(path: &Path, shards: Vec<Listed>) -> Result<Table, DataError> {
    let fields = shards
        .iter()
        .flat_map(|(_, samples)| samples)
        .flat_map(|sample| sample.cells.keys())
        .filter(|&field| field != NAME);
    let mut header: BTreeSet<String> = BTreeSet::new();
    for field in fields {
        if !header.contains(field) {
            header.insert(field.clone());
        }
        if header.len() > MOST_FIELDS {
            return Err(DataError::BadPath {
                path: path.to_owned(),
                problem: format!("its .json members have more than {MOST_FIELDS} different fields"),
            });
        }
    }
    let class_is_label = header.contains(CLASS) && !header.contains(LABEL);
    if class_is_label {
        header.insert(LABEL.to_owned());
    }
    let header: Vec<String> = header.into_iter().collect();
    let classes = classes(shards.iter().flat_map(|(_, samples)| samples));
    let mut rows = Vec::new();
    for (shard, samples) in shards {
        rows.extend(samples.into_iter().map(|mut sample| {
            let cell = |column: &String| {
                let field = if class_is_label && column == LABEL {
                    CLASS
                } else {
                    column
                };
                sample.cells.get(field).map_or("", String::as_str)
            };
            Row {
                line: None,
                location: Location::member(&shard, &sample.name, sample.offset, sample.len),
                cells: header.iter().map(cell).collect(),
                name: sample.cells.remove(NAME).unwrap_or(sample.name),
            }
        }));
    }
    Ok(Table {
        source: PathBuf::from(path),
        header,
        rows,
        classes,
    })
}

/// Names of the classes in the order of `cls`, where each labelled image has it and `label`, and both tell the same
/// classes apart. A class of which there is no image is called by its number.
fn classes<'a>(samples: impl Iterator<Item = &'a Sample>) -> Option<Vec<String>> {
    let mut names: BTreeMap<u32, &str> = BTreeMap::new();
    for sample in samples {
        match [CLASS, LABEL].map(|field| sample.cells.get(field)) {
            [None, None] => {}
            [Some(class), Some(label)] if !label.is_empty() => {
                let class = class.parse().ok().filter(|&class| class < MOST_CLASSES)?;
                if names.entry(class).or_insert(label) != label {
                    return None;
                }
            }
            _ => return None,
        }
    }
    let known: HashSet<&str> = names.values().copied().collect();
    let (&last, _) = names.last_key_value().filter(|_| known.len() == names.len())?;
    let name = |class| match names.get(&class) {
        Some(&name) => name.to_owned(),
        None if known.contains(class.to_string().as_str()) => format!("#{class}"),
        None => class.to_string(),
    };
    Some((0..=last).map(name).collect())
}
