//! The two programs that are measured: ours, and the peer in plain PyTorch. Each job is a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::job::{Job, Measured, Task};
use crate::peer::Python;
use crate::{paths, process, program};

/// Our program, in release mode.
#[derive(Debug)]
pub(super) struct Ours(PathBuf);

impl Ours {
    /// Builds it.
    pub(super) fn build() -> Result<Ours> {
        Ok(Ours(program::build()?))
    }

    pub(super) fn measure(&self, job: &Job) -> Result<Measured> {
        measure(self.command(job))
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = Command::new(paths::display(&self.0));
        command.args(["bench-step", "--json"]);
        job.ask(&mut command);
        command
    }
}

/// How the peer is started.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PeerOptions {
    /// Let the peer use `torch.compile`
    #[arg(long)]
    compile: bool,
    /// A Python with torch 2.11.0 for the peer [default: one is made in the cache]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Another program for the peer, with the same options and the same JSON line
    #[arg(long, value_name = "FILE")]
    peer: Option<PathBuf>,
}

/// The same mathematics in plain PyTorch.
#[derive(Debug)]
pub(super) struct Peer {
    python: Python,
    script: Option<PathBuf>,
    compile: bool,
}

impl Peer {
    /// Finds a Python with PyTorch, or makes one.
    pub(super) fn open(options: &PeerOptions) -> Result<Peer> {
        Ok(Peer {
            python: match &options.python {
                Some(path) => Python::of_user(path)?,
                None => Python::of_cache()?,
            },
            script: options.peer.clone(),
            compile: options.compile,
        })
    }

    /// What it is called in tables.
    pub(super) fn name(&self) -> &'static str {
        if self.compile { "torch.compile" } else { "PyTorch" }
    }

    pub(super) fn measure(&self, job: &Job) -> Result<Measured> {
        measure(self.command(job))
    }

    fn command(&self, job: &Job) -> Command {
        let script = self.script.clone().unwrap_or_else(|| script(job.task));
        let mut command = self.python.command(Path::new(&paths::display(&script)));
        job.ask(&mut command);
        if self.compile {
            command.arg("--compile");
        }
        command
    }
}

/// The program in the checkout that knows the task.
fn script(task: Task) -> PathBuf {
    let name = match task {
        Task::Pretrain => "torch_fcmae.py",
        Task::Classify | Task::Infer => "torch_classifier.py",
    };
    paths::checkout().join("xtask/peer").join(name)
}

fn measure(mut command: Command) -> Result<Measured> {
    let line = process::line(&command);
    eprintln!("$ {line}");
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| line.clone())?;
    if !output.status.success() {
        bail!("`{line}` failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let measured = Measured::parse(&text).with_context(|| format!("`{line}` printed {text:?}"))?;
    let (seconds, peak) = (measured.seconds, measured.peak_mib);
    eprintln!("  {seconds:.4} s per step, {peak:.0} MiB at most");
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::job;
    use super::*;

    #[test]
    fn ours_is_a_verb_of_the_program() {
        let line = process::line(&Ours("target/release/fcmae".into()).command(&job(&["--threads", "2"])));
        let options = "--model atto --dtype f32 --batch 32 --size 224 --steps 7 --threads 2";
        assert_eq!(line, format!("target/release/fcmae bench-step --json {options}"));
    }

    #[test]
    fn each_task_has_its_script() {
        for task in [Task::Pretrain, Task::Classify, Task::Infer] {
            assert!(script(task).is_file(), "{}", task.name());
        }
        assert_ne!(script(Task::Pretrain), script(Task::Infer));
    }
}
