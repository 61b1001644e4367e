//! The buffers of batches, used again and again.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Buffers that nobody holds at the moment.
///
/// A batch of ImageNet is tens of megabytes, which the allocator fetches from the system and gives back every time:
/// a page fault for every 4 KiB, as costly as filling them.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Vec<Vec<f32>>>);

impl Pool {
    /// A buffer of `len` numbers, whatever they are; it comes back to the pool when it is dropped.
    pub(super) fn take(self: &Arc<Pool>, len: usize) -> Pixels {
        let mut values = self.spare().pop().unwrap_or_default();
        values.resize(len, 0.0);
        Pixels {
            values,
            pool: Arc::downgrade(self),
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of a batch; a slice in all but name. When it is dropped, the loader that made it uses its memory again.
#[derive(Default)]
pub struct Pixels {
    values: Vec<f32>,
    /// Where the memory goes; nowhere once the loader is gone.
    pool: Weak<Pool>,
}

impl Deref for Pixels {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl Clone for Pixels {
    fn clone(&self) -> Pixels {
        Pixels::from(self.values.clone())
    }
}

impl From<Vec<f32>> for Pixels {
    fn from(values: Vec<f32>) -> Pixels {
        Pixels {
            values,
            pool: Weak::new(),
        }
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Pixels) -> bool {
        self.values == other.values
    }
}

impl fmt::Debug for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.values.fmt(f)
    }
}

impl Drop for Pixels {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.spare().push(std::mem::take(&mut self.values));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again() {
        let pool = Arc::new(Pool::default());
        let first = pool.take(6);
        let place = first.as_ptr();
        let second = pool.take(6);
        assert_ne!(place, second.as_ptr());
        drop(first);
        let shorter = pool.take(4);
        assert_eq!((shorter.as_ptr(), shorter.len()), (place, 4));
        drop(shorter);
        assert_eq!(pool.take(6).len(), 6);
        drop(pool);
        drop(second); // the loader has ended before the batch
    }
}
