//! One file describes a run: its sections, their defaults (the paper's recipes), their checks.

mod load;
mod pretrain;
mod sections;
mod settings;

pub use pretrain::PretrainConfig;
pub use sections::{
    CheckpointConfig, LogConfig, LossConfig, OptimizerConfig, Precision, ScheduleConfig, TrainConfig,
    ValidationConfig,
};
pub(crate) use settings::{RunConfig, Settings};
