//! `fuzz`: enemy input for everything that reads files, as long as one likes.

use anyhow::Result;

use crate::{libtorch, process, program};

/// Builds and runs the program of `crates/fuzz`, with the profile of the tests: it is optimised, and a number that
/// overflows is a panic there, which in a release it is not.
pub(crate) fn run(args: &program::Args) -> Result<()> {
    libtorch::ensure()?;
    let mut cargo = process::cargo();
    cargo
        .args(["run", "--quiet", "--package", "fcmae-fuzz", "--"])
        .args(&args.args);
    process::exec(&mut cargo)
}
