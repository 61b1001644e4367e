//! Helpers of the end-to-end tests: the real program, a folder of its own to run it in, and what it left there.
//!
//! [`Place`] is a temporary folder with generated images and the config of a tiny network; [`Place::run`] runs
//! `fcmae` inside it, as it was built with the tests' own profile, and hands back a [`Ran`]. [`Place::start`]
//! runs it in the background, to be watched, signalled and killed ([`Running`]). No network, no data set, no
//! path outside the temporary folder. [`Place::run_xtask`] and [`Place::start_xtask`] do the same with `xtask`.

mod place;
mod program;

pub use place::{BARS, Left, Place, TINY};
pub use program::{Ran, Running, Signal, program, xtask};
