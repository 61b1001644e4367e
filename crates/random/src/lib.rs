//! Counter-based randomness: Philox4x32-10 keyed by seed, epoch, sample and purpose.
