//! Images from disk to batches: sources, decoding, augmentation, deterministic order, prefetch.
