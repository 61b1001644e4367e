//! Bad input: exit code 2, one line that says where, what and what to do, and nothing is written or lost.

mod config;
mod images;
mod labels;
mod runs;
mod weights;

use fcmae_tests::{Place, Ran, TINY};

/// Something that is wrong, and what the program says to it.
struct Case {
    what: &'static str,
    /// Makes it wrong.
    setup: fn(&Place),
    args: &'static [&'static str],
    /// Parts of the message.
    says: &'static [&'static str],
}

const RUN: &[&str] = &["pretrain", "tiny.toml"];

/// Runs every case in a place of its own.
fn check(cases: &[Case]) {
    check_in(Place::new, cases);
}

/// Runs every case in a place of its own that `make` makes.
fn check_in(make: fn() -> Place, cases: &[Case]) {
    for case in cases {
        let place = make();
        (case.setup)(&place);
        refuse(&place, case.what, case.args, case.says);
    }
}

/// Runs the program, which refuses and writes nothing.
fn refuse(place: &Place, what: &str, args: &[&str], says: &[&str]) {
    let before = place.snapshot();
    assert_refused(what, &place.run(args), says);
    assert_eq!(place.snapshot(), before, "{what}: nothing is written");
}

/// Exit code 2 and one line on stderr.
fn assert_refused(what: &str, ran: &Ran, says: &[&str]) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{what}: {ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [line] = lines[..] else {
        panic!("{what}: not one line: {ran:?}")
    };
    assert!(line.starts_with("error: "), "{what}: {line}");
    for part in says {
        assert!(line.contains(part), "{what}: no `{part}` in: {line}");
    }
}

/// Replaces a piece of the tiny config.
fn edit(place: &Place, from: &str, to: &str) {
    assert!(TINY.contains(from), "the tiny config has no `{from}`");
    place.write("tiny.toml", TINY.replace(from, to));
}

fn nothing(_: &Place) {}

fn trained(place: &Place) {
    let _ = place.run(&["pretrain", "tiny.toml", "--quiet"]).ended(0);
}
