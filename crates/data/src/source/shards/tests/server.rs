//! Shards behind a server that fails.

use std::time::Duration;

use super::*;
use crate::source::shards::index::blank_seal;
use crate::storage::Retry;
use crate::storage::testing::{Mood, Server};

fn patient(attempts: u32) -> Client {
    Client::new(Retry {
        attempts,
        pause: Duration::from_millis(1),
        timeout: Duration::from_millis(300),
    })
}

#[test]
fn a_server_that_fails_now_and_then_serves_the_same_shard() {
    let bytes = archive(&[
        file("1.jpg", b"one"),
        file("1.cls", b"4"),
        file("2.png", &[9; 3000]),
    ]);
    let moods = vec![
        Mood::Error,
        Mood::Good,
        Mood::Cut,
        Mood::Stall,
        Mood::Good,
        Mood::HangUp,
        Mood::Error,
    ];
    let server = Server::start(bytes.clone(), moods);
    let cache = tempfile::tempdir().unwrap();
    let open = || {
        open(
            Path::new("x"),
            &[server.url()],
            &patient(3),
            Some(&cache_at(cache.path())),
        )
        .unwrap()
    };
    let table = open();
    let (_folder, path) = shard(&bytes);
    let local = table_of(&[&path], None).unwrap();
    assert_eq!(table.rows.len(), 2);
    for (far, near) in table.rows.iter().zip(&local.rows) {
        assert_eq!((&far.name, &far.cells), (&near.name, &near.cells));
        assert_eq!(far.location.read().unwrap(), near.location.read().unwrap());
    }
    // The second time one request tells that nothing has changed.
    let before = server.requests();
    open();
    assert_eq!(server.requests(), before + 1);
}

#[test]
fn a_server_that_tells_no_version_is_read_anew_each_time() {
    let cache = tempfile::tempdir().unwrap();
    let bytes = archive(&[file("1.jpg", b"one")]);
    let server = Server::start(bytes, vec![Mood::Unversioned; 10]);
    let requests = || {
        let before = server.requests();
        let cache = cache_at(cache.path());
        open(Path::new("x"), &[server.url()], &patient(1), Some(&cache)).unwrap();
        server.requests() - before
    };
    assert_eq!(requests(), requests());
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_stays_broken_is_one_clear_error() {
    let bytes = archive(&[file("1.jpg", b"one")]);
    let server = Server::start(bytes, vec![Mood::Good, Mood::Error, Mood::Error]);
    let error = open(Path::new("x"), &[server.url()], &patient(2), None)
        .err()
        .unwrap();
    let expected = format!(
        "{}: the server answers 500 Internal Server Error; gave up after 2 attempt(s) (`data.http_attempts`)",
        server.url()
    );
    assert_eq!(error.to_string(), expected);
}

/// Of shards behind a server that stalls, no more are waited for than are asked for at the same time.
#[test]
fn a_server_that_stalls_is_waited_for_once() {
    let server = Server::start(archive(&[file("1.jpg", b"one")]), vec![Mood::Stall; 1000]);
    let urls: Vec<String> = (0..200).map(|i| format!("{}?{i}", server.url())).collect();
    let error = open(Path::new("x"), &urls, &patient(1), None).err().unwrap();
    assert!(matches!(error, DataError::Fetch { .. }), "{error}");
    assert!(server.requests() <= AT_ONCE, "{}", server.requests());
}

/// Behind HTTP a window of 256 KiB is read for each header that lies in none before it; with an index beside the shard its
/// head is all.
#[test]
fn an_index_beside_a_shard_saves_its_headers() {
    let images: Vec<_> = (0..6).map(|i| file(&format!("{i}.jpg"), &[i; 300_000])).collect();
    let (_folder, path) = shard(&[blank_seal(), archive(&images)].concat());
    let blank = std::fs::read(&path).unwrap();
    lay_beside(&path).unwrap();
    let sealed = std::fs::read(&path).unwrap();
    let index = std::fs::read(path.with_extension(BESIDE)).unwrap();
    let listed = |shard: &[u8], index: Option<&Vec<u8>>| {
        let server = Server::start_with_index(shard.to_vec(), index.cloned(), vec![Mood::Good; 100]);
        let table = open(Path::new("x"), &[server.url()], &patient(1), None).unwrap();
        let names: Vec<String> = table.rows.into_iter().map(|row| row.name).collect();
        (names, server.requests())
    };
    let (names, with_index) = listed(&sealed, Some(&index));
    assert_eq!(with_index, 2, "its length, and its head");
    let (scanned, requests) = listed(&sealed, None);
    assert_eq!((&scanned, requests > 7), (&names, true));
    // A shard that does not say that the index is its own is looked through.
    let (scanned, requests) = listed(&blank, Some(&index));
    assert_eq!((&scanned, requests > 7), (&names, true));
}
