//! Enemy input: good files, damaged at random, for everything that reads files.
//!
//! A [`Target`] is a reader with good files of its format. A [`Bench`] damages one of them, as seed and number of the
//! execution say and nothing else, and watches the reader: it may read the file, or refuse it in words that name
//! it. Everything else is a [`Problem`]: a panic, a message without the file's name, a result that contradicts itself, a
//! file written.
//!
//! Formats with checksums and lengths get half of their damage before these are made, so that readers are met behind
//! their front door too.
//!
//! The tests execute each target some thousand times. The program (`cargo xtask fuzz`) goes on as long as one likes,
//! in a process of its own that may be killed: an execution that takes too long, more memory than it is allowed, or
//! the process with it, is a finding as well.
//!
//! What mutates here is blind: it knows nothing of branches taken. `cargo-fuzz` does, and needs a nightly compiler,
//! which this project does not ask for; [`Target::read`] is what its targets would call.
//!
//! ```
//! use fcmae_fuzz::{Bench, Outcome, TARGETS};
//!
//! let target = TARGETS.iter().find(|target| target.name == "manifest").unwrap();
//! let bench = Bench::new(target, 7)?;
//! assert_eq!(bench.execute(&bench.good(0), 0), Ok(Outcome::Read));
//! assert_eq!(bench.input(3), bench.input(3));
//! # Ok::<(), std::io::Error>(())
//! ```

mod bench;
mod damage;
mod target;
mod targets;

pub use bench::{Bench, Problem};
pub use target::{Input, Outcome, Seed, TARGETS, Target, Verdict};
