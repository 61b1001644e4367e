//! What the features are like on the way, and an alarm where they collapse.

use std::sync::Arc;

use anyhow::{Result, ensure};
use fcmae_analysis::{
    FeatureError, FeatureReport, FeatureStatistics, Scores, balanced_accuracy, top_k_accuracy,
};
use fcmae_blocks::Pass;
use fcmae_data::{Dataset, Loader, LoaderOptions, Position, Report};
use fcmae_encoder::SparseEncoder;
use fcmae_kernels::GrnScope;
use tch::{Device, Kind, Tensor, no_grad};

use crate::config::{MonitorConfig, PretrainConfig};
use crate::inference::KnnConfig;
use crate::knn::Votes;
use crate::monitored::{KnnScore, Monitored};
use crate::run::{Closing, held_out_options, images};
use crate::stop::StopFlag;

/// Measures the features of a network in training. Nothing of it lasts beyond a measurement but whether it has warned.
#[derive(Debug)]
pub(super) struct Monitor {
    config: MonitorConfig,
    images: Source,
    labelled: Option<Source>,
    precision: Kind,
    device: Device,
    has_warned: bool,
}

/// What a measurement leads to.
#[derive(Debug)]
pub(super) struct Watched {
    /// Absent where nothing could be measured.
    pub(super) monitored: Option<Monitored>,
    pub(super) warning: Option<String>,
}

impl Watched {
    /// Training goes on while its loss is finite; what cannot be measured is told.
    fn nothing(epoch: u64, error: &FeatureError) -> Watched {
        Watched {
            monitored: None,
            warning: Some(format!("epoch {epoch}: features are not measured: {error}")),
        }
    }
}

/// Images, as evaluation sees them.
#[derive(Debug)]
struct Source {
    dataset: Arc<Dataset>,
    options: LoaderOptions,
}

impl Source {
    fn batches(&self) -> Result<Loader> {
        Ok(Loader::new(
            Arc::clone(&self.dataset),
            self.options.clone(),
            Position::default(),
        )?)
    }
}

/// The labelled images of `[monitor.knn]`, where they are asked for.
pub(super) fn labelled(config: &PretrainConfig) -> Result<Option<Dataset>> {
    let monitor = &config.monitor;
    let Some(knn) = monitor.knn.as_ref().filter(|_| monitor.every_epochs > 0) else {
        return Ok(None);
    };
    let all = Dataset::open_labelled(&knn.data(&config.data), &knn.labels)?;
    Ok(Some(all.spread(knn.images)))
}

impl Monitor {
    /// Of `shown` images; `None` where nothing is to be measured.
    pub(super) fn new(
        config: &PretrainConfig,
        shown: &Dataset,
        device: Device,
        report: &Report,
    ) -> Result<Option<Monitor>> {
        let monitor = &config.monitor;
        if monitor.every_epochs == 0 {
            return Ok(None);
        }
        let mut options = held_out_options(&config.data, &config.validation, report.clone());
        if config.model.grn_scope == GrnScope::Batch {
            options.batch_size = 1; // the dense network's GRN knows one image
        }
        let source = |dataset: Dataset| Source {
            dataset: Arc::new(dataset),
            options: options.clone(),
        };
        Ok(Some(Monitor {
            images: source(shown.spread(monitor.images)),
            labelled: labelled(config)?.map(source),
            config: monitor.clone(),
            precision: config.precision.kind(),
            device,
            has_warned: false,
        }))
    }

    pub(super) fn is_due(&self, closing: &Closing) -> bool {
        closing.is_due(self.config.every_epochs)
    }

    /// Measures `encoder` after `epoch`; `None` if `stop` was raised on the way.
    pub(super) fn watch(
        &mut self,
        encoder: &SparseEncoder,
        epoch: u64,
        stop: &StopFlag,
    ) -> Result<Option<Watched>> {
        let mut statistics = FeatureStatistics::new();
        for batch in self.images.batches()?.unless(|| stop.is_up()) {
            if stop.is_raised() {
                return Ok(None);
            }
            statistics.add(encoder, &images(&batch?, self.device)?, &[])?;
        }
        let features = match statistics.report() {
            Ok(features) => features,
            Err(error) => return Ok(Some(Watched::nothing(epoch, &error))),
        };
        let knn = match &self.labelled {
            None => None,
            Some(labelled) => match self.ask_neighbours(labelled, encoder, stop)? {
                None => return Ok(None),
                score => score,
            },
        };
        let monitored = Monitored::new(&features, self.config.collapse_below, knn);
        Ok(Some(Watched {
            warning: self.alarm(epoch, &monitored, &features),
            monitored: Some(monitored),
        }))
    }

    /// How well neighbours among `labelled` tell its labels; `None` if `stop` was raised on the way.
    fn ask_neighbours(
        &self,
        labelled: &Source,
        encoder: &SparseEncoder,
        stop: &StopFlag,
    ) -> Result<Option<KnnScore>> {
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for batch in labelled.batches()?.unless(|| stop.is_up()) {
            if stop.is_raised() {
                return Ok(None);
            }
            let batch = batch?;
            let images = images(&batch, self.device)?.to_kind(self.precision);
            let maps = no_grad(|| encoder.forward_maps(&images, &Pass::default()))?;
            let pooled = maps.last().map(|map| {
                map.to_kind(Kind::Float)
                    .mean_dim([2i64, 3].as_slice(), false, Kind::Float)
            });
            rows.extend(pooled);
            labels.extend(batch.labels.into_iter().flatten());
        }
        let classes = labelled.dataset.class_names().len();
        let k = self.config.knn.as_ref().map_or(1, |knn| knn.k);
        ensure!(!rows.is_empty(), "the data loader gave no labelled image");
        let votes = Votes::new(
            &Tensor::cat(&rows, 0),
            &labels,
            classes,
            KnnConfig::default().temperature,
        );
        let shares = votes.leaving_one_out(&[k])?.concat();
        let scores = Scores::new(&shares, classes)?;
        Ok(Some(KnnScore {
            images: labels.len(),
            accuracy: top_k_accuracy(&scores, &labels, 1)?,
            balanced_accuracy: balanced_accuracy(&scores, &labels)?,
        }))
    }

    /// One line where features have collapsed, until they recover.
    fn alarm(&mut self, epoch: u64, monitored: &Monitored, features: &FeatureReport) -> Option<String> {
        let is_news = monitored.collapsed && !self.has_warned;
        self.has_warned = monitored.collapsed;
        let hidden = features.hidden();
        let least = hidden
            .iter()
            .min_by(|a, b| a.cosine_distance.total_cmp(&b.cosine_distance))?;
        is_news.then(|| {
            format!(
                "epoch {epoch}: features collapse: the channels of the hidden layers differ by a cosine distance of {:.3} \
                 (`monitor.collapse_below` = {}), least in {}: {:.3}; use `model.block` = \"v2\" (GRN) or lower \
                 `optimizer.lr`",
                monitored.hidden_distance,
                self.config.collapse_below,
                least.place(),
                least.cosine_distance
            )
        })
    }
}
