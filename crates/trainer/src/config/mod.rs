//! One file describes a run: its sections, their defaults (the paper's recipes), their checks.

mod finetune;
mod finetune_sections;
mod guard;
mod load;
mod monitor;
mod pretrain;
mod sections;
mod settings;

pub use finetune::FinetuneConfig;
pub use finetune_sections::{
    ClassWeighting, ClassWeights, EmaConfig, FinetuneLogConfig, FinetuneLossConfig, FinetuneOptimizerConfig,
    FinetuneScheduleConfig, FinetuneTrainConfig, Metric, SelectionConfig,
};
pub use guard::{GuardConfig, OnBadStep};
pub use load::{is_finetuning, origins};
pub use monitor::{MonitorConfig, MonitorKnnConfig};
pub use pretrain::PretrainConfig;
pub use sections::{
    CheckpointConfig, LogConfig, LossConfig, OptimizerConfig, Precision, ScheduleConfig, TrainConfig,
    ValidationConfig,
};
pub(crate) use sections::{not_negative, positive};
pub(crate) use settings::{RunConfig, Settings};
