//! Where the workers' time goes, and what to set when the network waits for them.

use std::ops::Sub;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::{Cache, DataConfig};
use crate::decode::JpegDecoder;
use crate::storage::is_url;

/// What is done to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Read,
    Decode,
    Augment,
    Collate,
}

/// Time spent in each stage so far, that of all workers added up. Two readings of a clock per image and stage.
#[derive(Debug, Default)]
pub(super) struct Stages([AtomicU64; 4]);

impl Stages {
    /// Does `work` and notes how long it took.
    pub(super) fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let result = work();
        self.0[stage as usize].fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }

    pub(super) fn read(&self) -> StageTimes {
        let of = |stage: Stage| Duration::from_nanos(self.0[stage as usize].load(Ordering::Relaxed));
        StageTimes {
            read: of(Stage::Read),
            decode: of(Stage::Decode),
            augment: of(Stage::Augment),
            collate: of(Stage::Collate),
        }
    }
}

/// How long a loader's workers spent on what, all of them added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes {
    /// Reading bytes from disk or server.
    pub read: Duration,
    /// Decoding, or finding the decoded image in the cache.
    pub decode: Duration,
    /// Cropping, resizing and whatever else is drawn.
    pub augment: Duration,
    /// Normalising, erasing, mixing.
    pub collate: Duration,
}

impl Sub for StageTimes {
    type Output = StageTimes;

    fn sub(self, earlier: StageTimes) -> StageTimes {
        StageTimes {
            read: self.read.saturating_sub(earlier.read),
            decode: self.decode.saturating_sub(earlier.decode),
            augment: self.augment.saturating_sub(earlier.augment),
            collate: self.collate.saturating_sub(earlier.collate),
        }
    }
}

impl StageTimes {
    /// All stages together.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.read + self.decode + self.augment + self.collate
    }

    /// In words, which stage takes most of the time, and which keys of `config` make it shorter. `cores` are those
    /// of the machine.
    #[must_use]
    pub fn advice(&self, config: &DataConfig, cores: usize) -> String {
        let stages = [
            ("reading", self.read),
            ("decoding", self.decode),
            ("augmenting", self.augment),
            ("normalising and mixing", self.collate),
        ];
        let (name, longest) = stages
            .into_iter()
            .max_by_key(|&(_, time)| time)
            .unwrap_or(("reading", self.read));
        let share = 100.0 * longest.as_secs_f64() / self.total().as_secs_f64().max(1e-9);
        let mut ways = Vec::new();
        let reads = name == "reading";
        if config.workers != 0 && config.workers < cores {
            ways.push(format!(
                "`data.workers` = {} (there are {cores} cores)",
                if reads { 2 * cores } else { cores }
            ));
        } else if reads && config.workers < 2 * cores {
            ways.push(format!(
                "`data.workers` = {}, since workers that read leave their cores free",
                2 * cores
            ));
        }
        if (reads || name == "decoding") && config.cache == Cache::None {
            ways.push(
                "`data.cache` = \"memory\" where `data.cache_mib` can hold the decoded images".to_owned(),
            );
        }
        if reads {
            ways.push(if is_behind_http(config) {
                "a copy of the shards on a disk of this machine".to_owned()
            } else {
                "`fcmae data pack --max-side`: fewer bytes, in a few large files".to_owned()
            });
        }
        if name == "decoding" {
            ways.push("`fcmae data pack --max-side`: smaller images".to_owned());
            if config.jpeg == JpegDecoder::Zune {
                ways.push("in a new run `data.jpeg` = \"turbo\"".to_owned());
            }
        }
        if ways.is_empty() {
            ways.push("more cores, or a cheaper augmentation".to_owned());
        }
        format!(
            "{share:.0} % of the loader's work is {name}; what helps: {}",
            ways.join("; ")
        )
    }
}

fn is_behind_http(config: &DataConfig) -> bool {
    let path = config.path.as_deref().unwrap_or(Path::new(""));
    is_url(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(read: u64, decode: u64, augment: u64, collate: u64) -> StageTimes {
        let of = Duration::from_millis;
        StageTimes {
            read: of(read),
            decode: of(decode),
            augment: of(augment),
            collate: of(collate),
        }
    }

    #[test]
    fn time_is_noted_where_it_is_spent() {
        let stages = Stages::default();
        let pause = Duration::from_millis(3);
        assert_eq!(
            stages.time(Stage::Decode, || {
                std::thread::sleep(pause);
                7
            }),
            7
        );
        let first = stages.read();
        assert!(first.decode >= pause && first.read == Duration::ZERO, "{first:?}");
        stages.time(Stage::Collate, || std::thread::sleep(pause));
        let later = stages.read() - first;
        assert!(
            later.collate >= pause && later.decode == Duration::ZERO,
            "{later:?}"
        );
        assert_eq!(stages.read().total(), first.total() + later.total());
    }

    #[test]
    fn advice_names_the_longest_stage_and_what_is_not_yet_set() {
        let check = |times: StageTimes, config: &DataConfig, expected: &[&str], absent: &[&str]| {
            let advice = times.advice(config, 8);
            for text in expected {
                assert!(advice.contains(text), "{advice}");
            }
            for text in absent {
                assert!(!advice.contains(text), "{advice}");
            }
        };
        let plain = DataConfig::default();
        let decoding = times(10, 70, 15, 5);
        check(
            decoding,
            &plain,
            &[
                "70 % of the loader's work is decoding",
                "data.cache",
                "--max-side",
                "turbo",
            ],
            &["data.workers"],
        );
        let two = DataConfig {
            workers: 2,
            cache: Cache::Memory,
            jpeg: JpegDecoder::Turbo,
            ..plain.clone()
        };
        check(
            decoding,
            &two,
            &["`data.workers` = 8 (there are 8 cores)"],
            &["data.cache", "turbo"],
        );
        check(
            times(90, 5, 5, 0),
            &plain,
            &["90 %", "reading", "`data.workers` = 16", "fcmae data pack"],
            &["a copy of the shards"],
        );
        let far = DataConfig {
            path: Some("https://127.0.0.1/a.tar".into()),
            ..plain.clone()
        };
        check(
            times(90, 5, 5, 0),
            &far,
            &["a copy of the shards on a disk of this machine"],
            &["fcmae data pack"],
        );
        check(
            times(1, 1, 7, 1),
            &plain,
            &["augmenting", "more cores"],
            &["data."],
        );
    }
}
