//! Augmentation for learning from labels, in the reference's order (fact sheet §3.8).

mod apply;
mod config;
mod crop;

pub use apply::FinetuneAugment;
pub use config::{CropMode, FinetuneAugmentConfig};
