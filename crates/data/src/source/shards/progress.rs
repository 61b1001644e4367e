//! A word now and then while many shards are listed.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Hears how many shards are listed, of how many.
type Listener = fn(usize, usize);

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Has `tell` called every ten seconds while shards are listed: how many are done, of how many. Their headers are walked
/// when they are first used, which takes its time behind HTTP. For programs: it holds for the whole process, and only the
/// first call counts.
pub fn tell_of_listing(tell: fn(usize, usize)) {
    let _ = LISTENER.set(tell); // the first one stays
}

/// Counts shards, and tells of it.
pub(super) struct Progress {
    tell: Listener,
    every: Duration,
    of: usize,
    /// How many are done, and when it was told last.
    done: Mutex<(usize, Instant)>,
}

impl Progress {
    /// For whoever asked to be told.
    pub(super) fn new(of: usize) -> Progress {
        let tell = LISTENER.get().copied().unwrap_or(|_, _| {});
        Progress::telling(tell, Duration::from_secs(10), of)
    }

    fn telling(tell: Listener, every: Duration, of: usize) -> Progress {
        Progress {
            tell,
            every,
            of,
            done: Mutex::new((0, Instant::now())),
        }
    }

    /// One more is done.
    pub(super) fn add(&self) {
        let mut state = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let (done, told) = &mut *state;
        *done += 1;
        if told.elapsed() >= self.every && *done < self.of {
            *told = Instant::now();
            (self.tell)(*done, self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_now_and_then_and_not_of_the_end() {
        static TOLD: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
        let tell = |done, of| TOLD.lock().unwrap().push((done, of));
        for (every, expected) in [(Duration::ZERO, &[(1, 3), (2, 3)][..]), (Duration::MAX, &[])] {
            let progress = Progress::telling(tell, every, 3);
            (0..3).for_each(|_| progress.add());
            assert_eq!(std::mem::take(&mut *TOLD.lock().unwrap()), expected);
        }
    }
}
