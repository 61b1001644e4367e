//! A list of images that can be loaded: what a source yields, plus how to decode it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fcmae_random::{Purpose, Stream, hash64};

use crate::cache::ImageCache;
use crate::config::{Cache, DataConfig, ensure};
use crate::decode::{DecodeOptions, decode_with};
use crate::error::DataError;
use crate::image::{Color, Image};
use crate::labels::{LabelConfig, LabelKind};
use crate::source::{self, Listing, cache_home};
use crate::storage::Location;

/// One image of a [`Dataset`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Where its bytes are.
    pub location: Location,
    /// Path relative to the source, with `/`: the same on every machine.
    pub name: String,
    /// Index into [`Dataset::class_names`], where the source knows it; with soft targets the most likely
    /// class (of two, the second from 0.5 on), with multi-label targets nothing.
    pub label: Option<u32>,
    /// Soft or multi-label targets, one number for each class (`[labels]`).
    pub row: Option<Arc<[f32]>>,
    /// Position in the source's sorted list. A part of a data set keeps the ids of the whole, and all
    /// randomness is keyed by them.
    pub id: u64,
}

/// A list of images in a fixed order, and how to decode them.
///
/// Image folders are sorted by path; manifests keep the order of their rows, shards that of their members. Cheap
/// to share behind an [`Arc`]; parts made by [`split_validation`](Dataset::split_validation) share one cache of decoded images.
#[derive(Debug, Clone)]
pub struct Dataset {
    origin: PathBuf,
    split: Option<String>,
    samples: Vec<Sample>,
    class_names: Vec<String>,
    label_kind: Option<LabelKind>,
    decode: DecodeOptions,
    cache: Option<Arc<ImageCache>>,
}

impl Dataset {
    /// Lists the source that `config` names; nothing is decoded yet.
    ///
    /// # Errors
    /// A value out of range, a missing, empty or unreadable source: each names the key or file.
    pub fn open(config: &DataConfig) -> Result<Dataset, DataError> {
        Dataset::open_with(config, None)
    }

    /// Lists the images at `path`, of a folder all of them, whatever parts it has; the rest as `config` says.
    ///
    /// # Errors
    /// As for [`open`](Dataset::open).
    pub fn open_all(path: &Path, config: &DataConfig) -> Result<Dataset, DataError> {
        let split = if path.is_dir() { "" } else { &config.split };
        Dataset::open(&DataConfig {
            path: Some(path.to_owned()),
            split: split.to_owned(),
            ..config.clone()
        })
    }

    /// Lists the source that `config` names for learning from labels: every image has a label as `labels`
    /// says. Nothing is decoded yet, and `labels.fraction` is left to
    /// [`label_subset`](Dataset::label_subset).
    ///
    /// A second split must have the classes of the first in their order, which its own labels need not
    /// give: open it with `classes` set to the first's [`class_names`](Dataset::class_names).
    ///
    /// # Errors
    /// As for [`open`](Dataset::open), and a missing column, an image without a label, a class folder
    /// without images, an unknown class, a number that is no probability: each names the file and the line
    /// or folder.
    pub fn open_labelled(config: &DataConfig, labels: &LabelConfig) -> Result<Dataset, DataError> {
        labels.validate()?;
        Dataset::open_with(config, Some(labels))
    }

    fn open_with(config: &DataConfig, labels: Option<&LabelConfig>) -> Result<Dataset, DataError> {
        config.validate()?;
        match (&config.path, &config.dataset) {
            (Some(path), _) => {
                let listing = source::open_path(path, config, labels)?;
                Dataset::from_listing(path, listing, config, labels)
            }
            (None, Some(name)) => {
                let home = source::data_home()?;
                let listing = source::open_named(&home, name, &config.split, labels)?;
                Dataset::from_listing(&home.join(name), listing, config, labels)
            }
            (None, None) => Err(DataError::NoSource),
        }
    }

    fn from_listing(
        origin: &Path,
        listing: Listing,
        config: &DataConfig,
        labels: Option<&LabelConfig>,
    ) -> Result<Dataset, DataError> {
        let most = u32::MAX as usize; // the order of an epoch is a list of u32
        if listing.entries.len() > most {
            let problem = format!("{}: more than {most} images", origin.display());
            return Err(DataError::BadPath {
                path: origin.to_owned(),
                problem,
            });
        }
        let samples: Vec<Sample> = listing
            .entries
            .into_iter()
            .enumerate()
            .map(|(id, e)| Sample {
                location: e.location,
                name: e.name,
                label: e.label,
                row: e.row,
                id: id as u64,
            })
            .collect();
        let are_shards = samples.first().is_some_and(|sample| sample.location.is_member());
        let cache = open_cache(config, samples.len())?;
        Ok(Dataset {
            origin: origin.to_owned(),
            split: source::has_part(config, are_shards).then(|| config.split.clone()),
            samples,
            class_names: listing.class_names,
            label_kind: labels.map(|labels| labels.kind),
            decode: config.decode_options(),
            cache: cache.map(Arc::new),
        })
    }

    /// The folder, manifest or shards that the samples come from.
    #[must_use]
    pub fn origin(&self) -> &Path {
        &self.origin
    }

    /// The part of the source that the samples are (`data.split`); none where it has no parts.
    #[must_use]
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// Number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no samples (the held-out part of a split by fraction 0).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The samples in order.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Where the samples' bytes are, in their order.
    #[must_use]
    pub fn locations(&self) -> Vec<Location> {
        self.samples
            .iter()
            .map(|sample| sample.location.clone())
            .collect()
    }

    /// Names of the classes; empty when nothing is labelled. A part keeps the classes of the whole.
    #[must_use]
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// What the images are labelled with, if the data set was
    /// [opened for labels](Dataset::open_labelled).
    #[must_use]
    pub fn label_kind(&self) -> Option<LabelKind> {
        self.label_kind
    }

    /// What every image is brought to.
    #[must_use]
    pub fn color(&self) -> Color {
        self.decode.color
    }

    /// Reads and decodes the sample at `index`, or takes it from the cache.
    ///
    /// # Errors
    /// As for [`read_image`](crate::read_image); the error names the file.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Dataset::len).
    pub fn load(&self, index: usize) -> Result<Arc<Image>, DataError> {
        match self.cached(index) {
            Some(image) => Ok(image),
            None => self.decode(index, &self.samples[index].location.read()?),
        }
    }

    /// As [`load`](Dataset::load), for somebody who may be asked to stop while a server keeps silent:
    /// [`DataError::Stopped`].
    ///
    /// # Errors
    /// As for [`load`](Dataset::load).
    ///
    /// # Panics
    /// As [`load`](Dataset::load).
    pub fn load_unless(&self, index: usize, is_stopped: impl Fn() -> bool) -> Result<Arc<Image>, DataError> {
        match self.cached(index) {
            Some(image) => Ok(image),
            None => self.decode(index, &self.samples[index].location.read_while(is_stopped)?),
        }
    }

    /// The decoded sample, if the cache has it.
    pub(crate) fn cached(&self, index: usize) -> Option<Arc<Image>> {
        self.cache.as_ref()?.get(self.samples[index].id)
    }

    /// Bytes of memory that the cache of decoded images may still take, as far as the images in it tell.
    #[must_use]
    pub fn cache_growth(&self) -> u64 {
        self.cache.as_ref().map_or(0, |cache| cache.growth())
    }

    /// Decodes the bytes of a sample, and offers the image to the cache.
    pub(crate) fn decode(&self, index: usize, bytes: &[u8]) -> Result<Arc<Image>, DataError> {
        let sample = &self.samples[index];
        let name = sample.location.path().display().to_string();
        let image = Arc::new(decode_with(bytes, &name, &self.decode)?);
        if let Some(cache) = &self.cache {
            cache.offer(sample.id, &image);
        }
        Ok(image)
    }

    /// Splits into a training and a validation part.
    ///
    /// Within each class (and among the unlabelled) the `fraction` of samples whose names have the smallest
    /// keyed hash are held out; classes are rounded so that the total is right to one sample. The split
    /// depends on `seed`, the names and the labels alone, and few samples move when images are added.
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] when `fraction` is not in `[0, 1)`; [`DataError::TooFewSamples`] when it
    /// would hold out nothing or leave nothing.
    pub fn split_validation(&self, fraction: f64, seed: u64) -> Result<(Dataset, Dataset), DataError> {
        ensure(
            (0.0..1.0).contains(&fraction),
            "data.val_fraction",
            fraction.to_string(),
            || "must be at least 0 and below 1".to_owned(),
        )?;
        let held_out = self.choose(fraction, seed);
        let count = held_out.iter().filter(|&&held| held).count();
        if fraction > 0.0 && (count == 0 || count == self.len()) {
            return Err(DataError::TooFewSamples {
                problem: format!(
                    "`data.val_fraction` = {fraction} of the {} images at {} holds out {count} and leaves {}: \
                     both parts need at least one",
                    self.len(),
                    self.origin.display(),
                    self.len() - count
                ),
            });
        }
        Ok((
            self.part(|index| !held_out[index]),
            self.part(|index| held_out[index]),
        ))
    }

    /// At most `count` of the samples, spread evenly over the list: the same ones each time, and from every class of an
    /// image folder.
    #[must_use]
    pub fn spread(&self, count: usize) -> Dataset {
        let count = count.min(self.len());
        let mut kept = vec![false; self.len()];
        (0..count).for_each(|at| kept[at * self.len() / count] = true);
        self.part(|index| kept[index])
    }

    /// The samples at the indices that are to be kept, with the ids and classes of the whole.
    #[must_use]
    pub fn part(&self, keep: impl Fn(usize) -> bool) -> Dataset {
        let kept = self.samples.iter().enumerate().filter(|&(index, _)| keep(index));
        Dataset {
            samples: kept.map(|(_, sample)| sample.clone()).collect(),
            ..self.clone()
        }
    }

    /// For each sample, whether it is held out.
    fn choose(&self, fraction: f64, seed: u64) -> Vec<bool> {
        let mut classes: BTreeMap<Option<u32>, Vec<(u64, usize)>> = BTreeMap::new();
        for (index, sample) in self.samples.iter().enumerate() {
            let key = Stream::new(seed, Purpose::Split, 0, hash64(sample.name.as_bytes())).next_u64();
            classes.entry(sample.label).or_default().push((key, index));
        }
        let mut held_out = vec![false; self.len()];
        let (mut seen, mut taken) = (0, 0);
        for members in classes.values_mut() {
            members.sort_unstable();
            seen += members.len();
            let target = (seen as f64 * fraction).round() as usize;
            for &(_, index) in &members[..target - taken] {
                held_out[index] = true;
            }
            taken = target;
        }
        held_out
    }
}

/// A data set that is only a list: `count` samples per label.
fn open_cache(config: &DataConfig, samples: usize) -> Result<Option<ImageCache>, DataError> {
    let bytes = (config.cache_mib as u64).saturating_mul(1 << 20);
    Ok(match config.cache {
        Cache::None => None,
        Cache::Memory => Some(ImageCache::in_memory(samples, bytes)),
        Cache::Disk => {
            let folder = cache_home("decoded").ok_or(DataError::NoDataHome)?;
            let opened = ImageCache::on_disk(samples, bytes, &folder);
            Some(opened.map_err(|error| DataError::BadPath {
                problem: format!(
                    "{}: no room for decoded images ({error}); set data.cache or FCMAE_CACHE",
                    folder.display()
                ),
                path: folder,
            })?)
        }
    })
}

#[cfg(test)]
pub(crate) fn listed(counts: &[(Option<u32>, usize)]) -> Dataset {
    let labels = counts
        .iter()
        .flat_map(|&(label, n)| (0..n).map(move |i| (label, i)));
    let samples: Vec<Sample> = labels
        .enumerate()
        .map(|(id, (label, i))| Sample {
            location: PathBuf::new().into(),
            name: format!("{label:?}/{i:04}.png"),
            label,
            row: None,
            id: id as u64,
        })
        .collect();
    Dataset {
        origin: PathBuf::from("listed"),
        split: None,
        samples,
        class_names: (0..counts.iter().filter(|(label, _)| label.is_some()).count())
            .map(|c| c.to_string())
            .collect(),
        label_kind: None,
        decode: DecodeOptions::default(),
        cache: None,
    }
}

#[cfg(test)]
impl Dataset {
    /// Puts every sample there.
    pub(crate) fn set_location(&mut self, location: &Location) {
        for sample in &mut self.samples {
            sample.location = location.clone();
        }
    }

    /// Gives each sample its soft targets.
    pub(crate) fn set_rows(&mut self, rows: &[&[f32]]) {
        for (sample, &row) in self.samples.iter_mut().zip(rows) {
            sample.row = Some(row.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn ids(dataset: &Dataset) -> Vec<u64> {
        dataset.samples.iter().map(|s| s.id).collect()
    }

    #[test]
    fn splits_are_stratified_and_deterministic() {
        let dataset = listed(&[(None, 40), (Some(0), 100), (Some(1), 7)]);
        let (train, val) = dataset.split_validation(0.25, 3).unwrap();
        let count = |part: &Dataset, label| part.samples.iter().filter(|s| s.label == label).count();
        assert_eq!(count(&val, None), 10);
        assert_eq!(count(&val, Some(0)), 25);
        assert_eq!(count(&val, Some(1)), 2);
        assert_eq!(train.len() + val.len(), 147);
        let again = dataset.split_validation(0.25, 3).unwrap();
        assert_eq!(ids(&again.1), ids(&val));
        assert_ne!(ids(&dataset.split_validation(0.25, 4).unwrap().1), ids(&val));
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let dataset = listed(&[(Some(0), 50), (Some(1), 50)]);
        let mut turned = dataset.clone();
        turned.samples.reverse();
        let names = |d: &Dataset| -> HashSet<String> {
            d.split_validation(0.2, 1)
                .unwrap()
                .1
                .samples
                .iter()
                .map(|s| s.name.clone())
                .collect()
        };
        assert_eq!(names(&dataset), names(&turned));
    }

    #[test]
    fn a_few_samples_are_spread_over_the_list() {
        let dataset = listed(&[(Some(0), 6), (Some(1), 4)]);
        let spread = |count| ids(&dataset.spread(count));
        assert_eq!(spread(4), [0, 2, 5, 7]);
        assert_eq!(spread(1), [0]);
        assert_eq!((spread(10), spread(0)), (ids(&dataset), vec![]));
        assert_eq!(spread(99), ids(&dataset));
        assert!(listed(&[]).spread(3).is_empty());
    }

    #[test]
    fn impossible_fractions_are_refused() {
        let dataset = listed(&[(None, 3)]);
        for fraction in [-0.1, 1.0, f64::NAN] {
            let message = dataset.split_validation(fraction, 0).unwrap_err().to_string();
            assert!(message.contains("data.val_fraction"), "{message}");
        }
        let message = dataset.split_validation(0.1, 0).unwrap_err().to_string();
        assert!(message.contains("holds out 0 and leaves 3"), "{message}");
        let message = dataset.split_validation(0.9, 0).unwrap_err().to_string();
        assert!(message.contains("holds out 3 and leaves 0"), "{message}");
        assert!(dataset.split_validation(0.0, 0).unwrap().1.is_empty());
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_ordered_and_complete(
            a in 0usize..40, b in 0usize..40, c in 1usize..40, fraction in 0.0f64..1.0, seed in any::<u64>(),
        ) {
            let dataset = listed(&[(None, a), (Some(0), b), (Some(1), c)]);
            let held_out = dataset.choose(fraction, seed);
            let total = held_out.iter().filter(|&&h| h).count();
            prop_assert_eq!(total, ((a + b + c) as f64 * fraction).round() as usize);
            if let Ok((train, val)) = dataset.split_validation(fraction, seed) {
                let mut all = [ids(&train), ids(&val)].concat();
                prop_assert!(ids(&train).is_sorted() && ids(&val).is_sorted());
                all.sort_unstable();
                prop_assert_eq!(all, ids(&dataset));
            }
        }
    }
}
