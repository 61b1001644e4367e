//! Indices in the cache and beside shards: used while they fit, and believed no further than a scan.

use super::*;
use crate::source::shards::index::{SEAL, blank_seal, seal};

#[test]
fn an_index_is_kept_and_made_anew_when_the_shard_changes() {
    let (folder, path) = shard(&archive(&[file("1.jpg", b"x")]));
    let cache = folder.path().join("cache");
    let names = || -> Vec<String> {
        let table = table_of(&[&path], Some(&cache)).unwrap();
        table.rows.iter().map(|row| row.name.clone()).collect()
    };
    assert_eq!(names(), ["1.jpg"]);
    let index = std::fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&index).unwrap();

    // It is used: what it says is believed while its hash and the shard's size and time fit.
    let (_, json) = text.split_once('\n').unwrap();
    let json = json.replace("1.jpg", "9.jpg");
    std::fs::write(
        &index,
        format!("{:016x}\n{json}", fcmae_random::hash64(json.as_bytes())),
    )
    .unwrap();
    assert_eq!(names(), ["9.jpg"]);

    // One changed byte, or half of it, and it is not.
    std::fs::write(&index, text.replace("1.jpg", "8.jpg")).unwrap();
    assert_eq!(names(), ["1.jpg"]);
    std::fs::write(&index, &text[..text.len() / 2]).unwrap();
    assert_eq!(names(), ["1.jpg"]);

    // Neither is that of an archive which has another size now.
    std::fs::write(&path, archive(&[file("1.jpg", b"x"), file("2.jpg", b"y")])).unwrap();
    assert_eq!(names(), ["1.jpg", "2.jpg"]);
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1, "no litter");

    // A cache that cannot be is done without.
    let nowhere = path.join("cache");
    assert_eq!(table_of(&[&path], Some(&nowhere)).unwrap().rows.len(), 2);
}

/// A sealed shard of three images with its index beside it, as `change` leaves the index.
fn indexed_shard(change: impl Fn(&str) -> String) -> (TempDir, PathBuf) {
    let three = archive(&[file("1.jpg", b"x"), file("2.jpg", b"yy"), file("3.jpg", b"zzz")]);
    let (folder, path) = shard(&[blank_seal(), three].concat());
    lay_beside(&path).unwrap();
    let text = std::fs::read_to_string(path.with_extension(BESIDE)).unwrap();
    let json = change(text.split_once('\n').unwrap().1);
    let hash = format!("{:016x}", fcmae_random::hash64(json.as_bytes()));
    std::fs::write(path.with_extension(BESIDE), format!("{hash}\n{json}")).unwrap();
    let archive = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&seal(&hash), &archive[SEAL as usize..]].concat()).unwrap();
    (folder, path)
}

fn names_in(path: &Path) -> String {
    let table = table_of(&[path], None).unwrap();
    let names: Vec<_> = table.rows.into_iter().map(|row| row.name).collect();
    names.join(" ")
}

#[test]
fn an_index_beside_a_shard_is_used_while_it_is_its_own() {
    let renamed = |json: &str| json.replace("1.jpg", "9.jpg");
    let (_folder, path) = indexed_shard(renamed);
    assert_eq!(names_in(&path), "9.jpg 2.jpg 3.jpg", "it is read, and no header");

    // Not when it is damaged, or the shard has become another one of the same length: whatever the files' times are.
    let index = path.with_extension(BESIDE);
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("9.jpg", "8.jpg")).unwrap();
    assert_eq!(names_in(&path), "1.jpg 2.jpg 3.jpg");
    std::fs::write(&index, &text).unwrap();
    let (_folder, other) = indexed_shard(str::to_owned);
    std::fs::copy(other, &path).unwrap();
    assert_eq!(names_in(&path), "1.jpg 2.jpg 3.jpg");
    std::fs::write(&path, archive(&[file("1.jpg", &[1; 2100]), file("4.jpg", b"z")])).unwrap();
    assert_eq!(names_in(&path), "1.jpg 4.jpg", "an archive that is not sealed");
}

#[test]
fn an_index_beside_a_shard_may_say_nothing_that_a_scan_would_not() {
    for (from, to) in [
        ("1.jpg", "../1.jpg"),
        ("1.jpg", "/1.jpg"),
        ("1.jpg", "a\\n.jpg"),
        ("\"offset\":1536", "\"offset\":18446744073709551615"),
        ("\"offset\":1536", "\"offset\":9999999"),
        (
            "\"offset\":1536,\"len\":1",
            "\"offset\":1536,\"len\":18446744073709551615",
        ),
        ("\"len\":3", "\"len\":4"),
        ("\"format\":2", "\"format\":1"),
        ("\"bytes\":", "\"bytes\":1"),
        ("\"stamp\":\"\"", "\"stamp\":\"1\""),
    ] {
        let changed = |json: &str| {
            assert!(json.contains(from), "{from}: {json}");
            json.replace(from, to)
        };
        let (_folder, path) = indexed_shard(changed);
        assert_eq!(names_in(&path), "1.jpg 2.jpg 3.jpg", "{to}");
    }
}
