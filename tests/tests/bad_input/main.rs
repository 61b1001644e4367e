//! Bad input: exit code 2, one line that says where, what and what to do, and nothing is written or lost.
//!
//! What the program says to each is in `tests/BAD_INPUT.md`, which these tests compare with; after a change of a message,
//! `UPDATE_EXPECT=1 cargo test -p fcmae-tests --test bad_input` writes it anew.

mod config;
mod enemies;
mod images;
mod labels;
mod runs;
mod table;
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

/// Cases that begin in the same place: a section of the table.
struct Group {
    title: &'static str,
    place: fn() -> Place,
    cases: &'static [Case],
}

/// In the order of the table.
const GROUPS: [&Group; 20] = [
    &config::KEYS_AND_VALUES_OF_A_CONFIG,
    &config::SIZES_AND_MASKS,
    &config::FILES_OF_A_CONFIG,
    &images::FOLDERS_OF_IMAGES,
    &images::A_BROKEN_IMAGE_TO_RECONSTRUCT_IS_NAMED,
    &labels::MANIFESTS,
    &labels::NUMBERS_AS_LABELS,
    &labels::FOLDERS_OF_CLASSES,
    &labels::SETTINGS_OF_FINE_TUNING,
    &runs::PLACES_TO_WRITE,
    &runs::CHECKPOINTS,
    &runs::A_CHANGED_CONFIG_LISTS_WHAT_DIFFERS,
    &weights::WEIGHTS_TO_BEGIN_WITH,
    &weights::WEIGHTS_TO_USE,
    &weights::LABELLED_PICTURES_TO_MEASURE_ON,
    &weights::PLACES_FOR_RESULTS,
    &enemies::ARCHIVES,
    &enemies::NAMES,
    &enemies::FILES_THAT_CLAIM_TOO_MUCH,
    &enemies::FILES_THAT_NEED_NOT_END,
];

const RUN: &[&str] = &["pretrain", "tiny.toml"];

impl Group {
    /// Runs every case in a place of its own: the program refuses, says what the table says, and writes nothing.
    fn check(&self) {
        for case in self.cases {
            let place = (self.place)();
            (case.setup)(&place);
            let before = place.snapshot();
            let ran = place.run(case.args);
            let message = assert_refused(case.what, &ran, case.says);
            assert_eq!(place.snapshot(), before, "{}: nothing is written", case.what);
            table::compare(self, case, message);
        }
    }
}

/// Exit code 2 and one line on stderr, which is given back.
fn assert_refused<'a>(what: &str, ran: &'a Ran, says: &[&str]) -> &'a str {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{what}: {ran:?}");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let [line] = lines[..] else {
        panic!("{what}: not one line: {ran:?}")
    };
    assert!(line.starts_with("error: "), "{what}: {line}");
    assert!(!line.contains(char::is_control), "{what}: {line:?}");
    for part in says {
        assert!(line.contains(part), "{what}: no `{part}` in: {line}");
    }
    line
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
