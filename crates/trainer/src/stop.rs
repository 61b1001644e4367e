//! Flags that ask a running loop to stop, or to save itself, at the next safe place.

use std::io;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;

/// Asks a run to stop: it writes a checkpoint at its last completed step and returns.
///
/// Clones share the flag, so one half can be kept by another thread.
#[derive(Debug, Clone, Default)]
pub struct StopFlag {
    raised: Arc<AtomicBool>,
    /// While it is up, the first signal ends the process: nothing is there that needs saving.
    nothing_begun: Arc<AtomicBool>,
    /// Raises the flag when it was asked for so often; 0 = never.
    #[cfg(test)]
    polls_left: Arc<AtomicUsize>,
}

impl StopFlag {
    /// A flag that is raised by Ctrl-C (SIGINT), SIGTERM and SIGUSR1, with which SLURM warns of a job's end (`--signal`).
    /// A second SIGINT or SIGTERM ends the process at once with exit code 130, without a checkpoint; while a run still
    /// looks for its images, the first signal of any kind does so with exit code 75.
    ///
    /// # Errors
    /// The system refuses the signal handler.
    pub fn on_signals() -> io::Result<StopFlag> {
        const KILLED: i32 = 130;
        const TRY_AGAIN: i32 = 75;
        let (stop, was_urged) = (StopFlag::default(), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            flag::register_conditional_shutdown(signal, TRY_AGAIN, Arc::clone(&stop.nothing_begun))?;
        }
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag still down, the second one finds it raised.
            flag::register_conditional_shutdown(signal, KILLED, Arc::clone(&was_urged))?;
            flag::register(signal, was_urged.clone())?;
        }
        for signal in [SIGINT, SIGTERM, SIGUSR1] {
            flag::register(signal, Arc::clone(&stop.raised))?;
        }
        Ok(stop)
    }

    /// Does what takes long and leaves nothing to save: a signal ends the process meanwhile.
    pub(crate) fn before_anything<T>(&self, work: impl FnOnce() -> T) -> T {
        self.nothing_begun.store(true, Ordering::SeqCst);
        let done = work();
        self.nothing_begun.store(false, Ordering::SeqCst);
        done
    }

    /// The same flag for who has to clean up: a signal never ends the process before the run does.
    #[must_use]
    pub fn without_haste(&self) -> StopFlag {
        StopFlag {
            nothing_begun: Arc::default(),
            ..self.clone()
        }
    }

    /// Raises the flag.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
    }

    /// Whether the flag is raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        #[cfg(test)]
        if self.polls_left.load(Ordering::SeqCst) > 0 && self.polls_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.raise();
        }
        self.is_up()
    }

    /// As [`StopFlag::is_raised`], for who waits and looks again and again: it is no place to stop at of its own.
    #[must_use]
    pub(crate) fn is_up(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// A flag that is up from the `n`-th time on that somebody looks at it, `n ≥ 1`: a stop at every place there is.
    #[cfg(test)]
    pub(crate) fn at_poll(n: usize) -> StopFlag {
        StopFlag {
            polls_left: Arc::new(AtomicUsize::new(n)),
            ..StopFlag::default()
        }
    }
}

/// Asks a run to write a checkpoint after the step under way, and to go on. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct SaveFlag(Arc<AtomicBool>);

impl SaveFlag {
    /// Asks for a checkpoint.
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether one was asked for that is not written yet.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// As [`SaveFlag::is_asked`], and lowers the flag.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let stop = StopFlag::default();
        let other = stop.clone();
        assert!(!other.is_raised());
        stop.raise();
        assert!(other.is_raised());
    }

    #[test]
    fn a_signal_raises_the_flag() {
        let stop = StopFlag::on_signals().unwrap();
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert!(stop.is_raised());
        signal_hook::low_level::raise(SIGTERM).unwrap(); // the first that urges: this process goes on
    }
}
