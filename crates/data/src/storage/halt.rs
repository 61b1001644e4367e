//! A word to those who wait for a server: nobody wants the answer any more.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Once raised it stays up. A read that is under way goes on; nothing begins after it, and pauses end.
#[derive(Debug, Default)]
pub(crate) struct Halt {
    is_raised: Mutex<bool>,
    raised: Condvar,
}

impl Halt {
    pub(crate) fn raise(&self) {
        *self.is_raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.raised.notify_all();
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.is_raised_within(Duration::ZERO)
    }

    /// Waits for `pause`, or until it is raised.
    pub(crate) fn is_raised_within(&self, pause: Duration) -> bool {
        let is_raised = self.is_raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .raised
            .wait_timeout_while(is_raised, pause, |is_raised| !*is_raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_it_is_raised() {
        let halt = Halt::default();
        assert!(!halt.is_raised_within(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(halt.is_raised_within(Duration::from_secs(3600))));
            halt.raise();
        });
        assert!(halt.is_raised());
    }
}
