//! What trained weights are used for: predictions, measures, features, probes.
//!
//! [`Inference::open`] takes weights of any origin and says how images are brought to them; [`Inference::predict`],
//! [`Inference::evaluate`], [`Inference::embed`], [`Inference::probe`] and [`Inference::analyze`] are the verbs.

mod analyze;
mod config;
mod described;
mod embed;
mod evaluate;
mod network;
mod npy;
mod predict;
mod probe;
mod stream;

pub use analyze::{Analysis, AnalysisOptions};
pub use config::{InferenceConfig, KnnConfig, LinearProbeConfig};
pub use described::keep_description;
pub(crate) use described::preprocessing;
pub use embed::{Embedding, Level};
pub use evaluate::{Evaluation, EvaluationReport};
pub use network::Inference;
pub use predict::{Prediction, Predictions, listed};
pub use probe::{KnnTrial, LinearTrial, Probe, ProbeReport};
pub use stream::Unreadable;
