//! What images are labelled with: classes, probabilities, several labels at once; counts and subsets.

mod config;
mod subset;
mod targets;

pub use config::{LabelConfig, LabelKind};
pub use targets::Targets;
