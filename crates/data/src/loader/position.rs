//! Places in the endless sequence of batches, and the order of an epoch.

use std::ops::Range;

use fcmae_random::{Purpose, Stream};

use crate::error::DataError;

/// A batch's place: epoch and number within it, both from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Epoch.
    pub epoch: u64,
    /// Batch within the epoch.
    pub batch: u64,
}

impl Position {
    /// The place after this one, in epochs of `batches` batches.
    #[must_use]
    pub fn next(self, batches: u64) -> Position {
        if self.batch + 1 < batches {
            Position {
                batch: self.batch + 1,
                ..self
            }
        } else {
            Position {
                epoch: self.epoch + 1,
                batch: 0,
            }
        }
    }

    /// The same place written with `batch` below `batches`: one past the last is the next epoch's first.
    pub(super) fn checked(self, batches: u64) -> Result<Position, DataError> {
        match self.batch.cmp(&batches) {
            std::cmp::Ordering::Less => Ok(self),
            std::cmp::Ordering::Equal => Ok(Position {
                epoch: self.epoch + 1,
                batch: 0,
            }),
            std::cmp::Ordering::Greater => Err(DataError::Position {
                epoch: self.epoch,
                batch: self.batch,
                batches,
            }),
        }
    }
}

/// How an epoch is cut into batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) samples: usize,
    pub(super) batch_size: usize,
    pub(super) drop_last: bool,
}

impl Cut {
    pub(super) fn batches(self) -> u64 {
        let whole = self.samples / self.batch_size;
        let rest = usize::from(!self.drop_last && !self.samples.is_multiple_of(self.batch_size));
        (whole + rest) as u64
    }

    /// Which places of the epoch's order make up one batch.
    pub(super) fn places(self, batch: u64) -> Range<usize> {
        let start = batch as usize * self.batch_size;
        start..(start + self.batch_size).min(self.samples)
    }
}

/// The order of one epoch: a permutation keyed by seed and epoch, or the list's own order.
pub(super) fn order(samples: usize, shuffle: bool, seed: u64, epoch: u64) -> Vec<u32> {
    if shuffle {
        Stream::new(seed, Purpose::Order, epoch, 0).permutation(samples)
    } else {
        (0..samples as u32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_past_the_end_is_the_next_epoch() {
        let at = |epoch, batch| Position { epoch, batch };
        assert_eq!(at(1, 2).checked(3).unwrap(), at(1, 2));
        assert_eq!(at(1, 3).checked(3).unwrap(), at(2, 0));
        let message = at(1, 4).checked(3).unwrap_err().to_string();
        assert!(
            message.contains("epoch 1 has 3 batches, so batch 4 does not exist"),
            "{message}"
        );
        assert_eq!(at(1, 1).next(3), at(1, 2));
        assert_eq!(at(1, 2).next(3), at(2, 0));
    }

    #[test]
    fn orders_differ_by_seed_and_epoch() {
        assert_eq!(order(5, false, 1, 1), [0, 1, 2, 3, 4]);
        assert_ne!(order(50, true, 1, 1), order(50, true, 1, 2));
        assert_ne!(order(50, true, 1, 1), order(50, true, 2, 1));
    }

    proptest! {
        #[test]
        fn batches_tile_the_epoch(samples in 1usize..200, batch_size in 1usize..50, drop_last in any::<bool>()) {
            let cut = Cut { samples, batch_size, drop_last };
            let mut next = 0;
            for batch in 0..cut.batches() {
                let places = cut.places(batch);
                prop_assert_eq!(places.start, next);
                prop_assert!(!places.is_empty() && (places.len() == batch_size || !drop_last));
                next = places.end;
            }
            prop_assert_eq!(next, if drop_last { samples / batch_size * batch_size } else { samples });
        }
    }
}
