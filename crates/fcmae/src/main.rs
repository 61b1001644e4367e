//! The program `fcmae`: arguments in, exit code out; everything else is in the libraries.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
