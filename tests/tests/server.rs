//! Shards behind a server that stalls: a run ends in time, and nothing of it is lost.

#[expect(dead_code, reason = "the server of the unit tests can misbehave in more ways")]
#[path = "../../crates/data/src/storage/testing.rs"]
mod testing;

use fcmae_tests::{Place, Signal};

use testing::{Mood, Server};

/// Requests that are answered before the server stalls: more than the first epoch's steps begin with.
const ANSWERED: usize = 40;

/// The pictures of the place behind a server that stalls `stalls` times. It tells no version: nothing is cached.
fn serve(place: &Place, stalls: usize) -> Server {
    let _ = place.run(&["data", "pack", "images", "shards"]).ended(0);
    let moods = [
        vec![Mood::Unversioned; ANSWERED],
        vec![Mood::Stall; stalls],
        vec![Mood::Unversioned; 10_000],
    ];
    Server::start(place.read("shards/000000.tar"), moods.concat())
}

fn args(server: &Server, timeout: &str) -> Vec<String> {
    let set = [
        &format!("data.path={}", server.url()),
        &format!("data.http_timeout_s={timeout}"),
        "data.http_attempts=1",
    ];
    let set = set.iter().flat_map(|set| ["--set", set]);
    let args = ["pretrain", "tiny.toml", "--json", "--quiet"]
        .into_iter()
        .chain(set);
    args.map(str::to_owned).collect()
}

/// SIGTERM does not wait for the server, which has an hour to answer.
#[test]
fn a_run_is_stopped_while_a_server_stalls() {
    let place = Place::new();
    let server = serve(&place, 1000);
    let args = args(&server, "3600");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut running = place.start(&args);
    let is_waiting = || server.requests() > ANSWERED && place.steps("runs/tiny") > 2;
    assert!(running.wait_until(is_waiting));
    running.signal(Signal::TERM);
    let summary = running.finish().ended(75).json();
    assert_eq!(summary["ending"], "stopped", "{summary}");
    assert_eq!(summary["step"], place.steps("runs/tiny"));
}

/// A server that stays away ends the run with one line and a checkpoint; when it is back the same command goes on.
#[test]
fn a_run_goes_on_when_the_server_is_back() {
    let place = Place::new();
    let server = serve(&place, 1);
    let args = args(&server, "5");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let ran = place.run(&args).ended(1);
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
    let step = place.steps("runs/tiny");
    let expected = format!(
        "error: the run stops after step {step}, which is saved: {}: timeout",
        server.url()
    );
    assert!(ran.stderr.starts_with(&expected), "{expected}: {ran:?}");

    assert_eq!(place.run(&args).ended(0).json()["resumed_from"], step);
    let undisturbed = Place::new();
    let _ = undisturbed.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
    assert_eq!(
        place.left("runs/tiny").tensors,
        undisturbed.left("runs/tiny").tensors
    );
}

/// While it looks for its images a run has nothing to save: it ends at the first signal.
#[test]
fn a_run_is_stopped_while_it_lists() {
    let place = Place::new();
    let _ = place.run(&["data", "pack", "images", "shards"]).ended(0);
    let server = Server::start(place.read("shards/000000.tar"), vec![Mood::Stall; 1000]);
    let args = args(&server, "3600");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut running = place.start(&args);
    assert!(running.wait_until(|| server.requests() > 0));
    running.signal(Signal::TERM);
    let ran = running.finish().ended(75);
    assert_eq!(ran.stdout, "");
    assert!(!place.path("runs").exists(), "{ran:?}");
}

/// A server that stays away in the middle ends the predictions: what was told by then is right, and the exit code
/// says that it is not all. Only those pictures wait that had begun to.
#[test]
fn predictions_end_where_the_server_stays_away() {
    let place = Place::new().and_classifier();
    let _ = place.run(&["data", "pack", "images", "shards"]).ended(0);
    let moods = [vec![Mood::Unversioned; 16], vec![Mood::Stall; 1000]];
    let server = Server::start(place.read("shards/000000.tar"), moods.concat());
    let url = server.url();
    let set = [
        "data.http_timeout_s=1",
        "data.http_attempts=1",
        "data.workers=2",
        "data.image_size=32",
        "batch_size=4",
        "device=cpu",
    ];
    let mut args = vec!["predict", "model.pth", &url, "--json"];
    args.extend(set.iter().flat_map(|set| ["--set", set]));
    let ran = place.run(&args).ended(1);
    let expected = format!("error: {url}: timeout");
    assert!(
        ran.stderr.lines().last().unwrap().starts_with(&expected),
        "{ran:?}"
    );
    let told = ran.stdout.lines().count();
    assert!((4..16).contains(&told) && told.is_multiple_of(4), "{told} lines");
    assert!(server.requests() <= 16 + 2, "{} requests", server.requests());
}
