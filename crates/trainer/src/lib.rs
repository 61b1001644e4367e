//! Pre-training and fine-tuning: the recipes, the loop, and everything a run needs around the model.
//!
//! A [`PretrainConfig`] describes a run, with the paper's recipe (Table 8) as its defaults; [`pretrain`] carries it
//! out and leaves a [run folder](RunFolder); [`Pretrained`] opens what came out of it. A [`FinetuneConfig`] and
//! [`finetune`] do the same for a classifier on labels; its best weights are in [`Finetuned`].
//!
//! Both are tasks of one loop (`run/`): the task says what is trained, how a batch is scored, what closes an epoch
//! and what a checkpoint holds beside weights, moments and state; everything else is the same.
//!
//! | piece | what |
//! |---|---|
//! | [`Schedule`] | linear warm-up, then half a cosine, over fractional epochs |
//! | [`Optimizer`] | AdamW in groups: decayed and not ([`is_decayed`]), by layer in fine-tuning ([`LayerDecay`]) |
//! | [`State`] | where a run stands: step, smoothed loss, machine, config |
//! | [`Record`] | a line of `metrics.jsonl`; [`EventWriter`] writes the same for TensorBoard |
//! | [`StopFlag`], [`SaveFlag`] | a signal or another thread asks the run to save itself and return, or to go on |
//! | [`GuardConfig`], [`replay`](replay()) | a step whose loss or gradients are not finite is refused, kept, and run again |
//! | [`News`] | what a run says, for a display of its own |
//!
//! **The promise.** A run that is stopped anywhere (a signal, a kill, a full disk) and started again ends with the
//! same bits as one that was left alone, on the same machine, libtorch and number of threads. So nothing in a step
//! draws from libtorch's generator: order, augmentation, masks and DropPath are keyed by (seed, epoch, sample). A
//! checkpoint lies between two optimizer steps, never inside an accumulation window; what a stop throws away is
//! taken again.
//!
//! [`Inference`] uses weights of any origin: predictions, measures, features and what they are like, probes. A
//! [`MonitorConfig`] has a run watch its own features.
//!
//! [`plan_pretrain`] and [`plan_finetune`] carry out some steps of a run and tell what all of it would take ([`Plan`]).
//!
//! It knows no command line and prints to stderr only.
//!
//! ```
//! use fcmae_trainer::{LayerDecay, LayerDecayType, PretrainConfig, is_decayed};
//!
//! let config = PretrainConfig::default();
//! let images = config.train.images_per_step();
//! assert_eq!((images, config.optimizer.peak_lr(images)), (4096, 2.4e-3));
//! let schedule = config.schedule.build(2.4e-3);
//! assert_eq!(schedule.lr(10.0), 6e-4); // a quarter of the warm-up
//! assert!(is_decayed("mask_token", &[1, 512, 1, 1], true));
//!
//! let layers = LayerDecay::new(LayerDecayType::Single, &[2, 2, 6, 2], 0.9); // atto
//! assert_eq!(layers.layer("stages.2.0.grn.gamma"), 5);
//! assert!((layers.scale(5) - 0.9f64.powi(13 - 5)).abs() < 1e-15);
//! ```

mod bench;
mod config;
mod crc32c;
mod data_stamp;
mod error;
mod evaluation;
mod finetune;
mod groups;
mod host;
mod inference;
mod knn;
mod layers;
mod machine;
mod measures;
mod metrics;
mod monitored;
mod optimizer;
mod pretrain;
mod pretrained;
mod progress;
mod run;
mod run_folder;
mod schedule;
mod state;
mod stop;
mod summary;
mod tensorboard;

pub use bench::{StepBench, StepTask, StepTime, bench_step};
pub use config::{
    CheckpointConfig, ClassWeighting, ClassWeights, EmaConfig, FinetuneConfig, FinetuneLogConfig,
    FinetuneLossConfig, FinetuneOptimizerConfig, FinetuneScheduleConfig, FinetuneTrainConfig, GuardConfig,
    LogConfig, LossConfig, Metric, MonitorConfig, MonitorKnnConfig, OnBadStep, OptimizerConfig, Precision,
    PretrainConfig, ScheduleConfig, SelectionConfig, TrainConfig, ValidationConfig, is_finetuning, origins,
};
pub use data_stamp::DataStamp;
pub use error::{InputError, List};
pub use evaluation::Hide;
pub use fcmae_model::Activation;
pub use finetune::{Best, Finetuned, finetune, plan_finetune};
pub use groups::is_decayed;
pub use inference::{
    Analysis, AnalysisOptions, Embedding, Evaluation, EvaluationReport, Inference, InferenceConfig,
    KnnConfig, KnnTrial, Level, LinearProbeConfig, LinearTrial, Prediction, Predictions, Probe, ProbeReport,
    Unreadable, keep_description, listed,
};
pub use layers::{LayerDecay, LayerDecayType};
pub use machine::{DeviceChoice, Machine};
pub use measures::Measures;
pub use metrics::{EpochRecord, MetricsFile, Record, Smoothed, StepRecord};
pub use monitored::{KnnScore, Monitored};
pub use optimizer::{Optimizer, Parameter, Share};
pub use pretrain::{plan_pretrain, pretrain};
pub use pretrained::Pretrained;
pub use progress::{News, Progress, Shown, Verbosity, duration, one_line};
pub use run::{Plan, PlanOptions, Replay, ReplayedBatch, RunOptions, Seen, Source, Start, replay};
pub use run_folder::{RunFolder, fresh_name};
pub use schedule::{Schedule, scaled_lr};
pub use state::{EpochSums, HeldOut, State};
pub use stop::{SaveFlag, StopFlag};
pub use summary::{Ending, Summary};
pub use tensorboard::EventWriter;
