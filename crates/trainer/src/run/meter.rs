//! Throughput and the share of it that is lost to waiting for data.

use std::time::{Duration, Instant};

/// Counts images and waiting since its last reset.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    images: usize,
    waited: Duration,
}

impl Meter {
    /// Starts to count now.
    pub(crate) fn start() -> Meter {
        Meter {
            since: Instant::now(),
            images: 0,
            waited: Duration::ZERO,
        }
    }

    /// Counts a batch of `images` that was waited for.
    pub(crate) fn add(&mut self, images: usize, waited: Duration) {
        self.images += images;
        self.waited += waited;
    }

    /// Images per second, and the share of the time spent waiting, in `[0, 1]`.
    pub(crate) fn read(&self) -> (f64, f64) {
        rates(self.images, self.waited, self.since.elapsed())
    }
}

fn rates(images: usize, waited: Duration, elapsed: Duration) -> (f64, f64) {
    let seconds = elapsed.as_secs_f64().max(1e-9);
    (images as f64 / seconds, (waited.as_secs_f64() / seconds).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second_of_the_whole_time() {
        let seconds = Duration::from_secs;
        assert_eq!(rates(64, seconds(1), seconds(4)), (16.0, 0.25));
        assert_eq!(rates(0, seconds(0), seconds(0)), (0.0, 0.0));
        assert_eq!(rates(1, seconds(3), seconds(2)).1, 1.0);
    }
}
