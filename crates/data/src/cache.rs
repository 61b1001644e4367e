//! Decoded images kept for the next epoch, up to a number of bytes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crate::image::Image;

/// One slot per sample id; a slot is filled at most once and never emptied, so nothing is ever decoded
/// in vain for lack of a better victim.
#[derive(Debug)]
pub(crate) struct ImageCache {
    slots: Vec<OnceLock<Arc<Image>>>,
    free: AtomicUsize,
}

impl ImageCache {
    pub(crate) fn new(samples: usize, bytes: usize) -> ImageCache {
        ImageCache {
            slots: (0..samples).map(|_| OnceLock::new()).collect(),
            free: AtomicUsize::new(bytes),
        }
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Image>> {
        self.slot(id)?.get().cloned()
    }

    /// Keeps the image if there is room.
    pub(crate) fn offer(&self, id: u64, image: &Arc<Image>) {
        let bytes = image.pixels().len();
        let Some(slot) = self.slot(id) else { return };
        if self
            .free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                free.checked_sub(bytes)
            })
            .is_err()
        {
            return;
        }
        if slot.set(image.clone()).is_err() {
            self.free.fetch_add(bytes, Ordering::Relaxed); // another thread was faster
        }
    }

    fn slot(&self, id: u64) -> Option<&OnceLock<Arc<Image>>> {
        self.slots.get(usize::try_from(id).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: u8) -> Arc<Image> {
        Arc::new(Image::new(10, 10, 1, vec![value; 100]))
    }

    #[test]
    fn the_budget_is_kept() {
        let cache = ImageCache::new(3, 250);
        for id in 0..3 {
            cache.offer(id, &image(id as u8));
        }
        assert_eq!(cache.get(0).unwrap().pixels()[0], 0);
        assert_eq!(cache.get(1).unwrap().pixels()[0], 1);
        assert!(cache.get(2).is_none());
    }

    #[test]
    fn a_full_slot_costs_nothing_again() {
        let cache = ImageCache::new(2, 200);
        cache.offer(0, &image(1));
        cache.offer(0, &image(2));
        cache.offer(1, &image(3));
        assert_eq!(cache.get(0).unwrap().pixels()[0], 1);
        assert_eq!(cache.get(1).unwrap().pixels()[0], 3);
        assert!(cache.get(7).is_none());
    }
}
