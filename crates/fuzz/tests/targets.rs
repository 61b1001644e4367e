//! Every target some thousand times, the same damage on every run; what was found once stays in the tests of the
//! crate that was at fault.

use fcmae_fuzz::{Bench, Outcome, TARGETS};

const EXECUTIONS: u64 = 3000;

fn check(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let bench = Bench::new(target, 0).unwrap();
    let (mut read, mut refused) = (0, 0);
    for number in 0..EXECUTIONS {
        let bytes = bench.input(number);
        match bench.execute(&bytes, number) {
            Ok(Outcome::Read) => read += 1,
            Ok(Outcome::Refused) => refused += 1,
            Err(problem) => {
                panic!("execution {number}: {problem}; see it by `cargo xtask fuzz --target {name}`")
            }
        }
    }
    // else the damage is too little, or too much to get past the first check
    assert!(
        read > EXECUTIONS / 50 && refused > EXECUTIONS / 50,
        "{read} read, {refused} refused"
    );
}

#[test]
fn good_files_are_read() {
    for target in &TARGETS {
        let bench = Bench::new(target, 0).unwrap();
        let outcomes: Vec<_> = (0..bench.goods())
            .map(|at| bench.execute(&bench.good(at), 1))
            .collect();
        let read = outcomes
            .iter()
            .filter(|outcome| **outcome == Ok(Outcome::Read))
            .count();
        assert!(read * 2 > outcomes.len(), "{}: {outcomes:?}", target.name);
        assert!(
            outcomes.iter().all(Result::is_ok),
            "{}: {outcomes:?}",
            target.name
        );
    }
}

#[test]
fn torch_archives() {
    check("torch-zip");
}

#[test]
fn torch_pickles() {
    check("torch-legacy");
}

#[test]
fn safetensors() {
    check("safetensors");
}

#[test]
fn shards() {
    check("shards");
}

#[test]
fn indexes_of_shards() {
    check("shard-index");
}

#[test]
fn manifests() {
    check("manifest");
}

#[test]
fn configs() {
    check("config");
}

#[test]
fn images() {
    check("images");
}
