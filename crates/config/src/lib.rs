//! TOML run configuration: `extends`, `--set` overrides, errors that name the nearest key, origins.
//!
//! [`load`] reads a file, the files it extends and the overrides of a command line, and gives a
//! [`Resolved`] table that remembers where each value came from ([`Origin`]). [`Resolved::parse`] turns it
//! into a caller's structs, and a key or value that does not fit into a [`ConfigError`] in one line: the
//! place, the full key, what was there, what is expected. [`to_toml`] writes a resolved configuration
//! down; reading that file again changes nothing. [`differences`] compares two.
//!
//! Later beats earlier, key by key: the files of `extends` in their order, then the file itself, then the
//! overrides in theirs. Tables are merged, everything else (lists too) is replaced.
//!
//! ```toml
//! extends = "../models/atto.toml"   # or a list; relative to this file
//! [optimizer]
//! lr = 1e-3
//! ```
//!
//! The value of `--set key.path=value` is read as TOML (`1e-3`, `true`, `[1, 2]`, `"quoted"`); what is no
//! TOML value is taken as a string as it stands (`--set name=first try`).
//!
//! The crate knows no key: which exist, their types and defaults are the structs of its callers, with
//! `#[serde(deny_unknown_fields, default)]`, and without `flatten`.
//!
//! ```
//! use serde::Deserialize;
//!
//! #[derive(Debug, Default, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Run { optimizer: Optimizer }
//!
//! #[derive(Debug, Default, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct Optimizer { lr: f64, betas: [f64; 2] }
//!
//! let set = |text: &str| fcmae_config::from_str("[optimizer]\nlr = 1", &[text.to_owned()]);
//! let run: Run = set("optimizer.betas=[0.9, 0.95]")?.parse()?;
//! assert_eq!((run.optimizer.lr, run.optimizer.betas), (1.0, [0.9, 0.95]));
//!
//! let error = set("optimizer.beta=[0.9, 0.95]")?.parse::<Run>().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "--set optimizer.beta=[0.9, 0.95]: unknown key `optimizer.beta`; did you mean `optimizer.betas`?"
//! );
//! # Ok::<(), fcmae_config::ConfigError>(())
//! ```

mod difference;
mod error;
mod explain;
mod layer;
mod nearest;
mod origin;
mod overrides;
mod resolved;
mod source;

pub use difference::{Difference, differences};
pub use error::ConfigError;
pub use nearest::nearest;
pub use origin::Origin;
pub use resolved::{Resolved, from_str, load, to_toml};
