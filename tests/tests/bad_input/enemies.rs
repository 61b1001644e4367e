//! Files that mean harm: archives that lead out of their folder, claims of sizes that are not there, devices.

use std::io::{Cursor, Write};
use std::os::unix::fs::symlink;

use fcmae_tests::Place;
use tar::{EntryType, Header};

use super::{Case, Group, edit, nothing};

/// One member of an archive, however wrong.
fn member(name: &str, kind: EntryType, size: u64, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = [header.as_bytes(), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn plain(name: &str, contents: &[u8]) -> Vec<u8> {
    member(name, EntryType::Regular, contents.len() as u64, contents)
}

/// An archive of one good image and these members.
fn shard(place: &Place, members: &[Vec<u8>]) {
    let image = plain("good.png", &place.read("images/00.png"));
    place.write("x.tar", [image, members.concat(), vec![0; 1024]].concat());
}

const SHARD: &[&str] = &["pretrain", "tiny.toml", "--set", "data.path=x.tar"];

pub(super) const ARCHIVES: Group = Group {
    title: "Archives",
    place: Place::new,
    cases: &[
        Case {
            what: "a member whose name leads out of the archive",
            setup: |place| shard(place, &[plain("../../out.png", b"x")]),
            args: SHARD,
            says: &["x.tar: member `../../out.png`: its name leaves the archive (`..`)"],
        },
        Case {
            what: "a member with an absolute name",
            setup: |place| shard(place, &[plain("/out.png", b"x")]),
            args: SHARD,
            says: &["x.tar: member `/out.png`: its name is absolute"],
        },
        Case {
            what: "a member that is a link",
            setup: |place| shard(place, &[member("a.png", EntryType::Symlink, 0, b"")]),
            args: SHARD,
            says: &["x.tar: member `a.png`: is a link; only plain files are read"],
        },
        Case {
            what: "a member that is a device",
            setup: |place| shard(place, &[member("a.png", EntryType::Char, 0, b"")]),
            args: SHARD,
            says: &["x.tar: member `a.png`: is no plain file"],
        },
        Case {
            what: "a member larger than the archive",
            setup: |place| shard(place, &[member("a.png", EntryType::Regular, 1 << 40, b"")]),
            args: SHARD,
            says: &[
                "x.tar: member `a.png` says that it has 1099511627776 bytes",
                "cut off or forged",
            ],
        },
        Case {
            what: "a name with control characters",
            setup: |place| shard(place, &[plain("a\x1b[31m\n.png", b"x")]),
            args: SHARD,
            says: &["x.tar: member `a\\u{1b}[31m\\n.png`: its name has control characters"],
        },
        Case {
            what: "a label of several lines",
            setup: |place| shard(place, &[plain("good.cls", b"a\nb")]),
            args: SHARD,
            says: &["x.tar: member `good.cls`: is more than one line"],
        },
        Case {
            what: "a label that is no JSON",
            setup: |place| shard(place, &[plain("good.json", b"{\"label\":")]),
            args: SHARD,
            says: &["x.tar: member `good.json`: is no JSON object: "],
        },
        Case {
            what: "a label without an image",
            setup: |place| shard(place, &[plain("other.cls", b"1")]),
            args: SHARD,
            says: &["x.tar: member `other.cls`: there is no image `other.jpg`"],
        },
        Case {
            what: "an archive that ends early",
            setup: |place| {
                shard(place, &[]);
                place.truncate("x.tar", 1000);
            },
            args: SHARD,
            says: &["x.tar: ends after 1000 bytes without the mark of an archive's end: it is cut off"],
        },
        Case {
            what: "a compressed archive",
            setup: |place| place.write("x.tar", [b"\x1f\x8b\x08".as_slice(), &[7; 1000]].concat()),
            args: SHARD,
            says: &["x.tar: is no tar archive (compressed ones are not read: they have no random access)"],
        },
        Case {
            what: "a list of shards that names something else",
            setup: |place| place.write("x.txt", "images/00.png\n"),
            args: &["pretrain", "tiny.toml", "--set", "data.path=x.txt"],
            says: &["x.txt: lists `images/00.png`, which is no `.tar`"],
        },
        Case {
            what: "a pattern of too many shards",
            setup: nothing,
            args: &[
                "pretrain",
                "tiny.toml",
                "--set",
                "data.path=x-{0..9999}-{0..9999}.tar",
            ],
            says: &["stands for more than 1000000 shards"],
        },
    ],
};

/// An archive as `torch.save` writes it whose one storage unfolds to 64 MiB.
fn zip_bomb() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (name, bytes) in [
        ("bomb/data.pkl", b"\x80\x02}.".to_vec()),
        ("bomb/data/0", vec![0; 64 << 20]),
    ] {
        zip.start_file(name, options).unwrap();
        zip.write_all(&bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The head of a PNG of 100,000 × 100,000 pixels, and no pixels.
const HUGE_PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\x01\x86\xa0\0\x01\x86\xa0\x08\0\0\0\0\x8d\x39\x54\x14\0\0\0\x01IDAT\0\0\0\0\0";

fn images(place: &Place, bytes: &[u8]) {
    place.empty("images");
    place.write("images/a.png", bytes);
}

pub(super) const NAMES: Group = Group {
    title: "Names that are no names",
    place: Place::new,
    cases: &[
        Case {
            what: "a path of two lines in a manifest",
            setup: |place| place.write("x.csv", "path\n\"a\nb.png\"\n"),
            args: &["data", "pack", "x.csv", "shards"],
            says: &["error: a\\nb.png: cannot read: No such file or directory"],
        },
        Case {
            what: "a path that would colour a terminal",
            setup: |place| place.write("x.csv", "path\n\x1b[31mred.png\n"),
            args: &["data", "pack", "x.csv", "shards"],
            says: &["error: \\u{1b}[31mred.png: cannot read: No such file or directory"],
        },
        Case {
            what: "a key of two lines in a config",
            setup: |place| edit(place, "seed = 3", "\"se\\ned\" = 3"),
            args: &["pretrain", "tiny.toml"],
            says: &["tiny.toml:1: unknown key `", "did you mean `seed`?"],
        },
    ],
};

const PACK: &[&str] = &["data", "pack", "images", "shards"];

pub(super) const FILES_THAT_CLAIM_TOO_MUCH: Group = Group {
    title: "Files that claim too much",
    place: Place::new,
    cases: &[
        Case {
            what: "an image of 100,000 × 100,000 pixels",
            setup: |place| images(place, HUGE_PNG),
            args: &["data", "pack", "images", "shards", "--max-side", "64"],
            says: &["images/a.png: 100000×100000 pixels are more than `data.max_pixels` = 178956970"],
        },
        Case {
            what: "a zip bomb",
            setup: |place| place.write("bomb.pth", zip_bomb()),
            args: &["inspect", "bomb.pth"],
            says: &[
                "bomb.pth: not a readable PyTorch checkpoint: its ",
                "a damaged file or a zip bomb",
            ],
        },
        Case {
            what: "tensors of more bytes than the file has",
            setup: |place| {
                let header = br#"{"a":{"dtype":"U8","shape":[1152921504606846976],"data_offsets":[0,1152921504606846976]}}"#;
                let length = (header.len() as u64).to_le_bytes();
                place.write("a.safetensors", [&length, header.as_slice()].concat());
            },
            args: &["inspect", "a.safetensors"],
            says: &["a.safetensors: the file is truncated: it has "],
        },
        Case {
            what: "a header longer than the file",
            setup: |place| place.write("a.safetensors", b"\xff\xff\xff\x04\0\0\0\0{}"),
            args: &["inspect", "a.safetensors"],
            says: &["a.safetensors: the file is truncated: it has 10 bytes and should have 83886087"],
        },
        Case {
            what: "a checkpoint that names a program",
            setup: |place| place.write("evil.pth", b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R."),
            args: &["inspect", "evil.pth"],
            says: &["evil.pth: not a readable PyTorch checkpoint: "],
        },
        Case {
            what: "more blocks than anyone has",
            setup: nothing,
            args: &[
                "pretrain",
                "tiny.toml",
                "--set",
                "model.depths=[1, 1, 1, 9000000000000000000]",
            ],
            says: &[
                "`model.depths` = [1, 1, 1, 9000000000000000000]: must be one to eight stages of 1 to 1000 blocks",
            ],
        },
    ],
};

pub(super) const FILES_THAT_NEED_NOT_END: Group = Group {
    title: "Files that need not end",
    place: Place::new,
    cases: &[
        Case {
            what: "a device in a manifest",
            setup: |place| place.write("x.csv", "path\n/dev/zero\n"),
            args: &["data", "pack", "x.csv", "shards"],
            says: &["/dev/zero: cannot read: it is no plain file"],
        },
        Case {
            what: "a device behind a link",
            setup: |place| {
                place.empty("images");
                symlink("/dev/zero", place.path("images/a.png")).unwrap();
            },
            args: PACK,
            says: &["images/a.png: cannot read: it is no plain file"],
        },
        Case {
            what: "a device as a manifest",
            setup: |place| symlink("/dev/zero", place.path("x.csv")).unwrap(),
            args: &["data", "pack", "x.csv", "shards"],
            says: &["x.csv: cannot read: it is no plain file"],
        },
        Case {
            what: "a device as weights",
            setup: nothing,
            args: &["inspect", "/dev/zero"],
            says: &["/dev/zero: cannot be read: it is no plain file"],
        },
        Case {
            what: "a config that extends a device",
            setup: |place| edit(place, "seed = 3", "extends = \"/dev/zero\"\nseed = 3"),
            args: &["pretrain", "tiny.toml"],
            says: &["tiny.toml:1: `extends` names /dev/zero, which cannot be read: it is no plain file"],
        },
    ],
};

#[test]
fn archives() {
    ARCHIVES.check();
}

#[test]
fn names() {
    NAMES.check();
}

#[test]
fn files_that_claim_too_much() {
    FILES_THAT_CLAIM_TOO_MUCH.check();
}

#[test]
fn files_that_need_not_end() {
    FILES_THAT_NEED_NOT_END.check();
}
