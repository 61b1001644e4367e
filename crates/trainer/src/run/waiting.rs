//! How long an epoch waits for images, and when that is worth a word.

use std::time::{Duration, Instant};

use fcmae_data::{DataConfig, StageTimes};

/// What an epoch has waited so far.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Instant,
    waited: Duration,
    /// Stage times when it began.
    before: StageTimes,
    /// Whether a word was said on its way.
    is_told: bool,
}

/// Below this share nobody need care; above it the run says what to set.
const WORTH_TELLING: f64 = 0.05;

/// Shorter epochs say nothing.
const SHORTEST_EPOCH: Duration = Duration::from_secs(5);

/// Nobody should train for an hour to hear it: after this time it is told on the way.
const LONG_EPOCH: Duration = Duration::from_secs(60);

impl Waiting {
    pub(super) fn begin(before: StageTimes) -> Waiting {
        Waiting {
            since: Instant::now(),
            waited: Duration::ZERO,
            before,
            is_told: false,
        }
    }

    pub(super) fn add(&mut self, waited: Duration) {
        self.waited += waited;
    }

    /// A sentence in the middle of a long epoch, once, where too much of it was spent waiting.
    pub(super) fn on_the_way(&mut self, now: StageTimes, data: &DataConfig) -> Option<String> {
        let elapsed = self.since.elapsed();
        if self.is_told || !is_too_long(self.waited, elapsed, LONG_EPOCH) {
            return None;
        }
        self.is_told = true;
        Some(self.sentence("this epoch so far", elapsed, now, data))
    }

    /// A sentence about the whole epoch, where too much of it was spent waiting.
    pub(super) fn at_the_end(&self, now: StageTimes, data: &DataConfig) -> Option<String> {
        let elapsed = self.since.elapsed();
        is_too_long(self.waited, elapsed, SHORTEST_EPOCH)
            .then(|| self.sentence("this epoch", elapsed, now, data))
    }

    fn sentence(&self, what: &str, elapsed: Duration, now: StageTimes, data: &DataConfig) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let share = 100.0 * self.waited.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        let advice = (now - self.before).advice(data, cores);
        format!("{share:.0} % of {what} was spent waiting for images: {advice}")
    }
}

/// Whether so much waiting in so much time is worth a word, once there was time enough to tell.
fn is_too_long(waited: Duration, elapsed: Duration, enough: Duration) -> bool {
    elapsed >= enough && waited.as_secs_f64() > WORTH_TELLING * elapsed.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An epoch that has lasted so long and waited so much of it.
    fn epoch(seconds: u32, waited: Duration) -> Waiting {
        Waiting {
            since: Instant::now().checked_sub(seconds * SECOND).unwrap(),
            waited,
            ..Waiting::begin(StageTimes::default())
        }
    }

    #[test]
    fn only_long_epochs_that_waited_much_are_told_of() {
        let at_the_end = |seconds, waited| {
            epoch(seconds, waited).at_the_end(StageTimes::default(), &DataConfig::default())
        };
        let told = at_the_end(100, 12 * SECOND).unwrap();
        assert!(
            told.starts_with("12 % of this epoch was spent waiting for images: "),
            "{told}"
        );
        assert_eq!(at_the_end(100, 4 * SECOND), None);
        assert_eq!(at_the_end(4, 2 * SECOND), None);
    }

    #[test]
    fn a_long_epoch_is_told_of_once_on_its_way() {
        let now = StageTimes {
            read: SECOND,
            ..StageTimes::default()
        };
        let on_the_way = |epoch: &mut Waiting| epoch.on_the_way(now, &DataConfig::default());
        let mut slow = epoch(70, 7 * SECOND);
        let told = on_the_way(&mut slow).unwrap();
        assert!(
            told.starts_with("10 % of this epoch so far was spent waiting for images: 100 % of the loader's work is reading"),
            "{told}"
        );
        assert_eq!(on_the_way(&mut slow), None);
        assert!(
            slow.at_the_end(now, &DataConfig::default()).is_some(),
            "the end as ever"
        );
        assert_eq!(on_the_way(&mut epoch(70, 3 * SECOND)), None);
        assert_eq!(
            on_the_way(&mut epoch(50, 40 * SECOND)),
            None,
            "it may be the start"
        );
    }
}
