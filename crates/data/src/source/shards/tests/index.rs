//! Indices in the cache and beside shards: used while they fit, and believed no further than a scan.

use super::*;

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

/// A shard of three images with its index beside it, as `change` leaves the index.
fn indexed_shard(change: impl Fn(&str) -> String) -> (TempDir, PathBuf) {
    let (folder, path) = shard(&archive(&[
        file("1.jpg", b"x"),
        file("2.jpg", b"yy"),
        file("3.jpg", b"zzz"),
    ]));
    lay_beside(&path).unwrap();
    let index = path.with_extension(BESIDE);
    let text = std::fs::read_to_string(&index).unwrap();
    let json = change(text.split_once('\n').unwrap().1);
    std::fs::write(&index, hashed(&json)).unwrap();
    (folder, path)
}

fn hashed(json: &str) -> String {
    format!("{:016x}\n{json}", fcmae_random::hash64(json.as_bytes()))
}

fn names_in(path: &Path) -> String {
    let table = table_of(&[path], None).unwrap();
    let names: Vec<_> = table.rows.into_iter().map(|row| row.name).collect();
    names.join(" ")
}

#[test]
fn an_index_beside_a_shard_is_used_while_it_fits() {
    let renamed = |json: &str| json.replace("1.jpg", "9.jpg");
    let (_folder, path) = indexed_shard(renamed);
    assert_eq!(names_in(&path), "9.jpg 2.jpg 3.jpg", "it is read, and no header");

    // Not when it is damaged, older than the shard, or the shard is another one of the same length.
    let index = path.with_extension(BESIDE);
    let text = std::fs::read_to_string(&index).unwrap();
    std::fs::write(&index, text.replace("9.jpg", "8.jpg")).unwrap();
    assert_eq!(names_in(&path), "1.jpg 2.jpg 3.jpg");
    let (_folder, path) = indexed_shard(renamed);
    let old = std::time::SystemTime::UNIX_EPOCH;
    std::fs::File::options()
        .write(true)
        .open(path.with_extension(BESIDE))
        .and_then(|index| index.set_modified(old))
        .unwrap();
    assert_eq!(names_in(&path), "1.jpg 2.jpg 3.jpg");
    let (folder, path) = indexed_shard(renamed);
    let other = archive(&[file("1.jpg", &[1; 1100]), file("4.jpg", b"z")]);
    std::fs::write(folder.path().join("other"), &other).unwrap();
    assert_eq!(other.len() as u64, std::fs::metadata(&path).unwrap().len());
    std::fs::write(&path, other).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|shard| shard.set_modified(old))
        .unwrap();
    assert_eq!(names_in(&path), "1.jpg 4.jpg");
}

#[test]
fn an_index_beside_a_shard_may_say_nothing_that_a_scan_would_not() {
    for (from, to) in [
        ("1.jpg", "../1.jpg"),
        ("1.jpg", "/1.jpg"),
        ("1.jpg", "a\\n.jpg"),
        ("\"offset\":512", "\"offset\":18446744073709551615"),
        ("\"offset\":512", "\"offset\":9999999"),
        (
            "\"offset\":512,\"len\":1",
            "\"offset\":512,\"len\":18446744073709551615",
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
