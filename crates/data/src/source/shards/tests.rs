//! Shards as they should be, and as enemies make them.

mod index;
mod server;

use std::path::{Path, PathBuf};

use tar::{EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::labels::LabelConfig;
use crate::source::{Listing, manifest};

/// A header and its contents, however wrong.
fn entry(name: &[u8], kind: EntryType, size: u64, contents: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(contents);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str, contents: &[u8]) -> Vec<u8> {
    entry(
        name.as_bytes(),
        EntryType::Regular,
        contents.len() as u64,
        contents,
    )
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// A folder with a shard in it.
fn shard(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.tar");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A client that is asked for nothing.
fn anyone() -> Client {
    Client::new(DataConfig::default().retry())
}

fn cache_at(folder: &Path) -> Cache {
    Cache {
        folder: folder.to_owned(),
        from_bytes: 0,
    }
}

fn table_of(paths: &[&Path], cache: Option<&Path>) -> Result<Table, DataError> {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    let cache = cache.map(cache_at);
    open(Path::new("shards"), &names, &anyone(), cache.as_ref())
}

fn listing(bytes: &[u8], labels: Option<&str>) -> Result<Listing, DataError> {
    let (_folder, path) = shard(bytes);
    let labels: Option<LabelConfig> = labels.map(|text| toml::from_str(text).unwrap());
    manifest::list_table(&table_of(&[&path], None)?, labels.as_ref())
}

fn names_and_labels(listing: &Listing) -> Vec<(&str, Option<u32>)> {
    listing
        .entries
        .iter()
        .map(|e| (e.name.as_str(), e.label))
        .collect()
}

/// The message about a shard, which must be one line that begins with the shard's path.
fn refused(bytes: &[u8], expected: &str) {
    let (_folder, path) = shard(bytes);
    let message = table_of(&[&path], None).err().expect(expected).to_string();
    assert!(message.starts_with(path.to_str().unwrap()), "{message}");
    assert!(message.contains(expected), "{message}");
    assert!(!message.contains('\n'), "{message}");
}

#[test]
fn members_of_a_key_are_one_sample() {
    let bytes = archive(&[
        entry(b"./", EntryType::Directory, 0, b""),
        file("./b/1.JPG", b"one"),
        file("./b/1.cls", b" 3\n"),
        file("a/2.png", b"two"),
        file("a/2.seg.png", b"a mask"),
        file("a/._2.png", b"of macOS"),
        file("notes.txt", b"none"),
        file("info.json", b"{\"made\": \"by hand\"}"),
        file(
            "a/2.json",
            b"{\"crack\": true, \"share\": 0.25, \"deep\": {\"x\": 1}}",
        ),
    ]);
    let listing = listing(&bytes, None).unwrap();
    assert_eq!(
        names_and_labels(&listing),
        [("b/1.JPG", Some(3)), ("a/2.png", None)]
    );
    assert_eq!(listing.class_names, ["0", "1", "2", "3"]);
    let (_folder, path) = shard(&bytes);
    let table = table_of(&[&path], None).unwrap();
    assert_eq!(table.header, ["cls", "crack", "label", "share"]);
    let cells: Vec<_> = table
        .rows
        .iter()
        .map(|row| (0..4).map(|at| row.cell(at)).collect::<Vec<_>>())
        .collect();
    assert_eq!(cells, [["3", "", "3", ""], ["", "1", "", "0.25"]]);
    let bytes: Vec<_> = table
        .rows
        .iter()
        .map(|row| row.location.read().unwrap())
        .collect();
    assert_eq!(bytes, [b"one", b"two"]);
    assert_eq!(table.rows[1].location.path(), path.join("a/2.png"));
}

#[test]
fn labels_are_read_as_from_a_manifest() {
    let bytes = archive(&[
        file("1.jpg", b"x"),
        file("1.json", b"{\"label\": \"dog\", \"p\": 0.25}"),
        file("1.cls", b"7"),
        file("2.jpg", b"y"),
        file("2.json", b"{\"label\": \"cat\", \"p\": 1}"),
    ]);
    let found = listing(&bytes, Some("")).unwrap();
    assert_eq!(
        (names_and_labels(&found)[0].1, &found.class_names[..]),
        (Some(1), &["cat".to_owned(), "dog".to_owned()][..])
    );
    let soft = listing(&bytes, Some("kind = 'soft'\ncolumns = ['p']")).unwrap();
    assert_eq!(soft.entries[0].row.as_deref().unwrap(), [0.75, 0.25]);

    let message = listing(&bytes, Some("columns = ['cls']"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("0.tar/2.jpg: no label: the column `cls` is empty"),
        "{message}"
    );
    let message = listing(&bytes, Some("columns = ['kind']"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        message.contains("no labels `kind`") && message.contains("found `cls`, `label` and `p`"),
        "{message}"
    );
    let message = listing(&archive(&[file("1.jpg", b"x")]), Some(""))
        .err()
        .unwrap()
        .to_string();
    assert!(message.contains("found nothing"), "{message}");
}

#[test]
fn classes_are_numbered_by_cls_and_named_by_label() {
    let listed = |labels: &[(&str, &str)]| {
        let mut entries = vec![file("none.jpg", b"x")];
        for (at, (class, label)) in labels.iter().enumerate() {
            entries.push(file(&format!("{at}.jpg"), b"x"));
            entries.push(file(&format!("{at}.cls"), class.as_bytes()));
            let json = format!("{{\"label\": \"{label}\"}}");
            entries.push(file(&format!("{at}.json"), json.as_bytes()));
        }
        let listing = listing(&archive(&entries), None).unwrap();
        let labels: Vec<_> = listing.entries[1..].iter().map(|e| e.label.unwrap()).collect();
        (labels, listing.class_names.join(" "))
    };
    let (labels, names) = listed(&[("1", "ant"), ("0", "bee"), ("1", "ant")]);
    assert_eq!((&labels[..], names.as_str()), (&[1, 0, 1][..], "bee ant"));
    // A part of the shards keeps the numbers.
    let (labels, names) = listed(&[("3", "ant"), ("1", "2")]);
    assert_eq!((&labels[..], names.as_str()), (&[3, 1][..], "0 2 #2 ant"));
    // Where the two do not tell the same classes apart, `label` counts.
    let (labels, names) = listed(&[("1", "ant"), ("0", "ant")]);
    assert_eq!((&labels[..], names.as_str()), (&[0, 0][..], "ant"));
    let (labels, names) = listed(&[("0", "bee"), ("0", "ant")]);
    assert_eq!((&labels[..], names.as_str()), (&[1, 0][..], "ant bee"));
}

#[test]
fn a_sample_may_be_called_otherwise_than_its_member() {
    let named = |json: &str| {
        let bytes = archive(&[file("1.jpg", b"x"), file("1.json", json.as_bytes())]);
        let (_folder, path) = shard(&bytes);
        let table = table_of(&[&path], None).unwrap();
        assert!(table.header.is_empty());
        assert_eq!(table.rows[0].location.path(), path.join("1.jpg"));
        table.rows[0].name.clone()
    };
    assert_eq!(named("{\"__name__\": \"../a/1.b.png\"}"), "../a/1.b.png");
    assert_eq!(named("{\"__name__\": \"\"}"), "1.jpg");
    assert_eq!(named("{\"__name__\": 7}"), "1.jpg");
}

#[test]
fn long_names_of_every_kind_are_understood() {
    let long = format!("{}/1.jpg", "d".repeat(150));
    for header in [Header::new_gnu(), Header::new_ustar()] {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = header;
        header.set_size(3);
        header.set_mode(0o644);
        builder.append_data(&mut header, &long, &b"abc"[..]).unwrap();
        let listing = listing(&builder.into_inner().unwrap(), None).unwrap();
        assert_eq!(listing.entries[0].name, long);
    }
    let attribute = format!(" path={long}\n");
    let len = attribute.len() + 3;
    let pax = format!("{len}{attribute}9 size=3\n");
    let bytes = archive(&[
        entry(b"pax", EntryType::XHeader, pax.len() as u64, pax.as_bytes()),
        entry(b"short.jpg", EntryType::Regular, 3, b"abc"),
    ]);
    let (_folder, path) = shard(&bytes);
    let row = &table_of(&[&path], None).unwrap().rows[0];
    assert_eq!(
        (&row.name, row.location.read().unwrap()),
        (&long, b"abc".to_vec())
    );
}

#[test]
fn names_that_lead_out_of_the_archive_are_refused() {
    for (name, expected) in [
        (
            "../1.jpg",
            "member `../1.jpg`: its name leaves the archive (`..`)",
        ),
        ("a/../../1.jpg", "its name leaves the archive"),
        ("/etc/1.jpg", "member `/etc/1.jpg`: its name is absolute"),
        ("a\n1.jpg", "member `a\\n1.jpg`: its name has control characters"),
    ] {
        refused(&archive(&[file("0.jpg", b"x"), file(name, b"x")]), expected);
    }
    let raw = entry(b"\xff\xfe.jpg", EntryType::Regular, 1, b"x");
    refused(&archive(&[raw]), "its name is not UTF-8");
    for kind in [EntryType::Symlink, EntryType::Link] {
        refused(
            &archive(&[entry(b"1.jpg", kind, 0, b"")]),
            "member `1.jpg`: is a link",
        );
    }
    refused(
        &archive(&[entry(b"1.jpg", EntryType::Fifo, 0, b"")]),
        "member `1.jpg`: is no plain file",
    );
    refused(
        &archive(&[entry(b"1.jpg", EntryType::GNUSparse, 0, b"")]),
        "is no plain file",
    );
}

#[test]
fn sizes_are_not_believed() {
    let cut = "the archive is cut off or forged";
    refused(
        &archive(&[entry(b"1.jpg", EntryType::Regular, u64::MAX - 5, b"x")]),
        cut,
    );
    refused(
        &archive(&[entry(b"1.jpg", EntryType::Regular, 9_000_000_000_000, b"x")]),
        cut,
    );
    refused(
        &archive(&[entry(b"n", EntryType::GNULongName, 1 << 40, b"x")]),
        cut,
    );
    let name = vec![b'a'; 100_000];
    let long = entry(b"n", EntryType::GNULongName, name.len() as u64, &name);
    refused(&archive(&[long]), "a name or attribute of 100000 bytes");
    let pax = b"23 size=99999999999999\n";
    refused(
        &archive(&[entry(b"p", EntryType::XHeader, 23, pax), file("1.jpg", b"x")]),
        cut,
    );
    refused(
        &archive(&[
            entry(b"p", EntryType::XHeader, 9, b"9 size=x\n"),
            file("1.jpg", b"x"),
        ]),
        "an unreadable pax size",
    );
    refused(
        &archive(&[
            entry(b"p", EntryType::XHeader, 9, b"nonsense\n"),
            file("1.jpg", b"x"),
        ]),
        "unreadable pax attributes",
    );
    let class = vec![b'1'; 5000];
    refused(
        &archive(&[file("1.jpg", b"x"), file("1.cls", &class)]),
        "member `1.cls`: has 5000 bytes; at most 1024",
    );
}

#[test]
fn what_is_cut_off_or_no_archive_is_told() {
    let whole = archive(&[file("1.jpg", &[7; 2000]), file("1.cls", b"1")]);
    refused(&[], "is empty");
    refused(&whole[..300], "shorter than a header");
    refused(
        &whole[..1500],
        "member `1.jpg` says that it has 2000 bytes, but 988 are left",
    );
    refused(
        &whole[..whole.len() - 1024],
        "without the mark of an archive's end",
    );
    refused(&[0x1f; 2000], "is no tar archive");
    let mut damaged = whole.clone();
    damaged[512 + 2048 + 3] ^= 1;
    refused(&damaged, "byte 2560 is no tar header");
    // Wherever it is cut, it is an error and no panic.
    for len in (0..whole.len() - 1024).step_by(256) {
        let (_folder, path) = shard(&whole[..len]);
        assert!(table_of(&[&path], None).is_err(), "{len}");
    }
}

#[test]
fn keys_that_do_not_fit_together_are_refused() {
    let image = || file("1.jpg", b"x");
    refused(
        &archive(&[image(), image()]),
        "member `1.jpg`: its key already has the image `1.jpg`",
    );
    refused(
        &archive(&[image(), file("1.png", b"y")]),
        "member `1.png`: its key already has the image `1.jpg`",
    );
    refused(
        &archive(&[image(), file("1.cls", b"1"), file("1.cls", b"2")]),
        "member `1.cls`: occurs twice",
    );
    refused(
        &archive(&[image(), file("2.cls", b"1")]),
        "member `2.cls`: there is no image `2.jpg`",
    );
    refused(
        &archive(&[file("1.txt", b"x")]),
        "no images: members are called `key.jpg`",
    );
    refused(
        &archive(&[image(), file("1.cls", b"\xff")]),
        "member `1.cls`: is not UTF-8",
    );
    refused(
        &archive(&[image(), file("1.cls", b"1\n2")]),
        "member `1.cls`: is more than one line",
    );
    refused(
        &archive(&[image(), file("1.json", b"[1]")]),
        "member `1.json`: is no JSON object",
    );
}

#[test]
fn shards_keep_their_order_and_the_first_error_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..40)
        .map(|i| folder.path().join(format!("{i:02}.tar")))
        .collect();
    for (i, path) in paths.iter().enumerate() {
        std::fs::write(path, archive(&[file(&format!("{}.jpg", 99 - i), b"x")])).unwrap();
    }
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let table = table_of(&paths, None).unwrap();
    let names: Vec<String> = table.rows.into_iter().map(|row| row.name).collect();
    assert_eq!(
        names,
        (0..40).map(|i| format!("{}.jpg", 99 - i)).collect::<Vec<_>>()
    );
    std::fs::write(paths[7], "").unwrap();
    std::fs::remove_file(paths[3]).unwrap();
    let message = table_of(&paths, None).err().unwrap().to_string();
    assert!(message.starts_with(paths[3].to_str().unwrap()), "{message}");
}

/// Bytes changed at random, with checksums that fit all the same, so that what lies behind them is reached.
#[test]
fn mutated_archives_never_panic_and_never_reach_outside() {
    let pax = b"19 path=deep/3.jpg\n9 size=2\n";
    let whole = archive(&[
        file("a/1.jpg", b"one"),
        file("a/1.json", b"{\"label\": \"dog\"}"),
        entry(b"long", EntryType::GNULongName, 9, b"b/222.png"),
        file("short.png", b"two"),
        entry(b"pax", EntryType::XHeader, pax.len() as u64, pax),
        file("c.jpg", b"33"),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("0.tar");
    let mut stream = fcmae_random::Stream::new(7, fcmae_random::Purpose::Verify, 0, 0);
    let (client, halt) = (anyone(), Halt::default());
    let (mut read, rounds) = (0, 3000);
    for _ in 0..rounds {
        let mut bytes = whole.clone();
        for _ in 0..=stream.below(4) {
            let at = stream.below(bytes.len() as u32) as usize;
            bytes[at] = stream.below(256) as u8;
        }
        for header in bytes.chunks_exact_mut(512) {
            let mut fixed = Header::from_byte_slice(header).clone();
            if fixed.as_ustar().is_some() || fixed.as_gnu().is_some() {
                fixed.set_cksum();
                header.copy_from_slice(fixed.as_bytes());
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        let shard = Shard::open(path.to_str().unwrap(), &client, &halt).unwrap();
        let Ok(samples) = samples::samples(&shard, &halt) else {
            continue;
        };
        read += 1;
        for Sample {
            name, offset, len, ..
        } in samples
        {
            let bytes = shard.read(offset, len, &halt);
            assert_eq!(
                bytes.unwrap().len() as u64,
                len,
                "what is listed lies inside the archive"
            );
            assert!(
                !name.starts_with('/') && name.split('/').all(|part| part != ".."),
                "{name}"
            );
        }
    }
    assert!(
        (rounds / 20..rounds).contains(&read),
        "{read} of {rounds} were still archives"
    );
}
