//! The checkpoints of a run: kills, damage, pruning, refused writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fcmae_checkpoint::{
    CheckpointError, CheckpointFolder, Metadata, ReadOptions, TensorData, Tensors, find_weights_file,
    read_json, verify,
};

fn tensors(step: u64) -> Tensors {
    [(
        "w".to_owned(),
        TensorData::from_f32(vec![256], &[step as f32; 256]).unwrap(),
    )]
    .into()
}

fn save(folder: &CheckpointFolder, step: u64) -> Result<PathBuf, CheckpointError> {
    let staging = folder.begin(step)?;
    staging.write_tensors("model.safetensors", &tensors(step), &Metadata::new())?;
    staging.write_json("state.json", &step)?;
    staging.commit()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn steps(folder: &CheckpointFolder) -> Vec<u64> {
    folder.list().unwrap().iter().map(|c| c.step).collect()
}

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_commit_is_complete_and_last_points_at_it() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path().join("run/checkpoints"), 3).unwrap();
    assert_eq!(folder.latest_valid().unwrap(), None);
    let path = save(&folder, 1234).unwrap();
    assert_eq!(path, folder.root().join("step-00001234"));
    assert_eq!(names(&path), ["checksums", "model.safetensors", "state.json"]);
    assert_eq!(names(folder.root()), ["last", "step-00001234"]);
    assert_eq!(
        read_json::<u64>(folder.root().join("last/state.json")).unwrap(),
        1234
    );
    assert_eq!(folder.latest().unwrap(), Some(path.clone()));
    let valid = folder.latest_valid().unwrap().unwrap();
    assert_eq!((valid.step, valid.path, valid.warnings.len()), (1234, path, 0));
}

/// `cp -rL` and `scp -r` leave a folder in the place of the link.
#[test]
fn a_copy_that_followed_links_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 3).unwrap();
    save(&folder, 5).unwrap();
    fs::remove_file(root.path().join("last")).unwrap();
    fs::create_dir(root.path().join("last")).unwrap();
    fs::write(root.path().join("last/model.safetensors"), "a copy").unwrap();
    save(&folder, 10).unwrap();
    assert_eq!(
        fs::read_link(root.path().join("last")).unwrap(),
        Path::new("step-00000010")
    );
    let aside = names(root.path())
        .into_iter()
        .find(|name| name.starts_with("last.copied"));
    assert!(
        root.path()
            .join(aside.unwrap())
            .join("model.safetensors")
            .exists()
    );
    assert_eq!(steps(&folder), [5, 10]);
}

#[test]
fn the_newest_few_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 2).unwrap();
    for step in [5, 10, 123_456_789, 1_000_000_000] {
        save(&folder, step).unwrap();
    }
    assert_eq!(steps(&folder), [123_456_789, 1_000_000_000]);
    assert_eq!(
        fs::read_link(root.path().join("last")).unwrap(),
        Path::new("step-1000000000")
    );

    let all = CheckpointFolder::open(root.path(), 0).unwrap();
    save(&all, 2_000_000_000).unwrap();
    assert_eq!(steps(&all).len(), 3);
}

#[test]
fn an_abandoned_checkpoint_is_never_seen() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 2).unwrap();
    save(&folder, 1).unwrap();

    // An error on the way: the staging folder is dropped.
    let staging = folder.begin(2).unwrap();
    staging.write_json("state.json", &2).unwrap();
    drop(staging);
    assert_eq!(names(root.path()), ["last", "step-00000001"]);

    // A kill: nothing runs any more. The next start cleans up.
    let staging = folder.begin(3).unwrap();
    staging.write_json("state.json", &3).unwrap();
    std::mem::forget(staging);
    assert_eq!(names(root.path()).len(), 3);
    assert_eq!(folder.latest_valid().unwrap().unwrap().step, 1);
    let folder = CheckpointFolder::open(root.path(), 2).unwrap();
    assert_eq!(names(root.path()), ["last", "step-00000001"]);
    assert_eq!(steps(&folder), [1]);
}

#[test]
fn kills_inside_renames_and_removals_are_mended() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let folder = CheckpointFolder::open(root.path(), 0).unwrap();
    (1..=3).for_each(|step| drop(save(&folder, step).unwrap()));

    // Killed while step 3 was set aside for its replacement, while step 1 was removed, and while `last` was moved.
    fs::rename(path("step-00000003"), path(".replaced-step-00000003")).unwrap();
    fs::rename(path("step-00000001"), path(".removed-step-00000001")).unwrap();
    fs::remove_file(path(".removed-step-00000001/state.json")).unwrap();
    fs::write(path(".last-99"), "").unwrap();
    let folder = CheckpointFolder::open(root.path(), 0).unwrap();
    assert_eq!(steps(&folder), [2, 3]);
    assert_eq!(names(root.path()), ["last", "step-00000002", "step-00000003"]);
    assert_eq!(folder.latest_valid().unwrap().unwrap().step, 3);

    // Killed after the replacement arrived: the old one goes.
    fs::create_dir(path(".replaced-step-00000003")).unwrap();
    CheckpointFolder::open(root.path(), 0).unwrap();
    assert!(!path(".replaced-step-00000003").exists());
}

/// Killed after the new checkpoint arrived, before `last` was moved and the oldest one removed.
#[test]
fn kills_at_the_end_of_a_commit_are_mended() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 2).unwrap();
    let all = CheckpointFolder::open(root.path(), 0).unwrap();
    (1..=3).for_each(|step| drop(save(&all, step).unwrap()));
    let last = root.path().join("last");
    fs::remove_file(&last).unwrap();
    std::os::unix::fs::symlink("step-00000002", &last).unwrap();
    let newest = folder.latest_valid().unwrap().unwrap().step;
    folder.settle(newest).unwrap();
    assert_eq!(names(root.path()), ["last", "step-00000002", "step-00000003"]);
    assert_eq!(fs::read_link(&last).unwrap(), Path::new("step-00000003"));
}

#[test]
fn a_step_can_be_written_again() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 2).unwrap();
    let path = save(&folder, 7).unwrap();
    flip_a_byte(&path.join("model.safetensors"));
    save(&folder, 7).unwrap();
    verify(&path).unwrap();
    assert_eq!(names(root.path()), ["last", "step-00000007"]);
}

#[test]
fn damage_falls_back_with_a_warning() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 3).unwrap();
    let paths: Vec<PathBuf> = (1..=3).map(|step| save(&folder, step).unwrap()).collect();

    flip_a_byte(&paths[2].join("model.safetensors"));
    let valid = folder.latest_valid().unwrap().unwrap();
    assert_eq!(valid.step, 2);
    assert_eq!(valid.warnings.len(), 1);
    assert!(
        valid.warnings[0].contains("step-00000003/model.safetensors: the file is damaged"),
        "{valid:?}"
    );
    assert!(
        valid.warnings[0].ends_with("going back to the checkpoint of step 2"),
        "{valid:?}"
    );

    // Training goes on from step 2: the damaged later checkpoint must not push out the good ones.
    let narrow = CheckpointFolder::open(root.path(), 1).unwrap();
    flip_a_byte(&paths[1].join("state.json"));
    assert_eq!(narrow.latest_valid().unwrap().unwrap().step, 1);
    save(&narrow, 2).unwrap();
    assert_eq!(steps(&narrow), [2, 3]);
    assert_eq!(narrow.latest_valid().unwrap().unwrap().step, 2);

    fs::remove_file(paths[1].join("state.json")).unwrap();
    let error = narrow.latest_valid().unwrap_err();
    assert!(matches!(error, CheckpointError::NoneValid { count: 2, .. }));
    assert!(
        error
            .to_string()
            .contains("none of the 2 checkpoints can be used; the newest: "),
        "{error}"
    );
}

/// A list that is lost must not make a run begin anew in the place of its checkpoints.
#[test]
fn a_checkpoint_without_its_list_is_damaged_and_not_absent() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 3).unwrap();
    let paths: Vec<PathBuf> = (1..=2).map(|step| save(&folder, step).unwrap()).collect();
    fs::remove_file(paths[1].join("checksums")).unwrap();
    let valid = folder.latest_valid().unwrap().unwrap();
    assert_eq!(valid.step, 1);
    assert!(
        valid.warnings[0].contains("step-00000002/checksums: there is no such file"),
        "{valid:?}"
    );
    let error = find_weights_file(root.path(), &ReadOptions::default()).unwrap_err();
    assert!(error.to_string().contains("step-00000002/checksums"), "{error}");

    fs::remove_file(paths[0].join("checksums")).unwrap();
    let error = folder.latest_valid().unwrap_err();
    assert!(matches!(error, CheckpointError::NoneValid { count: 2, .. }));
    fs::remove_dir_all(&paths[0]).unwrap();
    fs::remove_file(paths[1].join("state.json")).unwrap();
    fs::remove_file(paths[1].join("model.safetensors")).unwrap();
    let error = folder.latest_valid().unwrap_err();
    assert!(matches!(error, CheckpointError::NoneValid { count: 1, .. }));
}

#[test]
fn every_damage_of_every_file_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let folder = CheckpointFolder::open(root.path(), 1).unwrap();
    let path = save(&folder, 1).unwrap();
    for name in names(&path) {
        let file = path.join(&name);
        let good = fs::read(&file).unwrap();
        for length in (0..good.len()).step_by(7) {
            fs::write(&file, &good[..length]).unwrap();
            assert!(verify(&path).is_err(), "{name} cut to {length}");
        }
        for place in (0..good.len()).step_by(5) {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert!(verify(&path).is_err(), "{name} changed at {place}");
        }
        fs::write(&file, &good).unwrap();
        verify(&path).unwrap();
    }
}

#[test]
fn other_things_in_the_folder_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    for name in ["step-abc", "step-", "mine", ".hidden"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    fs::write(root.path().join("step-00000009"), "no folder").unwrap();
    let folder = CheckpointFolder::open(root.path(), 1).unwrap();
    assert_eq!(steps(&folder), [0_u64; 0]);
    save(&folder, 1).unwrap();
    save(&folder, 2).unwrap();
    assert_eq!(
        names(root.path()),
        [
            ".hidden",
            "last",
            "mine",
            "step-",
            "step-00000002",
            "step-00000009",
            "step-abc"
        ]
    );
}

#[test]
fn looking_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let view = CheckpointFolder::view(root.path().join("none"));
    assert_eq!(view.latest().unwrap(), None);
    assert!(!view.root().exists());
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("occupied");
    fs::write(&file, "").unwrap();
    let error = CheckpointFolder::open(file.join("checkpoints"), 1)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("occupied/checkpoints: cannot be written: "),
        "{error}"
    );
}

/// Set for the second process of the next test: the folder that it shall write into.
const CHILD: &str = "FCMAE_TEST_REFUSED_WRITES";

/// A process whose files may not exceed 16 kB gets a real write error in the middle of a checkpoint, as on a
/// full disk (the limit's signal is ignored, so that `write` fails instead).
#[test]
fn refused_writes_leave_the_previous_checkpoint_intact() {
    if let Some(root) = std::env::var_os(CHILD) {
        return write_beyond_the_limit(Path::new(&root));
    }
    let root = tempfile::tempdir().unwrap();
    save(&CheckpointFolder::open(root.path(), 1).unwrap(), 1).unwrap();
    let script =
        "trap '' XFSZ; ulimit -f 32; exec \"$0\" --exact refused_writes_leave_the_previous_checkpoint_intact";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, root.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(names(root.path()), ["last", "step-00000001"]);
    assert_eq!(
        CheckpointFolder::view(root.path())
            .latest_valid()
            .unwrap()
            .unwrap()
            .step,
        1
    );
}

fn write_beyond_the_limit(root: &Path) {
    let folder = CheckpointFolder::open(root, 1).unwrap();
    let staging = folder.begin(2).unwrap();
    let large = [(
        "w".to_owned(),
        TensorData::from_f32(vec![1 << 20], &vec![0.0; 1 << 20]).unwrap(),
    )]
    .into();
    let error = staging
        .write_tensors("model.safetensors", &large, &Metadata::new())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("model.safetensors: cannot be written: "),
        "{error}"
    );
    assert_eq!(names(staging.path()), [""; 0], "no temporary file is left");
}
