//! Reading for many threads, none of which waits for a server that has stayed away for another.

use std::sync::{Mutex, PoisonError};

use super::{Halt, Location};
use crate::error::DataError;

/// Reads images for many threads.
///
/// A server that stays away for one image ([`DataError::Fetch`]) does so for all: from then on each read ends
/// at once with [`DataError::Stopped`], and [`cause_of`](Reads::cause_of) tells what it stands for.
#[derive(Debug, Default)]
pub struct Reads {
    halt: Halt,
    /// Of the first server that stayed away.
    lost: Mutex<Option<DataError>>,
}

impl Reads {
    /// All bytes of an image.
    ///
    /// # Errors
    /// [`DataError::Read`] as for [`Location::read`]; [`DataError::Stopped`] once a server has stayed away or
    /// [`stop`](Reads::stop) was called.
    pub fn read(&self, location: &Location) -> Result<Vec<u8>, DataError> {
        if self.is_stopped() {
            return Err(DataError::Stopped);
        }
        location
            .read_unless(&self.halt)
            .map_err(|error| self.give_up(error))
    }

    fn give_up(&self, error: DataError) -> DataError {
        if !matches!(error, DataError::Fetch { .. }) {
            return error;
        }
        self.lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        self.stop();
        DataError::Stopped
    }

    /// Ends what is not begun yet.
    pub fn stop(&self) {
        self.halt.raise();
    }

    /// Whether nothing is begun any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.halt.is_raised()
    }

    /// What an error of [`read`](Reads::read) stands for: the first [`DataError::Stopped`] for the server that stayed away.
    #[must_use]
    pub fn cause_of(&self, error: DataError) -> DataError {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            DataError::Stopped => lost.take().unwrap_or(DataError::Stopped),
            own => own,
        }
    }
}
