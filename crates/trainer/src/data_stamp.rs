//! What the images of a run are recognised by when it goes on.

use std::fmt::Write as _;

use fcmae_data::Dataset;
use fcmae_random::hash64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What the images of a run are recognised by: hashes of all that can be known of them without reading one.
///
/// Where the images lie is no part of it: a folder that was moved, and shards packed from it, are the same images.
/// States of older versions have the first two fields only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataStamp {
    /// Training images.
    pub images: usize,
    /// Hash of their ids and names, in order.
    pub fingerprint: String,
    /// Held-out images.
    #[serde(default)]
    pub held_out_images: usize,
    /// Hash of the held-out images' ids and names.
    #[serde(default)]
    pub held_out: String,
    /// Hash of the labels of both, and of the names of the classes.
    #[serde(default)]
    pub labels: String,
    /// Hash of how many bytes each image of both has.
    #[serde(default)]
    pub bytes: String,
}

impl DataStamp {
    /// Lists of files have no lengths: this asks the file system for each, on all cores.
    pub(crate) fn of(train: &Dataset, held_out: Option<&Dataset>) -> DataStamp {
        let parts = || std::iter::once(train).chain(held_out);
        let mut labels = train.class_names().join("\n");
        let mut bytes = Vec::new();
        for part in parts() {
            for sample in part.samples() {
                let _ = write!(labels, "\n{:?}", sample.label); // writing to a string cannot fail
                for share in sample.row.iter().flat_map(|row| row.iter()) {
                    let _ = write!(labels, " {:08x}", share.to_bits());
                }
            }
            let lengths = part.samples().par_iter().map(|sample| sample.location.stamp().0);
            bytes.extend(
                lengths
                    .collect::<Vec<u64>>()
                    .into_iter()
                    .flat_map(u64::to_le_bytes),
            );
        }
        DataStamp {
            images: train.len(),
            fingerprint: names(train),
            held_out_images: held_out.map_or(0, Dataset::len),
            held_out: held_out.map_or_else(|| hash(b""), names),
            labels: hash(labels.as_bytes()),
            bytes: hash(&bytes),
        }
    }

    /// What makes `now` other images than these, an entry for each thing; what an older version has not noted is the
    /// same.
    pub(crate) fn differences(&self, now: &DataStamp) -> Vec<String> {
        let mut differences = Vec::new();
        let mut compare =
            |what: &str, (before, hash_before): (usize, &str), (now, hash_now): (usize, &str)| {
                if (before, hash_before) != (now, hash_now) && !hash_before.is_empty() {
                    differences.push(format!(
                        "the {what} images: were {before} ({hash_before}), are {now} ({hash_now})"
                    ));
                }
            };
        compare(
            "training",
            (self.images, &self.fingerprint),
            (now.images, &now.fingerprint),
        );
        compare(
            "held-out",
            (self.held_out_images, &self.held_out),
            (now.held_out_images, &now.held_out),
        );
        if differences.is_empty() && self.labels != now.labels && !self.labels.is_empty() {
            differences.push(format!(
                "the labels of the images: were {}, are {}",
                self.labels, now.labels
            ));
        }
        differences
    }

    /// Whether the files are known to have the lengths they had.
    pub(crate) fn has_bytes_of(&self, now: &DataStamp) -> bool {
        self.bytes == now.bytes
    }

    /// A warning, where files have other lengths than they had. It is none of the
    /// [`differences`](DataStamp::differences), as an image that ended a run may be repaired for it to go on.
    pub(crate) fn warning(&self, now: &DataStamp) -> Option<String> {
        let is_other = !self.bytes.is_empty() && self.bytes != now.bytes;
        is_other.then(|| {
            "some of the images are other files than when the run began (their lengths differ): it goes on with what \
             is there now"
                .to_owned()
        })
    }
}

fn names(dataset: &Dataset) -> String {
    let mut names = String::new();
    for sample in dataset.samples() {
        let _ = writeln!(names, "{}\t{}", sample.id, sample.name);
    }
    hash(names.as_bytes())
}

fn hash(bytes: &[u8]) -> String {
    format!("{:016x}", hash64(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use fcmae_data::{DataConfig, LabelConfig};

    use super::*;

    /// Two classes in a manifest, and images that are never decoded.
    fn stamp(folder: &Path, rows: &str, images: [&str; 3]) -> DataStamp {
        for (name, content) in ["a.png", "b.png", "c.png"].iter().zip(images) {
            fs::write(folder.join(name), content).unwrap();
        }
        let manifest = folder.join("list.csv");
        fs::write(&manifest, format!("path,label\n{rows}")).unwrap();
        let data = DataConfig {
            path: Some(manifest),
            ..DataConfig::default()
        };
        let all = Dataset::open_labelled(&data, &LabelConfig::default()).unwrap();
        let (train, held_out) = all.split_validation(0.4, 0).unwrap();
        DataStamp::of(&train, Some(&held_out))
    }

    const ROWS: &str = "a.png,0\nb.png,1\nc.png,1\n";
    const IMAGES: [&str; 3] = ["1", "22", "333"];

    #[test]
    fn the_same_images_elsewhere_are_the_same() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stamp_here = stamp(here.path(), ROWS, IMAGES);
        assert_eq!(stamp_here, stamp(there.path(), ROWS, IMAGES));
        assert_eq!((stamp_here.images, stamp_here.held_out_images), (2, 1));
    }

    #[test]
    fn what_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let before = stamp(folder.path(), ROWS, IMAGES);

        let relabelled = stamp(folder.path(), "a.png,1\nb.png,0\nc.png,1\n", IMAGES);
        assert!(!before.differences(&relabelled).is_empty());

        let exchanged = stamp(folder.path(), ROWS, ["1", "22", "4444"]);
        assert!(before.differences(&exchanged).is_empty());
        assert!(before.warning(&exchanged).is_some() && !before.has_bytes_of(&exchanged));

        let other = DataStamp {
            labels: "other".into(),
            ..before.clone()
        };
        assert!(before.differences(&other)[0].starts_with("the labels of the images: were "));
        let other = DataStamp {
            held_out_images: 2,
            ..before.clone()
        };
        assert!(before.differences(&other)[0].starts_with("the held-out images: were 1 ("));
    }

    #[test]
    fn a_stamp_of_an_older_version_says_less() {
        let folder = tempfile::tempdir().unwrap();
        let now = stamp(folder.path(), ROWS, IMAGES);
        let text = format!(r#"{{"images": 2, "fingerprint": "{}"}}"#, now.fingerprint);
        let older: DataStamp = serde_json::from_str(&text).unwrap();
        assert!(older.differences(&now).is_empty());
        assert_eq!(older.warning(&now), None);
        assert!(!older.has_bytes_of(&now));
    }
}
