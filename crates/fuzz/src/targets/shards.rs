//! Tar shards: their index, the images in them, and other shards made of them.

use std::path::Path;

use fcmae_data::{DataConfig, Dataset, LabelConfig, PackOptions, pack};
use tar::{EntryType, Header};

use super::images::encoded;
use crate::target::{Input, Outcome, Seed, Target, Verdict, any_read};

/// An archive in the layout of webdataset. What is inside is the archive; dressed, its headers' checksums are right.
pub(crate) const TAR: Target = Target {
    name: "shards",
    file: "input.tar",
    seeds: || {
        let image = encoded("l.png");
        let archives = [
            archive(&[
                ("a.png", &image),
                ("a.cls", b"0"),
                ("b.png", &image),
                ("b.cls", b"1"),
            ]),
            archive(&[
                ("x/a.png", &image),
                ("x/a.json", br#"{"label":"good","n":3,"flag":true}"#),
            ]),
            archive(&[
                ("./@pax", b"30 path=long/name/of/a/file.jpg\n"),
                ("a.png", &image),
                ("a.cls", b"1"),
            ]),
            archive(&[("././@LongLink", b"deep/folder/name.png\0"), ("a.png", &image)]),
        ];
        archives
            .map(|archive| Seed::dressed(archive, with_checksums))
            .into()
    },
    words: &[
        b"../",
        b"/",
        b"..",
        b"./",
        b"ustar\0",
        b"ustar  \0",
        b"@LongLink",
        b"path=",
        b"size=",
        b"GNU.sparse.realsize=",
        b"99 size=9223372036854775807\n",
        b"77777777777\0",
        b"\x80\xff\xff\xff\xff\xff\xff\xff",
        b".cls",
        b".json",
        b".png",
        b"{",
        b"}",
        b"\"label\":",
        b"[[[[",
        b"\0",
        b"L",
        b"x",
        b"g",
        b"S",
        b"1",
        b"2",
        b"5",
        b"6",
    ],
    read,
};

const BLOCK: usize = 512;

pub(super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, contents) in entries {
        let mut header = Header::new_ustar();
        header.set_path(name).expect("a short name");
        header.set_size(contents.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_entry_type(match *name {
            "./@pax" => EntryType::XHeader,
            "pax_global_header" => EntryType::XGlobalHeader,
            "././@LongLink" => EntryType::GNULongName,
            _ => EntryType::Regular,
        });
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(*contents);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// Rights the checksum of every header, as long as one follows the other.
fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..at + BLOCK) {
        if block.iter().all(|&byte| byte == 0) {
            break;
        }
        let mut header = Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
        let size = header.entry_size().unwrap_or(0).min(archive.len() as u64) as usize;
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    bytes
}

fn read(input: &Input) -> Verdict {
    let config = DataConfig {
        path: Some(input.file.to_owned()),
        workers: 1,
        max_pixels: 1 << 16,
        ..DataConfig::default()
    };
    let opened = [
        Dataset::open(&config),
        Dataset::open_labelled(&config, &LabelConfig::default()),
    ];
    let judge = |opened| match opened {
        Ok(dataset) => take_images(&dataset).map(|()| Outcome::Read),
        Err(error) => input.refused(&error),
    };
    let read = any_read(opened.map(judge))?;
    if input.number.is_multiple_of(8) {
        repack(input, &config)?;
    }
    Ok(read)
}

/// Makes shards of it, in a folder that is taken away again.
fn repack(input: &Input, config: &DataConfig) -> Verdict {
    let out = input.file.with_file_name("out");
    let packed = pack(config, &out, &PackOptions::default(), &mut |_| {});
    let outside = packed
        .iter()
        .flat_map(|packed| &packed.shards)
        .find(|shard| !shard.starts_with(&out));
    let outside = outside.map(|shard| format!("{} was written", shard.display()));
    if Path::exists(&out) {
        std::fs::remove_dir_all(&out).map_err(|error| error.to_string())?;
    }
    match (outside, packed) {
        (Some(outside), _) => Err(outside),
        (None, Ok(_)) => Ok(Outcome::Read),
        (None, Err(error)) => input.refused(&error),
    }
}

/// Looks at what is listed, and at the first images.
pub(crate) fn take_images(dataset: &Dataset) -> Result<(), String> {
    let classes = dataset.class_names().len();
    for (at, sample) in dataset.samples().iter().enumerate() {
        if sample.label.is_some_and(|label| label as usize >= classes) {
            return Err(format!("sample {at} is of class {:?} of {classes}", sample.label));
        }
    }
    for at in 0..dataset.len().min(3) {
        let _ = dataset.load(at); // an error is as good an answer, and names another file
    }
    Ok(())
}
