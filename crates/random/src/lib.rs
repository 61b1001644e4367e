//! Counter-based randomness: Philox4x32-10 keyed by seed, purpose, epoch and sample.
//!
//! Every random decision of a run is a pure function of four numbers, so the order of threads, the
//! number of workers and a restart never change a result. [`Stream`] is the one type most code needs:
//! make one where a decision is made, draw from it, drop it. [`Purpose`] keeps the streams of
//! different decisions apart, and [`hash64`] turns a name into a sample number.
//!
//! | symbol | meaning |
//! |---|---|
//! | seed | the run's `seed` |
//! | purpose | what is decided: order, augmentation, mask, … |
//! | epoch | the epoch (or the step, where a decision is made once per step) |
//! | sample | the stable id of the sample (or the hash of a name) |
//!
//! What was drawn once stays: the numbers of [`Purpose`], the way the four values fill key and counter,
//! and the draws themselves are part of what makes an old run repeatable. Tests pin them. The draws use
//! no function of the platform's mathematics library whose last bit may differ between machines
//! ([`Stream::truncated_normal`] compares with `exp` in two rare regimes, and says so).
//!
//! The crate does not know *what* is drawn (masks, crops, weights), keeps no global generator, and is
//! no source of secrets.
//!
//! ```
//! use fcmae_random::{Purpose, Stream};
//!
//! let mut first = Stream::new(7, Purpose::Mask, 3, 1234);
//! let mut again = Stream::new(7, Purpose::Mask, 3, 1234);
//! let mut other = Stream::new(7, Purpose::Augment, 3, 1234);
//! assert_eq!(first.permutation(49), again.permutation(49));
//! assert_ne!(first.next_u64(), other.next_u64());
//! ```

mod beta;
mod hash;
mod normal;
mod philox;
mod purpose;
mod stream;

pub use hash::hash64;
pub use philox::philox4x32_10;
pub use purpose::Purpose;
pub use stream::Stream;
