//! What can go wrong between a folder of images and a batch.

use std::path::PathBuf;

/// An error of the data side. Every variant names the file, key or folder it is about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A configuration value is out of range or does not fit another one.
    #[error("`{key}` = {got}: {expected}")]
    InvalidValue {
        /// Dotted key, as written in a run's config file.
        key: &'static str,
        /// The value found.
        got: String,
        /// What is allowed.
        expected: String,
    },
    /// The configuration names no source of images.
    #[error(
        "no images given: set `data.path` to an image folder, a manifest `.csv` or tar shards, or `data.dataset` to a named data set"
    )]
    NoSource,
    /// A named data set is not in the data home.
    #[error("data set `{dataset}` is not at {folder}: fetch it with `cargo xtask data fetch {dataset}`")]
    NotFetched {
        /// Name of the data set.
        dataset: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// No environment variable tells where named data sets are.
    #[error("the folder of named data sets is unknown: set the environment variable FCMAE_DATA")]
    NoDataHome,
    /// The source has no part of the wanted name.
    #[error("{path}: no split `{split}` (`data.split`); found {}", list(.found))]
    MissingSplit {
        /// Folder of the data set.
        path: PathBuf,
        /// The split that was asked for.
        split: String,
        /// The splits that are there.
        found: Vec<String>,
    },
    /// The path does not exist or is neither folder nor manifest nor shards.
    #[error(
        "{path}: {problem}; `data.path` is an image folder, a manifest `.csv`, or tar shards (a folder, `train-{{000..099}}.tar`, a list in a `.txt`)"
    )]
    BadPath {
        /// The path as given.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A folder could not be listed.
    #[error("{path}: cannot list the folder: {source}")]
    List {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder holds no image.
    #[error("{path}: no images found (files ending in {}, also in sub-folders)", list(.extensions))]
    NoImages {
        /// The folder or manifest.
        path: PathBuf,
        /// File name extensions that count as images.
        extensions: Vec<String>,
    },
    /// A manifest lacks a column.
    #[error("{file}: no column `{column}`{}; the header has {}", meant(.column, .found), list(.found))]
    MissingColumn {
        /// The manifest.
        file: PathBuf,
        /// Name of the column that is needed.
        column: String,
        /// Names in the header line.
        found: Vec<String>,
    },
    /// A manifest cannot be read as a table.
    #[error("{file}: line {line}: {problem}")]
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// Line, counted from 1; the header is line 1.
        line: u64,
        /// What is wrong there.
        problem: String,
    },
    /// An image or a class folder does not fit what is asked of labels.
    #[error("{path}: {problem}")]
    Label {
        /// The image or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A shard is damaged, or no archive of images at all.
    #[error("{shard}: {problem}")]
    Shard {
        /// Path or URL.
        shard: String,
        /// What is wrong with which member.
        problem: String,
    },
    /// A server did not give what was asked for.
    #[error("{url}: {problem}")]
    Fetch {
        /// The address.
        url: String,
        /// The last of what went wrong.
        problem: String,
        /// Whether it will be no better later: a wrong address, say.
        is_lasting: bool,
    },
    /// Whoever wanted it has given up, or another image has failed for good.
    #[error("stopped")]
    Stopped,
    /// Shards cannot be written there.
    #[error("{path}: {problem}")]
    BadOutput {
        /// The folder that was to be made.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file could not be read.
    #[error("{file}: cannot read: {source}")]
    Read {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is no image of a format that is understood.
    #[error("{file}: {problem}; understood are JPEG, PNG, WebP, BMP, TIFF, GIF and PNM")]
    UnknownFormat {
        /// The file, as the caller named it.
        file: String,
        /// What was found instead.
        problem: String,
    },
    /// The image is corrupt, truncated or uses a feature that is not supported.
    #[error("{file}: cannot decode: {problem}")]
    Decode {
        /// The file, as the caller named it.
        file: String,
        /// The decoder's reason.
        problem: String,
    },
    /// The image has more pixels than allowed.
    #[error(
        "{file}: {width}×{height} pixels are more than `data.max_pixels` = {max_pixels}; raise it if the file is genuine"
    )]
    TooLarge {
        /// The file, as the caller named it.
        file: String,
        /// Width in pixels.
        width: u64,
        /// Height in pixels.
        height: u64,
        /// The limit.
        max_pixels: u64,
    },
    /// Not one image of the data set could be used.
    #[error("none of the {samples} images can be used; one of them: {last}")]
    AllBad {
        /// Number of samples in the data set.
        samples: usize,
        /// Why one of them failed.
        last: Box<DataError>,
    },
    /// The data set is too small for what was asked.
    #[error("{problem}")]
    TooFewSamples {
        /// What was asked, what is there, what to do.
        problem: String,
    },
    /// A position beyond the end of an epoch.
    #[error(
        "position: epoch {epoch} has {batches} batches, so batch {batch} does not exist; was the data set or the batch size changed?"
    )]
    Position {
        /// Epoch asked for.
        epoch: u64,
        /// Batch asked for.
        batch: u64,
        /// Batches in an epoch.
        batches: u64,
    },
    /// The loader's own threads failed.
    #[error("data loader: {problem}")]
    Loader {
        /// What happened.
        problem: String,
    },
}

/// ` (did you mean …?)`, where a name is alike.
pub(crate) fn meant(name: &str, candidates: &[String]) -> String {
    fcmae_config::nearest(name, candidates.iter().map(String::as_str))
        .map_or_else(String::new, |meant| format!(" (did you mean `{meant}`?)"))
}

/// `a, b and c`, or `nothing`.
pub(crate) fn list(names: &[String]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [head @ .., last] => {
            let head: Vec<String> = head.iter().map(|name| format!("`{name}`")).collect();
            format!("{} and `{last}`", head.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_read_like_prose() {
        let names = |n: usize| -> Vec<String> { (0..n).map(|i| format!("n{i}")).collect() };
        assert_eq!(list(&names(0)), "nothing");
        assert_eq!(list(&names(1)), "`n0`");
        assert_eq!(list(&names(3)), "`n0`, `n1` and `n2`");
    }
}
