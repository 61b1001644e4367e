//! Every message a bad configuration can lead to, word for word.

use std::fs;
use std::path::Path;

use fcmae_config::{ConfigError, from_str, load};
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    name: String,
    seed: u64,
    optimizer: Optimizer,
    data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Optimizer {
    lr: Option<f64>,
    betas: [f64; 2],
    decay_grn: bool,
    kind: Kind,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Adamw,
    Lamb,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Data {
    path: Option<std::path::PathBuf>,
    mean: Vec<f32>,
    workers: u32,
    batch_size: u8,
}

/// The message of a text and overrides.
fn message(text: &str, overrides: &[&str]) -> String {
    let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
    from_str(text, &overrides)
        .and_then(|config| config.parse::<Run>())
        .unwrap_err()
        .to_string()
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(message(text, &[]), expected);
}

#[track_caller]
fn check_set(argument: &str, expected: &str) {
    assert_eq!(
        message("name = \"a\"\n[optimizer]\nlr = 1", &[argument]),
        expected
    );
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    check(
        "\n[optimizer]\ndecay_gnr = true",
        "line 3 of the configuration: unknown key `optimizer.decay_gnr`; did you mean `optimizer.decay_grn`?",
    );
    check(
        "optimiser.lr = 1",
        "line 1 of the configuration: unknown key `optimiser.lr`; did you mean `optimizer.lr`?",
    );
    check(
        "[optimiser]\nlr = 1\nkind = \"lamb\"",
        "line 1 of the configuration: unknown key `optimiser`; did you mean `optimizer`?",
    );
    check(
        "[data]\ncolour = 1",
        "line 2 of the configuration: unknown key `data.colour`; the keys here are `path`, `mean`, `workers`, `batch_size`",
    );
    check(
        "sed = 1",
        "line 1 of the configuration: unknown key `sed`; did you mean `seed`?",
    );
    check_set(
        "optimizer.beta=[1, 2]",
        "--set optimizer.beta=[1, 2]: unknown key `optimizer.beta`; did you mean `optimizer.betas`?",
    );
    check_set(
        "optimiser.lr=2",
        "--set optimiser.lr=2: unknown key `optimiser.lr`; did you mean `optimizer.lr`?",
    );
}

#[test]
fn wrong_types_say_what_is_expected() {
    check(
        "seed = \"x\"",
        "line 1 of the configuration: `seed` = \"x\": expected an integer of 0 or more, got a string",
    );
    check(
        "seed = -1",
        "line 1 of the configuration: `seed` = -1: expected an integer of 0 or more",
    );
    check(
        "seed = 1.5",
        "line 1 of the configuration: `seed` = 1.5: expected an integer of 0 or more, got a number with a fraction",
    );
    check(
        "[data]\nbatch_size = 256",
        "line 2 of the configuration: `data.batch_size` = 256: expected an integer from 0 to 255",
    );
    check(
        "[data]\nworkers = -1",
        "line 2 of the configuration: `data.workers` = -1: expected an integer from 0 to 4294967295",
    );
    check(
        "optimizer.lr = \"fast\"",
        "line 1 of the configuration: `optimizer.lr` = \"fast\": expected a number, got a string",
    );
    check(
        "optimizer.decay_grn = 1",
        "line 1 of the configuration: `optimizer.decay_grn` = 1: expected true or false, got an integer",
    );
    check(
        "name = true",
        "line 1 of the configuration: `name` = true: expected a string, got a boolean",
    );
    check(
        "data.path = 3",
        "line 1 of the configuration: `data.path` = 3: expected a string, got an integer",
    );
    check(
        "optimizer = 3",
        "line 1 of the configuration: `optimizer` = 3: expected a section, got an integer",
    );
    check(
        "[seed]\nlr = 1\nx = 2",
        "line 1 of the configuration: `seed` = {lr, x}: expected an integer of 0 or more, got a section",
    );
}

#[test]
fn lists_name_the_element() {
    check(
        "optimizer.betas = [0.9]",
        "line 1 of the configuration: `optimizer.betas` = [0.9]: expected a list of 2 values, got 1",
    );
    check(
        "optimizer.betas = 0.9",
        "line 1 of the configuration: `optimizer.betas` = 0.9: expected a list of 2 values, got a number with a fraction",
    );
    check(
        "[data]\nmean = [\n0.5,\n\"x\"]",
        "line 2 of the configuration: `data.mean[1]` = [0.5, \"x\"]: expected a number",
    );
    check(
        "optimizer.betas = [1, 2, 3]",
        "line 1 of the configuration: `optimizer.betas` = [1, 2, 3]: expected fewer values, got 3",
    );
}

#[test]
fn variants_suggest_the_nearest() {
    check(
        "optimizer.kind = \"adam\"",
        "line 1 of the configuration: `optimizer.kind` = \"adam\": expected one of `adamw`, `lamb`; did you mean \"adamw\"?",
    );
    check(
        "optimizer.kind = \"sgd\"",
        "line 1 of the configuration: `optimizer.kind` = \"sgd\": expected one of `adamw`, `lamb`",
    );
}

#[test]
fn long_values_are_cut() {
    let got = message(&format!("seed = \"{}\"", "ä".repeat(100)), &[]);
    assert!(
        got.contains(&format!("`seed` = \"{}…: expected", "ä".repeat(59))),
        "{got}"
    );
}

#[test]
fn missing_keys_are_named_in_full() {
    #[derive(Debug, Deserialize)]
    struct Strict {
        #[serde(rename = "model")]
        _model: Model,
    }
    #[derive(Debug, Deserialize)]
    struct Model {
        #[serde(rename = "depths")]
        _depths: Vec<u32>,
    }
    let error = from_str("[model]", &[]).unwrap().parse::<Strict>().unwrap_err();
    assert!(matches!(error, ConfigError::MissingKey { .. }));
    assert_eq!(
        error.to_string(),
        "the configuration: the key `model.depths` is missing"
    );
}

#[test]
fn overrides_say_which_they_are() {
    check_set(
        "optimizer.lr=fast",
        "--set optimizer.lr=fast: `optimizer.lr` = \"fast\": expected a number, got a string",
    );
    check_set(
        "name=2024",
        "--set name=2024: `name` = 2024: expected a string, got an integer; to make it one: --set 'name=\"2024\"'",
    );
    check_set(
        "optimizer.lr",
        "--set optimizer.lr: there is no `=`; write --set key.path=value",
    );
    check_set("=3", "--set =3: `` is not a key; write --set key.path=value");
    check_set(
        "a..b=3",
        "--set a..b=3: `a..b` is not a key; write --set key.path=value",
    );
    check_set(
        "a b=3",
        "--set a b=3: `a b` is not a key; write --set key.path=value",
    );
    check_set(
        "name.x=3",
        "--set name.x=3: `name` is no section but \"a\" (line 1 of the configuration), so `name.x` cannot be set in it",
    );
    check_set(
        "optimizer.lr.x.y=3",
        "--set optimizer.lr.x.y=3: `optimizer.lr` is no section but 1 (line 3 of the configuration), so `optimizer.lr.x.y` cannot be set in it",
    );
    check_set(
        "extends=a.toml",
        "--set extends=a.toml: `extends` works in a file only",
    );
    let got = message("", &["optimizer.betas=[0.9"]);
    assert!(
        got.starts_with("--set optimizer.betas=[0.9: the value is not TOML: "),
        "{got}"
    );
}

#[test]
fn syntax_errors_name_the_line() {
    check(
        "seed = 1\nname = \"a\"\nseed = 2",
        "line 3 of the configuration: the key `seed` is given twice",
    );
    check(
        "[data]\n[optimizer]\n[data]",
        "line 3 of the configuration: the key `data` is given twice",
    );
    for (text, line) in [
        ("a = 1\nb = \n", 2),
        ("x = [1,\n2\n\ny = 3", 4),
        ("a = 1\n\n\"unclosed", 3),
        ("= 3", 1),
    ] {
        let got = message(text, &[]);
        assert!(
            got.starts_with(&format!("line {line} of the configuration: not TOML: ")),
            "{text:?}: {got}"
        );
        assert!(!got.contains('\n'));
    }
    check(
        "extends = \"a.toml\"",
        "line 1 of the configuration: `extends` works in a file only",
    );
}

/// Writes files into a folder and gives the message of loading the first, with the folder's name removed.
fn message_of_files(files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    let first = folder.path().join(files[0].0);
    let error = load(first, &[])
        .and_then(|config| config.parse::<Run>())
        .unwrap_err();
    error
        .to_string()
        .replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn files_are_named_with_their_lines() {
    assert_eq!(
        message_of_files(&[
            ("runs/a.toml", "extends = \"../base/b.toml\"\nname = \"a\""),
            ("base/b.toml", "# a comment\n\n[optimizer]\nlr = \"slow\"\n"),
        ]),
        "base/b.toml:4: `optimizer.lr` = \"slow\": expected a number, got a string"
    );
    assert_eq!(
        message_of_files(&[
            ("a.toml", "extends = [\"b.toml\"]"),
            ("b.toml", "[data]\nx = 1\n[data]\n")
        ]),
        "b.toml:3: the key `data` is given twice"
    );
    assert_eq!(
        message_of_files(&[
            ("a.toml", "extends = \"b.toml\"\n[data]\nwrokers = 2\n"),
            ("b.toml", "[data]\nworkers = 1")
        ]),
        "a.toml:3: unknown key `data.wrokers`; did you mean `data.workers`?"
    );
}

#[test]
fn bad_extends_name_the_line_that_has_them() {
    assert_eq!(
        message_of_files(&[("x/a.toml", "\nextends = \"../y/atto.toml\""), ("y/ato.toml", "")]),
        "x/a.toml:2: `extends` names y/atto.toml, which cannot be read: No such file or directory (os error 2); \
         did you mean y/ato.toml?"
    );
    assert_eq!(
        message_of_files(&[
            ("a.toml", "extends = \"b.toml\""),
            ("b.toml", "# no key\nextends = \"c/../c.toml\""),
            ("c.toml", "extends = \"b.toml\""),
            ("c/x", ""),
        ]),
        "c.toml:1: `extends` goes in a circle: b.toml → c.toml → b.toml"
    );
    assert_eq!(
        message_of_files(&[("a.toml", "extends = \"a.toml\"")]),
        "a.toml:1: `extends` goes in a circle: a.toml → a.toml"
    );
    assert_eq!(
        message_of_files(&[("a.toml", "extends = [1, \"b.toml\"]")]),
        "a.toml:1: `extends` must be a file name or a list of file names, got [1, \"b.toml\"]"
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("quickstart.toml"), "").unwrap();
    let message = |name: &str| load(folder.path().join(name), &[]).unwrap_err().to_string();
    let got = message("quickstrt.toml");
    assert!(
        got.contains("quickstrt.toml: cannot be read: No such file"),
        "{got}"
    );
    assert!(got.ends_with("quickstart.toml?"), "{got}");
    assert!(!message("nothing-alike.toml").contains("did you mean"));
    assert!(
        load(Path::new("/"), &[])
            .unwrap_err()
            .to_string()
            .starts_with("/: cannot be read: ")
    );
    fs::write(folder.path().join("latin.toml"), b"name = \"\xe4\"").unwrap();
    assert!(message("latin.toml").contains("latin.toml: cannot be read: "));
}

#[test]
fn what_need_not_end_is_no_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, "extends = \"/dev/zero\"\n").unwrap();
    let message = load(&file, &[]).unwrap_err().to_string();
    assert!(
        message.contains("run.toml:1: `extends` names /dev/zero, which cannot be read: it is no plain file"),
        "{message}"
    );
    let long = fs::File::create(&file).unwrap();
    long.set_len((16 << 20) + 1).unwrap();
    let message = load(&file, &[]).unwrap_err().to_string();
    assert!(
        message.ends_with("run.toml: cannot be read: it has 16777217 bytes; a config has at most 16777216"),
        "{message}"
    );
}
