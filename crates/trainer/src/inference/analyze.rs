//! What the features inside the encoder are like.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fcmae_analysis::{FeatureReport, FeatureStatistics, PixelStatistics, channel_maps, maps_picture};
use fcmae_data::{Dataset, LabelKind, Location};
use image::RgbImage;

use super::evaluate::check_split;
use super::network::Inference;
use super::stream::Unreadable;
use crate::error::InputError;

/// Which images are looked at, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisOptions {
    /// The part of the data set; `None`: the config's `test_split`, or all images where there are no parts.
    pub split: Option<String>,
    /// At most this many of its images, spread evenly over the list. Paper: 1,000.
    pub limit: usize,
    /// Whether class selectivity is measured; the images need one label each.
    pub selectivity: bool,
    /// The picture whose activation maps are drawn; `None`: the first of the images.
    pub picture: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// Where the images came from.
    pub data: PathBuf,
    /// The part of them; none where there are no parts.
    pub split: Option<String>,
    /// The measures, place by place.
    pub report: FeatureReport,
    /// What single channels answer to one picture.
    pub maps: RgbImage,
    /// That picture.
    pub picture: PathBuf,
    /// Pictures that could not be read; they are not measured.
    pub unreadable: Vec<Unreadable>,
}

impl Inference {
    /// Measures the features inside the encoder on images that pass by, and draws activation maps of one of them. The
    /// network is dense (nothing is hidden) and computes in f32, so that the numbers of two networks compare.
    ///
    /// # Errors
    /// Images without the labels that are asked for; no picture that can be read; features that are not finite.
    pub fn analyze(&self, options: &AnalysisOptions) -> Result<Analysis> {
        let dataset = self.analyzed(options)?;
        let files = dataset.locations().into_iter().map(Ok);
        let mut statistics = if options.selectivity {
            FeatureStatistics::with_classes(dataset.class_names().len())
        } else {
            FeatureStatistics::new()
        };
        let (mut samples, mut picture, mut unreadable) = (dataset.samples().iter(), None, Vec::new());
        for batch in self.decoder().batches(files)? {
            let batch = batch?;
            let mut labels = Vec::new();
            for ((file, result), sample) in batch.files.iter().zip(&mut samples) {
                match result {
                    Ok(()) => {
                        picture.get_or_insert_with(|| file.clone());
                        labels.extend(sample.label);
                    }
                    Err(error) => unreadable.push(Unreadable::new(file, error)),
                }
            }
            if !batch.images.is_empty() {
                let images = self.exact(&batch)?;
                statistics
                    .add(self.encoder(), &images, &labels)
                    .map_err(InputError::section)?;
            }
        }
        if let (None, Some(first)) = (&picture, unreadable.first()) {
            let message = format!(
                "none of the {} pictures can be read: {}",
                unreadable.len(),
                first.problem
            );
            return Err(InputError::Argument { message }.into());
        }
        let report = statistics.report().map_err(InputError::section)?;
        let picture = options
            .picture
            .clone()
            .map(Location::from)
            .or(picture)
            .context("a report without a picture")?;
        Ok(Analysis {
            data: dataset.origin().to_owned(),
            split: dataset.split().map(str::to_owned),
            report,
            picture: picture.path().to_owned(),
            maps: self.activation_maps(picture)?,
            unreadable,
        })
    }

    /// The images that are measured, each with its label where selectivity is asked for.
    fn analyzed(&self, options: &AnalysisOptions) -> Result<Dataset> {
        let split = options.split.as_deref();
        let data = self.measured(split);
        if !options.selectivity {
            let dataset = Dataset::open(&data)?;
            check_split(split, &dataset)?;
            return Ok(dataset.spread(options.limit));
        }
        if self.config.labels.kind == LabelKind::MultiLabel {
            let message =
                "\"multi_label\": class selectivity needs one label per image; use \"class\" or \"soft\"";
            return Err(InputError::config("labels.kind", message).into());
        }
        let dataset = Dataset::open_labelled(&data, &self.config.labels)?;
        check_split(split, &dataset)?;
        let dataset = dataset.spread(options.limit);
        let classes = dataset
            .class_counts()
            .iter()
            .filter(|&&count| count > 0.0)
            .count();
        if classes < 2 {
            let message = format!(
                "class selectivity compares classes, and the {} images of {} that are looked at have {classes}; give a \
                 data set with more, or a larger limit",
                dataset.len(),
                dataset.origin().display()
            );
            return Err(InputError::Argument { message }.into());
        }
        Ok(dataset)
    }

    /// What single channels answer to one picture.
    fn activation_maps(&self, picture: Location) -> Result<RgbImage> {
        let mut batches = self.decoder().batches(std::iter::once(Ok(picture)))?;
        let mut batch = batches.next().context("a picture that was not decoded")??;
        for (_, result) in batch.files.drain(..) {
            result?;
        }
        let image = self.exact(&batch)?;
        let layers = channel_maps(self.encoder(), &image).map_err(InputError::section)?;
        Ok(maps_picture(
            &image,
            &PixelStatistics::of(&self.config.data.mean, &self.config.data.std),
            &layers,
        ))
    }
}
