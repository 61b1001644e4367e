//! Decoded images kept for the next epoch, up to a number of bytes, in memory or in a file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::image::Image;

/// One slot per sample id; a slot is filled at most once and never emptied, so nothing is ever decoded
/// in vain for lack of a better victim.
#[derive(Debug)]
pub(crate) struct ImageCache {
    slots: Vec<OnceLock<Kept>>,
    bytes: u64,
    used: AtomicU64,
    /// Where the pixels go that do not stay in memory.
    file: Option<File>,
}

#[derive(Debug)]
enum Kept {
    Here(Arc<Image>),
    /// In the file from `offset` on.
    There {
        offset: u64,
        size: [usize; 3],
    },
}

impl ImageCache {
    /// Up to `bytes` of pixels in memory.
    pub(crate) fn in_memory(samples: usize, bytes: u64) -> ImageCache {
        ImageCache {
            slots: (0..samples).map(|_| OnceLock::new()).collect(),
            bytes,
            used: AtomicU64::new(0),
            file: None,
        }
    }

    /// Up to `bytes` of pixels in a file in `folder`, which has no name and is gone with the process. The system keeps
    /// what it has room for in memory, and gives that up before anything else.
    pub(crate) fn on_disk(samples: usize, bytes: u64, folder: &Path) -> io::Result<ImageCache> {
        fs::create_dir_all(folder)?;
        Ok(ImageCache {
            file: Some(tempfile::tempfile_in(folder)?),
            ..ImageCache::in_memory(samples, bytes)
        })
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Image>> {
        match self.slot(id)?.get()? {
            Kept::Here(image) => Some(image.clone()),
            &Kept::There { offset, size } => {
                let [width, height, channels] = size;
                let mut pixels = vec![0; width * height * channels];
                self.file.as_ref()?.read_exact_at(&mut pixels, offset).ok()?; // else decoded anew
                Some(Arc::new(Image::new(width, height, channels, pixels)))
            }
        }
    }

    /// Keeps the image if there is room.
    pub(crate) fn offer(&self, id: u64, image: &Arc<Image>) {
        let Some(slot) = self.slot(id).filter(|slot| slot.get().is_none()) else {
            return;
        };
        let bytes = image.pixels().len() as u64;
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.bytes);
        let Ok(offset) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) else {
            return;
        };
        let kept = match &self.file {
            None => Kept::Here(image.clone()),
            Some(file) => {
                if file.write_all_at(image.pixels(), offset).is_err() {
                    return; // a full disk, say: this place stays unused
                }
                Kept::There {
                    offset,
                    size: [image.width(), image.height(), image.channels()],
                }
            }
        };
        let _ = slot.set(kept); // another thread was faster, with the same
    }

    /// Bytes of memory that it may still take: while nothing is in it, all that it is allowed; then by the mean of what
    /// is there.
    pub(crate) fn growth(&self) -> u64 {
        if self.file.is_some() {
            return 0;
        }
        let used = self.used.load(Ordering::Relaxed);
        let filled = self.slots.iter().filter(|slot| slot.get().is_some()).count() as u64;
        let room = self.bytes.saturating_sub(used);
        let empty = self.slots.len() as u64 - filled;
        used.checked_div(filled)
            .map_or(room, |mean| room.min(empty.saturating_mul(mean)))
    }

    fn slot(&self, id: u64) -> Option<&OnceLock<Kept>> {
        self.slots.get(usize::try_from(id).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(value: u8) -> Arc<Image> {
        Arc::new(Image::new(10, 10, 1, vec![value; 100]))
    }

    fn both(samples: usize, bytes: u64) -> [ImageCache; 2] {
        let folder = tempfile::tempdir().unwrap();
        let disk = ImageCache::on_disk(samples, bytes, folder.path()).unwrap();
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "no file to clean up"
        );
        [ImageCache::in_memory(samples, bytes), disk]
    }

    #[test]
    fn the_budget_is_kept() {
        for cache in both(3, 250) {
            for id in 0..3 {
                cache.offer(id, &image(id as u8));
            }
            assert_eq!(cache.get(0).unwrap(), image(0));
            assert_eq!(cache.get(1).unwrap(), image(1));
            assert!(cache.get(2).is_none());
        }
    }

    #[test]
    fn growth_ends_with_the_images_or_with_the_budget() {
        let cache = ImageCache::in_memory(4, 1000);
        assert_eq!(cache.growth(), 1000);
        cache.offer(2, &image(1));
        assert_eq!(cache.growth(), 300); // three more of 100 each
        let tight = ImageCache::in_memory(4, 250);
        tight.offer(0, &image(1));
        assert_eq!(tight.growth(), 150);
        assert_eq!(both(4, 1000)[1].growth(), 0, "a file takes no memory");
    }

    #[test]
    fn a_full_slot_costs_nothing_again() {
        for cache in both(2, 200) {
            cache.offer(0, &image(1));
            cache.offer(0, &image(2));
            cache.offer(1, &image(3));
            assert_eq!(cache.get(0).unwrap(), image(1));
            assert_eq!(cache.get(1).unwrap(), image(3));
            assert!(cache.get(7).is_none());
        }
    }

    #[test]
    fn images_of_other_shapes_come_back_whole() {
        let pixels: Vec<u8> = (0..7 * 5 * 3).map(|i| i as u8).collect();
        let colour = Arc::new(Image::new(7, 5, 3, pixels));
        for cache in both(9, 1 << 20) {
            cache.offer(8, &image(4));
            cache.offer(3, &colour);
            assert_eq!(cache.get(3).unwrap(), colour);
        }
    }
}
