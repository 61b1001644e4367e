//! Checkpoints written beside the training: a step waits for the copy of the tensors, not for the disk.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread::{Builder, JoinHandle};

use anyhow::{Context, Result};
use fcmae_checkpoint::{CheckpointError, CheckpointFolder, Metadata, Staging, Tensors, write_listed};
use serde::Serialize;

/// All that a checkpoint will hold, in plain memory: nothing that training goes on to change.
pub(crate) struct Snapshot {
    step: u64,
    files: Vec<WriteFile>,
    beside: Vec<Weights>,
    is_aside: bool,
}

/// Weights that outlive the checkpoints, the best ones; the file is alone in its folder, which is there.
pub(crate) struct Weights {
    pub(crate) file: PathBuf,
    pub(crate) tensors: Tensors,
    pub(crate) metadata: Metadata,
}

type WriteFile = Box<dyn FnOnce(&Staging) -> Result<(), CheckpointError> + Send>;

impl Snapshot {
    /// Of a run after `step` steps; still empty.
    pub(crate) fn new(step: u64) -> Snapshot {
        Snapshot {
            step,
            files: Vec::new(),
            beside: Vec::new(),
            is_aside: false,
        }
    }

    /// Of a step that is kept aside: the run goes on from a checkpoint before it, and the best weights are the run's.
    pub(crate) fn aside(step: u64) -> Snapshot {
        Snapshot {
            is_aside: true,
            ..Snapshot::new(step)
        }
    }

    /// Whether it is no checkpoint of the run.
    pub(crate) fn is_aside(&self) -> bool {
        self.is_aside
    }

    /// Adds weights that lie elsewhere; they are on the disk before the checkpoint that speaks of them.
    pub(crate) fn add_beside(&mut self, weights: Weights) {
        self.beside.push(weights);
    }

    /// Adds a safetensors file.
    pub(crate) fn add_tensors(&mut self, name: &'static str, tensors: Tensors, metadata: Metadata) {
        self.files.push(Box::new(move |staging| {
            staging.write_tensors(name, &tensors, &metadata)
        }));
    }

    /// Adds a JSON file.
    pub(crate) fn add_json(&mut self, name: &'static str, value: impl Serialize + Send + 'static) {
        self.files
            .push(Box::new(move |staging| staging.write_json(name, &value)));
    }

    /// Writes all files, each freed when it is written, and makes them a checkpoint.
    pub(crate) fn write(self, folder: &CheckpointFolder) -> Result<PathBuf, CheckpointError> {
        for weights in self.beside {
            write_listed(&weights.file, &weights.tensors, &weights.metadata)?;
        }
        let staging = folder.begin(self.step)?;
        self.files.into_iter().try_for_each(|write| write(&staging))?;
        staging.commit()
    }
}

/// Writes one checkpoint at a time on a thread of its own.
///
/// The next one waits until the one before is on the disk, so no more than one is in memory, they appear in order, and
/// `last` is complete whenever somebody looks. What the disk refuses is told at the next step. Dropped, it waits.
#[derive(Debug)]
pub(crate) struct Writer {
    folder: CheckpointFolder,
    in_flight: Option<InFlight>,
}

#[derive(Debug)]
struct InFlight {
    step: u64,
    thread: JoinHandle<Result<PathBuf, CheckpointError>>,
}

impl Writer {
    pub(crate) fn new(folder: CheckpointFolder) -> Writer {
        Writer {
            folder,
            in_flight: None,
        }
    }

    /// Waits for the checkpoint before, takes the snapshot, and begins to write it.
    ///
    /// # Errors
    /// As [`wait`](Writer::wait), for the checkpoint before; a snapshot that cannot be taken.
    pub(crate) fn begin(&mut self, take: impl FnOnce() -> Result<Snapshot>) -> Result<()> {
        self.wait()?;
        let snapshot = take()?;
        let (step, folder) = (snapshot.step, self.folder.clone());
        let thread = Builder::new()
            .name("fcmae-checkpoint".to_owned())
            .spawn(move || snapshot.write(&folder))
            .context("no thread can be started to write a checkpoint")?;
        self.in_flight = Some(InFlight { step, thread });
        Ok(())
    }

    /// Whether what was begun is on the disk, as far as is known without waiting.
    ///
    /// # Errors
    /// As [`wait`](Writer::wait).
    pub(crate) fn check(&mut self) -> Result<()> {
        let is_through = |writing: &InFlight| writing.thread.is_finished();
        if self.in_flight.as_ref().is_some_and(is_through) {
            self.wait()?;
        }
        Ok(())
    }

    /// Waits until what was begun is on the disk.
    ///
    /// # Errors
    /// What the system refused; the checkpoints before are as they were.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let Some(InFlight { step, thread }) = self.in_flight.take() else {
            return Ok(());
        };
        let written = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        written.with_context(|| format!("the checkpoint of step {step} is not saved"))?;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(InFlight { thread, .. }) = self.in_flight.take() {
            // Whoever drops it without waiting has another error to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Receiver, channel};

    use fcmae_checkpoint::verify;

    use super::*;

    /// A snapshot that is written when `gate` opens.
    fn gated(step: u64, gate: Receiver<()>) -> Snapshot {
        let mut snapshot = Snapshot::new(step);
        snapshot.files.push(Box::new(move |staging| {
            gate.recv().expect("the test opens it");
            staging.write_json("state.json", &step)
        }));
        snapshot
    }

    fn plain(step: u64) -> Snapshot {
        let mut snapshot = Snapshot::new(step);
        snapshot.add_json("state.json", step);
        snapshot
    }

    fn steps(folder: &CheckpointFolder) -> Vec<u64> {
        folder.list().unwrap().iter().map(|stored| stored.step).collect()
    }

    #[test]
    fn a_checkpoint_appears_whole_and_the_next_one_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(root.path(), 0).unwrap();
        let mut writer = Writer::new(folder.clone());
        let (open, gate) = channel();
        writer.begin(|| Ok(gated(1, gate))).unwrap();
        writer.check().unwrap(); // still being written: no error, and no wait
        assert_eq!(steps(&folder), [0; 0]);
        open.send(()).unwrap();
        let taken_after = || {
            assert_eq!(
                steps(&folder),
                [1],
                "the copy is taken when the one before is written"
            );
            Ok(plain(2))
        };
        writer.begin(taken_after).unwrap();
        writer.wait().unwrap();
        assert_eq!(steps(&folder), [1, 2]);
    }

    #[test]
    fn weights_beside_a_checkpoint_are_on_the_disk_before_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(root.path().join("checkpoints"), 0).unwrap();
        let best = |file: PathBuf| Weights {
            file,
            tensors: Tensors::new(),
            metadata: Metadata::new(),
        };
        let file = folder.root().join("best/model.safetensors");
        fs::create_dir(folder.root().join("best")).unwrap();
        let mut snapshot = plain(1);
        snapshot.add_beside(best(file.clone()));
        snapshot.write(&folder).unwrap();
        assert!(file.is_file());
        verify(folder.root().join("best")).unwrap();
        let mut snapshot = plain(2);
        snapshot.add_beside(best(file.join("below-a-file.safetensors")));
        let message = snapshot.write(&folder).unwrap_err().to_string();
        assert!(message.contains("cannot be written"), "{message}");
        assert_eq!(steps(&folder), [1]);
    }

    #[test]
    fn what_the_disk_refuses_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(root.path().join("here"), 0).unwrap();
        let mut writer = Writer::new(folder.clone());
        fs::remove_dir(folder.root()).unwrap();
        fs::write(folder.root(), "in the way").unwrap();
        writer.begin(|| Ok(plain(3))).unwrap();
        let error = writer
            .begin(|| unreachable!("the one before failed"))
            .unwrap_err();
        assert_eq!(error.to_string(), "the checkpoint of step 3 is not saved");
        assert!(
            error.chain().any(|cause| cause.is::<CheckpointError>()),
            "{error:#}"
        );
        writer.check().unwrap();
        writer.wait().unwrap();
    }

    #[test]
    fn who_drops_it_waits() {
        let root = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::open(root.path(), 0).unwrap();
        let mut writer = Writer::new(folder.clone());
        writer.begin(|| Ok(plain(1))).unwrap();
        drop(writer);
        assert_eq!(steps(&folder), [1]);
    }
}
