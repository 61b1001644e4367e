//! Flags that ask a running loop to stop, or to save itself, at the next safe place.

use std::io;
use std::sync::Arc;
#[cfg(test)]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Asks a run to stop: it writes a checkpoint at its last completed step and returns.
///
/// Clones share the flag, so one half can be kept by another thread.
#[derive(Debug, Clone, Default)]
pub struct StopFlag {
    raised: Arc<AtomicBool>,
    /// Raises the flag when it was asked for so often; 0 = never.
    #[cfg(test)]
    polls_left: Arc<AtomicUsize>,
}

impl StopFlag {
    /// A flag that is raised by Ctrl-C (SIGINT) and SIGTERM. A second signal ends the process at once with
    /// exit code 130, without a checkpoint.
    ///
    /// # Errors
    /// The system refuses the signal handler.
    pub fn on_signals() -> io::Result<StopFlag> {
        const KILLED: i32 = 130;
        let stop = StopFlag::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds the flag still down, the second one finds it raised.
            flag::register_conditional_shutdown(signal, KILLED, Arc::clone(&stop.raised))?;
            flag::register(signal, Arc::clone(&stop.raised))?;
        }
        Ok(stop)
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
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(stop.is_raised());
    }
}
