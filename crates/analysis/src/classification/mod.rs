//! How good a classifier is: measures over plain buffers of scores and labels.
//!
//! Everything here is a pure function: logits in, numbers out; no tensors, no files, nothing random but the keyed
//! bootstrap.
//!
//! - [`ClassificationReport`] is the whole table for one label per image, [`MultiLabelReport`] for several;
//! - its parts stand alone: [`top_k_accuracy`], [`macro_measures`], [`balanced_accuracy`], [`ConfusionMatrix`], [`auroc`], [`average_precision`];
//! - [`Bootstrap`] says how sure they are; [`confusion_picture`] shows the matrix.

mod bootstrap;
mod confusion;
mod error;
mod multi_label;
mod picture;
mod ranking;
mod report;
mod scores;
mod tally;

pub use bootstrap::{Bootstrap, Measure};
pub use confusion::ConfusionMatrix;
pub use error::MeasureError;
pub use multi_label::{MultiLabelClass, MultiLabelReport};
pub use picture::confusion_picture;
pub use ranking::{auroc, average_precision};
pub use report::{ClassReport, ClassificationReport};
pub use scores::{Scores, softmax, top_k_accuracy, top_k_classes};
pub use tally::{ClassMeasures, balanced_accuracy, macro_measures};
