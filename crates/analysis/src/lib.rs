//! Measures and pictures of a model.
//!
//! - [`reconstruct`]: what the model sees and what it makes of it: input, masked input, and the prediction pasted
//!   over the visible pixels, per image with its loss; [`contact_sheet`] puts them into one picture.
//! - [`ClassificationReport`], [`MultiLabelReport`]: how good a classifier is, from its scores: top-k, F1, AUROC, confusion matrix, bootstrap.
//! - [`FeatureStatistics`]: what the features inside an encoder are like, place by place, over any number of images: cosine
//!   distance of channels (collapse), how much they repeat each other, dead and saturated channels, effective rank, class selectivity; [`FeatureReport`]
//!   holds the numbers, [`collapse_figure`] and its siblings draw them with
//!   [`fcmae_plot`], [`maps_picture`] shows single channels.
//! - [`verify`]: the masking proved on this machine for a given configuration: packed = masked-dense on forward
//!   and every gradient, no leak from hidden pixels, independence of images.
//!
//! It reads models and never trains them.
//!
//! ```
//! use fcmae_analysis::{VerifyOptions, verify};
//! use fcmae_encoder::EncoderConfig;
//!
//! let tiny = EncoderConfig { depths: vec![1, 1], dims: vec![4, 8], ..EncoderConfig::default() };
//! let report = verify(&tiny, &VerifyOptions { images: 2, sizes: vec![(32, 48)], ..VerifyOptions::default() })?;
//! assert!(report.passed());
//! # Ok::<(), fcmae_analysis::VerifyError>(())
//! ```

mod classification;
mod features;
mod reconstruct;
mod sheet;
mod text;
mod verify;

pub use classification::{
    Bootstrap, ClassMeasures, ClassReport, ClassificationReport, ConfusionMatrix, Measure, MeasureError,
    MultiLabelClass, MultiLabelReport, Scores, auroc, average_precision, balanced_accuracy,
    confusion_picture, macro_measures, softmax, top_k_accuracy, top_k_classes,
};
pub use features::{
    ChannelMaps, ChannelSums, ClassResponses, EffectiveRank, FeatureError, FeatureReport, FeatureStatistics,
    LayerMeasures, channel_cosine_distance, channel_maps, channel_rms_cosine, channels_figure,
    collapse_figure, maps_picture, rank_figure, redundancy_figure, selectivity_figure,
};
pub use reconstruct::{PixelStatistics, Reconstruction, reconstruct};
pub use sheet::contact_sheet;
pub use verify::{Check, Report, VerifyError, VerifyOptions, verify};
