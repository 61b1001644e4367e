//! Recognises files of other kinds by their first bytes, to say what they are instead of what they lack.

use std::path::Path;

use crate::error::CheckpointError;

const CONVERT: &str = "`fcmae convert FILE --to native OUT` makes one of it";
const OTHER: &str = "give a .safetensors file";
const DOWNLOAD: &str = "its download has failed; fetch it again";

/// First bytes, what they mean, what to do.
const KINDS: [(&[u8], &str, &str); 16] = [
    (
        b"PK\x03\x04",
        "a zip archive, as torch.save writes .pt and .pth files",
        CONVERT,
    ),
    (
        b"\x80\x02",
        "a Python pickle, as older .pt and .pth files are",
        CONVERT,
    ),
    (b"\x80\x03", "a Python pickle", CONVERT),
    (b"\x80\x04", "a Python pickle", CONVERT),
    (b"\x80\x05", "a Python pickle", CONVERT),
    (b"\x93NUMPY", "a NumPy array", OTHER),
    (b"\x89HDF", "an HDF5 file", OTHER),
    (b"GGUF", "a GGUF file", OTHER),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        "fetch the file itself with `git lfs pull`",
    ),
    (b"<!DOCTYPE", "a web page", DOWNLOAD),
    (b"<!doctype", "a web page", DOWNLOAD),
    (b"<html", "a web page", DOWNLOAD),
    (b"\x89PNG", "a PNG image", OTHER),
    (b"\xff\xd8\xff", "a JPEG image", OTHER),
    (b"%PDF", "a PDF document", OTHER),
];

/// The error that says what `file` is, if its first bytes are those of a known other kind.
///
/// `start` holds the first bytes of the file. A safetensors file starts with the length of its header, so
/// its ninth byte is the `{` of the header; that is looked at first, because a length may by chance look
/// like one of these kinds.
pub(crate) fn recognise(file: &Path, start: &[u8]) -> Option<CheckpointError> {
    if start.get(8) == Some(&b'{') {
        return None;
    }
    let (_, kind, advice) = KINDS.iter().find(|(magic, ..)| start.starts_with(magic))?;
    Some(CheckpointError::Foreign {
        file: file.to_path_buf(),
        kind,
        advice,
    })
}
