//! The index beside a tar shard, which `data pack` lays there.

use std::fs;
use std::path::Path;

use fcmae_data::{DataConfig, Dataset};
use fcmae_random::hash64;

use super::shards::{archive, take_images};
use crate::target::{Input, Outcome, Seed, Target, Verdict};

/// Of a shard that stays as it is, with other names than the shard's own. What is inside is the JSON; dressed, its hash
/// is right.
pub(crate) const INDEX: Target = Target {
    name: "shard-index",
    file: "input.index",
    seeds: || {
        let bytes = shard(&[b'0'; 16]).len();
        // Long names and labels: damage to these leaves an index that is believed.
        let (name, label) = ("insects/of/the/garden/bees/x", "bees and bumblebees of all kinds");
        let samples = [
            format!(
                r#"{{"name":"{name}.png","offset":1536,"len":3,"cells":{{}}}},{{"name":"{name}y.png","offset":2560,"len":2,"cells":{{}}}}"#
            ),
            format!(
                r#"{{"name":"{name}.png","offset":1536,"len":2,"cells":{{"cls":"1","label":"{label}"}}}}"#
            ),
            format!(
                r#"{{"name":"x.png","offset":1536,"len":3,"cells":{{"__name__":"../{name}.b.png"}}}},{{"name":"y.png","offset":2560,"len":2,"cells":{{"cls":"0","kind":"{label}"}}}}"#
            ),
        ];
        let index = |samples: String| {
            format!(r#"{{"format":2,"shard":"","bytes":{bytes},"stamp":"","samples":[{samples}]}}"#)
        };
        samples
            .map(|samples| Seed::dressed(index(samples), with_hash))
            .into()
    },
    words: &[
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b",",
        b":",
        b"null",
        b"\"offset\":",
        b"\"len\":",
        b"\"cells\":",
        b"\"cls\":\"4294967295\"",
        b"\"label\":",
        b"\"__name__\":",
        b"18446744073709551615",
        b"-1",
        b"1e9",
        b"../",
        b"/",
        b"\\u0000",
        b"\\n",
        b"[[[[",
    ],
    read,
};

/// Two members that are no pictures: an index is read before any picture is. In front the comment that makes the index with
/// this hash its own.
fn shard(hash: &[u8]) -> Vec<u8> {
    let comment = [b"40 comment=fcmae-index:", hash, b"\n"].concat();
    archive(&[
        ("pax_global_header", &comment),
        ("a.png", b"one"),
        ("b.png", b"22"),
    ])
}

fn with_hash(json: &[u8]) -> Vec<u8> {
    [format!("{:016x}\n", hash64(json)).as_bytes(), json].concat()
}

fn read(input: &Input) -> Verdict {
    let file = input.file.with_extension("tar");
    let index = fs::read(input.file).map_err(|error| error.to_string())?;
    lay(&file, index.first_chunk().unwrap_or(&[b'0'; 16]))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let listed = list(&file);
    fs::remove_file(&file).map_err(|error| error.to_string())?;
    listed
}

/// The shard, as if it was packed with an index of this hash.
fn lay(file: &Path, hash: &[u8; 16]) -> std::io::Result<()> {
    fs::write(file, shard(hash))
}

/// An index that says nothing to be believed costs a scan, and no image.
fn list(file: &Path) -> Verdict {
    let config = DataConfig {
        path: Some(file.to_owned()),
        workers: 1,
        ..DataConfig::default()
    };
    let dataset = match Dataset::open(&config) {
        Ok(dataset) => dataset,
        // It may say what labels of a shard may say, and that may be wrong.
        Err(error) if error.to_string().contains("input.tar") => return Ok(Outcome::Refused),
        Err(error) => return Err(format!("a message without the name of the shard: {error}")),
    };
    take_images(&dataset)?;
    for sample in dataset.samples() {
        let read = sample.location.read();
        read.map_err(|error| format!("{}: outside of the shard: {error}", sample.name))?;
    }
    let names: Vec<_> = dataset
        .samples()
        .iter()
        .map(|sample| sample.location.path())
        .collect();
    let is_scanned = names == ["a.png", "b.png"].map(|name| file.join(name));
    Ok(if is_scanned {
        Outcome::Refused
    } else {
        Outcome::Read
    })
}
