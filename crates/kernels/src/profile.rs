//! Where the time of a step goes: spans that the kernels note while a profile is taken.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static ON: AtomicBool = AtomicBool::new(false);
static SPANS: Mutex<BTreeMap<String, Duration>> = Mutex::new(BTreeMap::new());

/// Starts a profile, or starts it again: what was noted before is forgotten.
pub fn start() {
    lock().clear();
    ON.store(true, Ordering::Relaxed);
}

/// Ends the profile: the time of each operation by name, in the order of names.
#[must_use]
pub fn take() -> BTreeMap<String, Duration> {
    ON.store(false, Ordering::Relaxed);
    std::mem::take(&mut lock())
}

/// Runs an operation and notes its time under a name, if a profile is being taken.
pub fn span<R>(name: impl FnOnce() -> String, operation: impl FnOnce() -> R) -> R {
    if !ON.load(Ordering::Relaxed) {
        return operation();
    }
    let started = Instant::now();
    let result = operation();
    *lock().entry(name()).or_default() += started.elapsed();
    result
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<String, Duration>> {
    SPANS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
