//! All measures of all places of an encoder, over as many images as there are.

use fcmae_encoder::{Place, Site, SparseEncoder};
use fcmae_masking::MaskError;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::channels::ChannelSums;
use super::cosine::{channel_cosine_distance, channel_rms_cosine};
use super::rank::EffectiveRank;
use super::selectivity::ClassResponses;
use super::sites;

/// Measures of the features at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerMeasures {
    /// Stage, from 0.
    pub stage: usize,
    /// Block of the stage, from 0.
    pub block: usize,
    /// Where in the block.
    pub site: Site,
    /// Number of channels.
    pub channels: usize,
    /// Mean over the images of [`channel_cosine_distance`]: 0 = collapsed, ½ = nothing in common.
    pub cosine_distance: f64,
    /// Mean over the images of [`channel_rms_cosine`]: 1 = the channels say the same up to their signs.
    pub rms_cosine: f64,
    /// Share of [dead](ChannelSums::DEAD) channels.
    pub dead: f64,
    /// Share of [saturated](ChannelSums::SATURATED) channels.
    pub saturated: f64,
    /// [`EffectiveRank`] of the images' mean features; of block outputs, which are what a block represents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_rank: Option<f64>,
    /// The largest effective rank that there could be: the smaller of images and channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_rank: Option<u64>,
    /// [Class selectivity](ClassResponses::index) of each channel, where there were labels; of block outputs, as in
    /// the paper. A channel's response is the mean magnitude over the sites, which is the mean where features are not
    /// negative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selectivity: Option<Vec<f64>>,
}

impl LayerMeasures {
    /// Where they were taken.
    #[must_use]
    pub fn place(&self) -> Place {
        Place {
            stage: self.stage,
            block: self.block,
            site: self.site,
        }
    }

    /// Mean class selectivity of the channels.
    #[must_use]
    pub fn mean_selectivity(&self) -> Option<f64> {
        let index = self.selectivity.as_ref()?;
        Some(index.iter().sum::<f64>() / index.len() as f64)
    }

    /// Effective rank as a share of the largest that there could be.
    #[must_use]
    pub fn rank_share(&self) -> Option<f64> {
        Some(self.effective_rank? / self.largest_rank? as f64)
    }
}

/// Measures of the features of an encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureReport {
    /// Images measured.
    pub images: usize,
    /// In the order of the forward pass: each block's sites, block after block.
    pub layers: Vec<LayerMeasures>,
}

impl FeatureReport {
    /// The measures at one site of every block, in the order of the blocks.
    pub fn at(&self, site: Site) -> impl Iterator<Item = &LayerMeasures> {
        self.layers.iter().filter(move |layer| layer.site == site)
    }

    /// The hidden layer of every block as its second linear map takes it: after GRN, in V1 after GELU. This is where
    /// the paper saw features collapse.
    #[must_use]
    pub fn hidden(&self) -> Vec<&LayerMeasures> {
        let has_grn = self.at(Site::AfterGrn).next().is_some();
        self.at(if has_grn { Site::AfterGrn } else { Site::AfterGelu })
            .collect()
    }

    /// Mean over the blocks of the cosine distance in the [hidden layer](FeatureReport::hidden).
    #[must_use]
    pub fn hidden_distance(&self) -> f64 {
        self.hidden_mean(|layer| layer.cosine_distance)
    }

    /// The same of the root mean square of the cosines.
    #[must_use]
    pub fn hidden_rms_cosine(&self) -> f64 {
        self.hidden_mean(|layer| layer.rms_cosine)
    }

    fn hidden_mean(&self, of: impl Fn(&LayerMeasures) -> f64) -> f64 {
        let hidden = self.hidden();
        hidden.iter().map(|layer| of(layer)).sum::<f64>() / hidden.len() as f64
    }
}

/// Features that cannot be measured.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FeatureError {
    /// Images that do not fit the encoder.
    #[error(transparent)]
    Images(#[from] MaskError),
    /// No image was added.
    #[error("there are no images to measure features of")]
    Empty,
    /// NaN or infinite features.
    #[error("{layer}: the features are not finite; the weights or their precision are at fault")]
    NotFinite {
        /// The first place where they are not.
        layer: String,
    },
}

/// Measures features while images pass by; memory does not grow with their number.
#[derive(Debug, Default)]
pub struct FeatureStatistics {
    images: usize,
    classes: Option<usize>,
    layers: Vec<(Place, Layer)>,
}

impl FeatureStatistics {
    /// Without labels.
    #[must_use]
    pub fn new() -> FeatureStatistics {
        FeatureStatistics::default()
    }

    /// With a label for each image, of so many classes.
    #[must_use]
    pub fn with_classes(classes: usize) -> FeatureStatistics {
        FeatureStatistics {
            classes: Some(classes),
            ..FeatureStatistics::default()
        }
    }

    /// Passes `images [N, C, H, W]`, normalised, through the dense network and adds what is seen. `labels`: one per
    /// image, where there are classes; else it is not looked at. The kind of `images` decides the precision.
    ///
    /// # Errors
    /// Images without pixels.
    ///
    /// # Panics
    /// When there are classes and not as many labels as images.
    pub fn add(
        &mut self,
        encoder: &SparseEncoder,
        images: &Tensor,
        labels: &[u32],
    ) -> Result<(), FeatureError> {
        let _no_graph = tch::no_grad_guard();
        let classes = self.classes;
        let (is_first, mut at) = (self.layers.is_empty(), 0);
        encoder.forward_observed(images, &mut |place, maps| {
            if is_first {
                self.layers
                    .push((place, Layer::new(place.site, maps.size()[3], classes)));
            }
            self.layers[at].1.add(maps, labels);
            at += 1;
        })?;
        self.images += images.size()[0] as usize;
        Ok(())
    }

    /// The measures so far.
    ///
    /// # Errors
    /// No images; features that are not finite.
    pub fn report(&self) -> Result<FeatureReport, FeatureError> {
        if self.images == 0 {
            return Err(FeatureError::Empty);
        }
        let layer = |(place, layer): &(Place, Layer)| layer.measures(*place, self.images);
        Ok(FeatureReport {
            images: self.images,
            layers: self.layers.iter().map(layer).collect::<Result<_, _>>()?,
        })
    }
}

/// What is kept of one place.
#[derive(Debug)]
struct Layer {
    width: i64,
    distances: f64,
    cosines: f64,
    channels: ChannelSums,
    rank: Option<EffectiveRank>,
    responses: Option<ClassResponses>,
}

impl Layer {
    fn new(site: Site, width: i64, classes: Option<usize>) -> Layer {
        let is_output = site == Site::Output;
        Layer {
            width,
            distances: 0.0,
            cosines: 0.0,
            channels: ChannelSums::new(width),
            rank: is_output.then(|| EffectiveRank::new(width)),
            responses: classes
                .filter(|_| is_output)
                .map(|classes| ClassResponses::new(classes, width)),
        }
    }

    fn add(&mut self, maps: &Tensor, labels: &[u32]) {
        let total = |of_images: Tensor| of_images.sum(Kind::Double).double_value(&[]);
        self.distances += total(channel_cosine_distance(maps));
        self.cosines += total(channel_rms_cosine(maps));
        self.channels.add(maps);
        let mean = |x: &Tensor| x.mean_dim([1i64].as_slice(), false, None::<Kind>); // [N, C]
        if let Some(rank) = &mut self.rank {
            rank.add(&mean(&sites(maps)));
        }
        if let Some(responses) = &mut self.responses {
            responses.add(&mean(&sites(maps).abs()), labels);
        }
    }

    fn measures(&self, place: Place, images: usize) -> Result<LayerMeasures, FeatureError> {
        if !self.distances.is_finite() {
            let layer = place.to_string();
            return Err(FeatureError::NotFinite { layer });
        }
        let [dead, saturated] = self.channels.shares();
        Ok(LayerMeasures {
            stage: place.stage,
            block: place.block,
            site: place.site,
            channels: self.width as usize,
            cosine_distance: self.distances / images as f64,
            rms_cosine: self.cosines / images as f64,
            dead,
            saturated,
            effective_rank: self.rank.as_ref().map(EffectiveRank::value),
            largest_rank: self.rank.as_ref().map(|rank| rank.bound() as u64),
            selectivity: self.responses.as_ref().and_then(ClassResponses::index),
        })
    }
}

#[cfg(test)]
mod tests {
    use fcmae_blocks::{BlockKind, initialise};
    use fcmae_encoder::EncoderConfig;
    use tch::{Device, nn};

    use super::*;

    fn encoder(block: BlockKind) -> (nn::VarStore, SparseEncoder) {
        let vs = nn::VarStore::new(Device::Cpu);
        let config = EncoderConfig {
            depths: vec![1, 2],
            dims: vec![4, 8],
            block,
            ..EncoderConfig::default()
        };
        let encoder = SparseEncoder::new(&vs.root(), &config).unwrap();
        initialise(&vs, 1);
        (vs, encoder)
    }

    fn images() -> Tensor {
        Tensor::arange(6 * 3 * 24 * 24, (Kind::Float, Device::Cpu))
            .square()
            .sin()
            .view([6, 3, 24, 24])
    }

    #[test]
    fn measures_do_not_depend_on_how_images_come() {
        let (_vs, encoder) = encoder(BlockKind::V2);
        let labels = [0, 1, 2, 0, 1, 2];
        let of = |batch: i64| {
            let mut statistics = FeatureStatistics::with_classes(3);
            for (images, labels) in images().split(batch, 0).iter().zip(labels.chunks(batch as usize)) {
                statistics.add(&encoder, images, labels).unwrap();
            }
            statistics.report().unwrap()
        };
        let (all, one) = (of(6), of(1));
        assert_eq!((all.images, all.layers.len()), (6, 3 * 4));
        for (a, b) in all.layers.iter().zip(&one.layers) {
            assert_eq!((a.place(), a.channels), (b.place(), b.channels));
            let is_output = a.site == Site::Output;
            assert_eq!(a.channels, if is_output { [4, 8] } else { [16, 32] }[a.stage]);
            assert!((a.cosine_distance - b.cosine_distance).abs() < 1e-6);
            assert!((a.rms_cosine - b.rms_cosine).abs() < 1e-6);
            assert_eq!((a.dead, a.saturated), (b.dead, b.saturated));
            assert_eq!(
                (a.effective_rank.is_some(), a.selectivity.is_some()),
                (is_output, is_output)
            );
            if is_output {
                assert!((a.effective_rank.unwrap() - b.effective_rank.unwrap()).abs() < 1e-3);
                assert_eq!(a.largest_rank, Some(6.min(a.channels as u64)));
                assert!((a.mean_selectivity().unwrap() - b.mean_selectivity().unwrap()).abs() < 1e-5);
            }
        }
        assert!(all.hidden_distance() > 0.1 && all.hidden_distance() < 0.6);
        let text = serde_json::to_string(&all).unwrap();
        assert!(
            text.contains(r#""stage":1,"block":1,"site":"after_grn","channels":32"#),
            "{text}"
        );
        assert_eq!(
            serde_json::from_str::<FeatureReport>(&text).unwrap().layers.len(),
            12
        );
    }

    #[test]
    fn v1_is_looked_at_after_gelu() {
        let (_vs, encoder) = encoder(BlockKind::V1);
        let mut statistics = FeatureStatistics::new();
        statistics.add(&encoder, &images(), &[]).unwrap();
        let report = statistics.report().unwrap();
        assert_eq!(report.layers.len(), 3 * 3);
        assert!(report.hidden().iter().all(|layer| layer.site == Site::AfterGelu));
    }

    /// All channels of every hidden layer are made the same: the measure of the paper's Fig. 4 reads 0.
    #[test]
    fn a_collapsed_network_is_seen_to_be_one() {
        let (vs, encoder) = encoder(BlockKind::V1);
        tch::no_grad(|| {
            for (name, mut weight) in vs.variables() {
                if name.contains("pwconv1") {
                    let first = weight.narrow(0, 0, 1).copy();
                    weight.copy_(&first.expand_as(&weight));
                }
            }
        });
        let mut statistics = FeatureStatistics::new();
        statistics.add(&encoder, &images(), &[]).unwrap();
        let report = statistics.report().unwrap();
        assert!(
            report.hidden_distance().abs() < 1e-6,
            "{}",
            report.hidden_distance()
        );
    }

    #[test]
    fn what_cannot_be_measured_is_named() {
        let (vs, encoder) = encoder(BlockKind::V2);
        assert_eq!(FeatureStatistics::new().report(), Err(FeatureError::Empty));
        let mut bias = vs.variables().remove("stages.1.0.pwconv1.bias").unwrap();
        let _ = tch::no_grad(|| bias.fill_(f64::NAN));
        let mut statistics = FeatureStatistics::new();
        statistics.add(&encoder, &images(), &[]).unwrap();
        let error = statistics.report().unwrap_err().to_string();
        assert!(
            error.starts_with("stages.1.0, before GELU: the features are not finite"),
            "{error}"
        );
    }
}
