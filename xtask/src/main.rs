//! The front door of the project.
fn main() {}
