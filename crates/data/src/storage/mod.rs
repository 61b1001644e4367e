//! Bytes of images: whole files, and ranges of shards on disk or behind HTTP.

mod halt;
mod http;
mod location;
mod plain;
mod reads;
mod shard;
#[cfg(test)]
pub(crate) mod testing;

pub use location::Location;
pub use reads::Reads;

pub(crate) use halt::Halt;
pub(crate) use http::{Client, Retry, is_url};
pub(crate) use plain::{LONGEST_IMAGE, open_plain};
pub(crate) use shard::Shard;
