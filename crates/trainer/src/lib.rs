//! The training loop: groups, schedules, precision, metrics, checkpoints, exact resume.

mod crc32c;
mod error;
mod groups;
mod metrics;
mod optimizer;
mod run_folder;
mod schedule;
mod stop;
mod tensorboard;

pub use error::{InputError, Lines};
pub use groups::is_decayed;
pub use metrics::{EpochRecord, MetricsFile, Record, Smoothed, StepRecord};
pub use optimizer::{Optimizer, Parameter};
pub use run_folder::{RunFolder, fresh_name};
pub use schedule::{Schedule, scaled_lr};
pub use stop::StopFlag;
pub use tensorboard::EventWriter;
