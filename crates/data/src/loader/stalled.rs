//! A loader whose images lie behind a server that stalls.

use std::cell::Cell;

use super::*;
use crate::config::{DataConfig, OnError};
use crate::dataset::listed;
use crate::storage::testing::{Mood, Server};
use crate::storage::{Client, Halt, Location, Retry, Shard};
use crate::transform::Transform;

/// Eight images of a shard, in batches of four on one worker; the server tells the shard's length, and no more.
fn stalled(timeout: Duration, on_error: OnError) -> (Server, Loader) {
    let server = Server::start(vec![0; 100], [vec![Mood::Good], vec![Mood::Stall; 100]].concat());
    let client = Client::new(Retry::new(1, timeout));
    let shard = Shard::open(&server.url(), &client, &Halt::default()).unwrap();
    let mut dataset = listed(&[(None, 8)]);
    dataset.set_location(&Location::member(&Arc::new(shard), "1.png", 0, 100));
    let config = DataConfig::default();
    let options = LoaderOptions {
        workers: 1,
        on_error,
        ..LoaderOptions::new(&config, Transform::eval([8, 8]), 4, 7)
    };
    let loader = Loader::new(Arc::new(dataset), options, Position::default()).unwrap();
    (server, loader)
}

const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn a_server_that_stays_away_is_waited_for_by_one_image() {
    for on_error in [OnError::Error, OnError::Skip] {
        let (server, mut loader) = stalled(Duration::from_secs(1), on_error);
        let error = loader.next().unwrap().unwrap_err();
        assert!(
            matches!(&error, DataError::Fetch { url, .. } if *url == server.url()),
            "{error}"
        );
        assert!(loader.next().is_none());
        assert_eq!(server.requests(), 2, "that for the length, and one more");
    }
}

#[test]
fn nobody_has_to_wait_for_a_batch_that_does_not_come() {
    let (_server, mut loader) = stalled(NEVER, OnError::Error);
    let stopped = loader.next_unless(|| true).unwrap();
    assert!(matches!(stopped, Err(DataError::Stopped)));
    let looks = Cell::new(0);
    let mut batches = loader.unless(|| looks.replace(looks.get() + 1) == 2);
    assert!(matches!(batches.next(), Some(Err(DataError::Stopped))));
    assert_eq!(looks.get(), 3);
}

#[test]
fn a_loader_is_dropped_while_a_server_stalls() {
    let (server, loader) = stalled(NEVER, OnError::Error);
    while server.requests() < 2 {
        std::thread::yield_now();
    }
    drop(loader); // else this test takes an hour
    assert_eq!(server.requests(), 2);
}
