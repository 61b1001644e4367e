//! Pre-training: the loop, and everything a run needs around the model.

mod batches;
mod bench;
mod config;
mod crc32c;
mod error;
mod evaluation;
mod groups;
mod held_out;
mod machine;
mod meter;
mod metrics;
mod optimizer;
mod pictures;
mod prepare;
mod pretrain;
mod pretrained;
mod progress;
mod resume;
mod run_folder;
mod saving;
mod schedule;
mod state;
mod stop;
mod summary;
mod tensorboard;

pub use bench::{StepBench, StepTime, bench_step};
pub use config::{
    CheckpointConfig, LogConfig, LossConfig, OptimizerConfig, Precision, PretrainConfig, ScheduleConfig,
    TrainConfig, ValidationConfig,
};
pub use error::{InputError, Lines};
pub use evaluation::Hide;
pub use groups::is_decayed;
pub use machine::{DeviceChoice, Machine};
pub use metrics::{EpochRecord, MetricsFile, Record, Smoothed, StepRecord};
pub use optimizer::{Optimizer, Parameter};
pub use pretrain::{PretrainOptions, Start, pretrain};
pub use pretrained::{Pretrained, find_weights};
pub use progress::{Progress, Shown, Verbosity, duration};
pub use run_folder::{RunFolder, fresh_name};
pub use schedule::{Schedule, scaled_lr};
pub use state::{DataStamp, EpochSums, HeldOut, State};
pub use stop::StopFlag;
pub use summary::{Ending, Summary};
pub use tensorboard::EventWriter;
