//! Shards made of any source: the same images in the same order, the same bytes each time.

mod journal;
mod lock;
mod members;
mod shape;
mod write;

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::{DataConfig, OnError, ensure};
use crate::error::DataError;
use crate::source::Table;
use crate::storage::Reads;
use crate::threads::workers;

use journal::Trail;
use members::Members;
use shape::{Shaped, shape};
use write::Writer;

/// How shards are made.
#[derive(Debug, Clone)]
pub struct PackOptions {
    /// A shard is closed before it grows beyond this many bytes.
    pub shard_bytes: u64,
    /// Longer images are made smaller until their longer side has this many pixels, and written as JPEG.
    pub max_side: Option<usize>,
    /// Quality of these, from 1 to 100.
    pub quality: u8,
}

impl Default for PackOptions {
    fn default() -> PackOptions {
        PackOptions {
            shard_bytes: 512 << 20,
            max_side: None,
            quality: 90,
        }
    }
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The shards, in order.
    pub shards: Vec<PathBuf>,
    /// Images in them.
    pub images: usize,
    /// How many of these were made smaller.
    pub resized: usize,
    /// Bytes of all shards.
    pub bytes: u64,
    /// What is wrong with the images that were left out (`on_error = "skip"`).
    pub left_out: Vec<String>,
}

/// What happens while shards are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackNews<'a> {
    /// A shard is finished.
    Shard {
        /// Where it will be.
        path: &'a Path,
        /// Images in it.
        images: usize,
        /// Whether a pack that was broken off had finished it.
        is_kept: bool,
    },
    /// An image is left out.
    LeftOut {
        /// What is wrong with it.
        problem: &'a str,
    },
}

/// Images that are read and resized at the same time.
const AT_ONCE: usize = 64;

/// Packs the images that `config` names into `out/000000.tar`, …, in the layout of webdataset, in their order; beside
/// each shard lies an index (`out/000000.index`), which spares its readers a walk along the headers.
///
/// Bytes of images are copied as they are unless [`PackOptions::max_side`] asks for less. `key.cls` holds the number
/// of the class; `key.json` what else is known: the class by name, the other columns of a manifest, and the name in
/// the source where the member is called otherwise (another ending, a dot inside). So order, ids, names, classes and
/// the validation split of the shards are those of the source. A JPEG's rotation is kept, or carried out where it is
/// made smaller. An image that cannot be read ends it, or is left out, as `config.on_error` says; a server that stays
/// away ends it.
///
/// `out` appears when all is written; until then the shards lie in a hidden folder beside it, and no other process
/// can pack it. The same source and options give the same bytes, also where a pack was broken off: begun again, it
/// keeps the shards that were finished, as far as their images are still the same. `told` hears how far it is.
///
/// # Errors
/// A source that cannot be listed; a file that cannot be read, or is no image; an `out` that exists or cannot be
/// written: each names the file.
pub fn pack(
    config: &DataConfig,
    out: &Path,
    options: &PackOptions,
    told: &mut dyn FnMut(PackNews),
) -> Result<Packed, DataError> {
    check(options)?;
    let table = Table::open(config)?;
    let members = Members::of(&table)?;
    let mut trail = Trail::new(&members);
    let decode = config.decode_options();
    let how = format!("fcmae {} {options:?} {decode:?}", env!("CARGO_PKG_VERSION"));
    let mut writer = Writer::begin(out, options.shard_bytes, how)?;
    let mut next = writer.keep(members.len(), &mut trail, config.on_error, told)?;
    let pool = workers(config.workers)?;
    let reads = Reads::default();
    while next < members.len() {
        let rows = next..members.len().min(next + AT_ONCE);
        let marks: Vec<_> = rows.clone().map(|row| trail.mark(row)).collect(); // before the files are read
        let shaped: Vec<Result<Shaped, DataError>> = pool.install(|| {
            let one = |row: usize| shape(&table.rows[row].location, &decode, options, &reads);
            rows.clone().into_par_iter().with_max_len(1).map(one).collect()
        });
        if reads.is_stopped() {
            return Err(reads.cause_of(DataError::Stopped));
        }
        for ((row, mark), shaped) in rows.clone().zip(marks).zip(shaped) {
            match shaped {
                Ok(image) => {
                    let smaller = image.smaller;
                    writer.add(row, mark, &members.sample(row, image), smaller, told)?;
                }
                Err(error) if config.on_error == OnError::Skip && is_of_image(&error) => {
                    writer.leave_out(&error, told);
                }
                Err(error) => return Err(error),
            }
        }
        next = rows.end;
    }
    writer.finish(members.len(), trail.mark(members.len()), told)
}

/// Whether an error is the image's own fault.
fn is_of_image(error: &DataError) -> bool {
    use DataError::{Decode, Read, TooLarge, UnknownFormat};
    matches!(
        error,
        Read { .. } | UnknownFormat { .. } | Decode { .. } | TooLarge { .. }
    )
}

fn check(options: &PackOptions) -> Result<(), DataError> {
    ensure(
        (1..=100).contains(&options.quality),
        "quality",
        options.quality.to_string(),
        || "must be from 1 to 100".to_owned(),
    )?;
    let side = options.max_side.unwrap_or(1);
    ensure((1..=65_535).contains(&side), "max_side", side.to_string(), || {
        "must be from 1 to 65535 pixels".to_owned()
    })?;
    ensure(options.shard_bytes > 0, "shard size", "0".to_owned(), || {
        "must be above 0".to_owned()
    })
}
