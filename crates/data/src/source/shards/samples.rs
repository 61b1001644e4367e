//! Members of an archive brought together by their key: an image, and what says its label.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scan::{Member, Reader, scan};
use crate::error::DataError;
use crate::source::folder::IMAGE_EXTENSIONS;
use crate::storage::{Halt, LONGEST_IMAGE, Shard};

/// A larger `.cls` holds no class.
const LONGEST_CLASS: u64 = 1 << 10;

/// A larger `.json` is refused.
const LONGEST_JSON: u64 = 1 << 20;

/// More fields than this are no labels.
pub(super) const MOST_FIELDS: usize = 1000;

/// Longer texts of a `.json` are captions, not labels, and are passed over.
const LONGEST_TEXT: usize = 64;

/// A class is as long as the name of a folder can be.
const LONGEST_LABEL: usize = 255;

/// A longer name is no path.
pub(super) const LONGEST_NAME: usize = 4096;

/// The column of what a `.cls` says.
pub(super) const CLASS: &str = "cls";

/// The column that classes are read from where `labels.columns` names no other.
pub(super) const LABEL: &str = "label";

/// The field of a `.json` with the name that the image has where it comes from. It names the sample and leads nowhere.
pub(crate) const NAME: &str = "__name__";

/// An image of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Name of the image's member.
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// What `.cls` ([`CLASS`]) and the scalars of `.json` say, as text.
    pub(super) cells: BTreeMap<String, String>,
}

/// What is known of one key.
#[derive(Default)]
struct Parts {
    image: Option<Member>,
    class: Option<String>,
    json: Option<BTreeMap<String, String>>,
}

/// The images of an archive, in the order in which their keys first occur.
pub(super) fn samples(shard: &Shard, halt: &Halt) -> Result<Vec<Sample>, DataError> {
    let error = |problem: String| DataError::Shard {
        shard: shard.name().to_owned(),
        problem,
    };
    let mut all: Vec<(String, Parts)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    scan(&mut Reader::new(shard, halt), |reader, member| {
        let Some((key, part)) = split(&member.name) else {
            return Ok(());
        };
        let at = *places.entry(key.to_owned()).or_insert_with(|| {
            all.push((key.to_owned(), Parts::default()));
            all.len() - 1
        });
        let added = all[at].1.add(part, &member, reader)?;
        added.map_err(|problem| error(format!("member `{}`: {problem}", member.name)))
    })?;
    let mut samples = Vec::with_capacity(all.len());
    for (key, parts) in all {
        match parts {
            Parts {
                image: Some(image),
                class,
                json,
            } => samples.push(sample(image, class, json)),
            Parts { class: Some(_), .. } => {
                let problem = format!(
                    "member `{key}.{CLASS}`: there is no image `{key}.jpg` (or .png, .webp, …) to it"
                );
                return Err(error(problem));
            }
            _ => {} // a `.json` of something else
        }
    }
    if samples.is_empty() {
        let problem = "no images: members are called `key.jpg` (or .png, .webp, …) and `key.cls` or `key.json`, and a \
                       key ends at the first dot";
        return Err(error(problem.to_owned()));
    }
    Ok(samples)
}

fn sample(image: Member, class: Option<String>, json: Option<BTreeMap<String, String>>) -> Sample {
    let mut cells = json.unwrap_or_default();
    cells.extend(class.map(|class| (CLASS.to_owned(), class)));
    Sample {
        name: image.name,
        offset: image.offset,
        len: image.len,
        cells,
    }
}

/// What a member is to its sample.
#[derive(Clone, Copy)]
enum Part {
    Image,
    Class,
    Json,
}

/// The key of a member and what it is; `None` of what is neither image nor label.
fn split(name: &str) -> Option<(&str, Part)> {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    if name[base..].starts_with('.') {
        return None; // hidden, such as the `._name.jpg` that macOS adds
    }
    let dot = base + name[base..].find('.')?;
    let extension = name[dot + 1..].to_ascii_lowercase();
    let part = match extension.as_str() {
        CLASS => Part::Class,
        "json" => Part::Json,
        other if IMAGE_EXTENSIONS.contains(&other) => Part::Image,
        _ => return None,
    };
    Some((&name[..dot], part))
}

impl Parts {
    /// Takes the member up; the inner error is what is wrong with it.
    fn add(
        &mut self,
        part: Part,
        member: &Member,
        reader: &mut Reader,
    ) -> Result<Result<(), String>, DataError> {
        let limit = match part {
            Part::Image => LONGEST_IMAGE,
            Part::Class => LONGEST_CLASS,
            Part::Json => LONGEST_JSON,
        };
        if member.len > limit {
            return Ok(Err(format!("has {} bytes; at most {limit} are read", member.len)));
        }
        if let (Part::Image, Some(other)) = (part, &self.image) {
            return Ok(Err(format!("its key already has the image `{}`", other.name)));
        }
        if matches!(part, Part::Image) {
            self.image = Some(member.clone());
            return Ok(Ok(()));
        }
        let bytes = reader.read(member.offset, member.len)?;
        Ok(match part {
            Part::Json => json(bytes).and_then(|cells| once(&mut self.json, cells)),
            _ => class(bytes).and_then(|class| once(&mut self.class, class)),
        })
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    if place.is_some() {
        return Err("occurs twice".to_owned());
    }
    *place = Some(value);
    Ok(())
}

fn class(bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "is not UTF-8".to_owned())?
        .trim();
    if text.contains(char::is_control) {
        return Err("is more than one line".to_owned());
    }
    Ok(text.to_owned())
}

/// The scalars of an object, as text.
fn json(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| format!("is no JSON object: {error}"))?;
    if object.len() > MOST_FIELDS {
        return Err(format!(
            "has {} fields; at most {MOST_FIELDS} are read",
            object.len()
        ));
    }
    let longest = |key: &str| match key {
        NAME => LONGEST_NAME,
        LABEL => LONGEST_LABEL,
        _ => LONGEST_TEXT,
    };
    let scalar = |key: &str, value: Value| match value {
        Value::String(text) if text.len() > longest(key) => None,
        Value::String(text) if key == NAME => Some(text).filter(|text| !text.is_empty()),
        _ if key == NAME => None,
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(u8::from(flag).to_string()), // a label that is there or not
        _ => None,
    };
    let cells = object.into_iter();
    Ok(cells
        .filter_map(|(key, value)| scalar(&key, value).map(|text| (key, text)))
        .collect())
}
