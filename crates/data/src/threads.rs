//! Worker threads.

use crate::error::DataError;

/// A pool of `threads` workers; 0 means one per core.
pub(crate) fn workers(threads: usize) -> Result<rayon::ThreadPool, DataError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("fcmae-data-{index}"))
        .build()
        .map_err(|error| DataError::Loader {
            problem: format!("cannot start workers: {error}"),
        })
}
