//! Run folders and matrices of experiments as HTML: one file each, that needs no network and no program.
//!
//! [`Run::read`] reads a run folder; [`run_page`] is its report, [`compare_page`] that of several runs. A report is a
//! function of what lies in the folder and of nothing else, so it can be made again at any time. [`LiveReport`] keeps
//! the report of a run in training up to date. [`Matrix`] is what an ablation found, as JSON, and [`matrix_page`] its
//! table and plots.
//!
//! | what | where it comes from |
//! |---|---|
//! | curves | `metrics.jsonl`: every number of every line; those that have no place of their own go by their names |
//! | pictures | `reconstructions/epoch-….png` ([`Pictures`]) |
//! | config | `config.toml`, and of each value where it was given: [`Provenance`] |
//! | machine, versions, command | [`Provenance`], `provenance.json` |
//!
//! [`fcmae_plot`] draws the charts, as SVG; a few lines of script add what moves: values under the pointer, the
//! slider of the epochs, sorting. Without scripts the page still shows everything. All text goes through
//! [`maud`], which escapes it.
//!
//! No libtorch, no training: the crate reads what a run has written.
//!
//! ```
//! use fcmae_report::{Matrix, matrix_page};
//!
//! let matrix: Matrix = serde_json::from_str(r#"{
//!     "title": "Mask ratio", "axes": ["mask.mask_ratio"],
//!     "measures": [{"key": "loss", "label": "held-out loss", "better": "lower"}],
//!     "cells": [
//!         {"name": "0.3", "values": {"mask.mask_ratio": 0.3}, "seeds": [{"seed": 0, "measures": {"loss": 0.41}}]},
//!         {"name": "0.6", "values": {"mask.mask_ratio": 0.6}, "seeds": [{"seed": 0, "measures": {"loss": 0.38}}]}
//!     ]}"#)?;
//! assert!(matrix_page(&matrix).contains("0.3800"));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod error;
mod live;
mod matrix;
mod metrics;
mod number;
mod page;
mod pictures;
mod provenance;
mod run;

pub use error::ReportError;
pub use live::{LiveReport, write};
pub use matrix::{Better, Cell, Estimate, Matrix, Measure, Seed};
pub use metrics::{Metrics, Profile};
pub use page::{compare_page, matrix_page, quoted, run_page};
pub use pictures::Pictures;
pub use provenance::Provenance;
pub use run::Run;
