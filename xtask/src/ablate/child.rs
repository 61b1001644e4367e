//! Running the program for one job: its JSON is read, Ctrl-C, SIGTERM and SIGUSR1 reach it once, and how it ended is told.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::process;

/// Signals that ask for a stop.
#[derive(Debug)]
pub(super) struct Signals {
    interrupted: Arc<AtomicBool>,
    terminated: Arc<AtomicBool>,
}

/// How a job ended.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    /// It is done; what it printed.
    Done(Value),
    /// It was asked to stop.
    Stopped,
    /// Its input was refused; the program has said why.
    Refused,
    /// It failed; the program has said why.
    Failed(String),
}

impl Signals {
    /// From here on a signal does not end this process.
    pub(super) fn listen() -> Result<Signals> {
        let flag = |signals: &[i32]| {
            let flag = Arc::new(AtomicBool::new(false));
            for &signal in signals {
                signal_hook::flag::register(signal, Arc::clone(&flag))
                    .context("installing a signal handler")?;
            }
            anyhow::Ok(flag)
        };
        Ok(Signals {
            interrupted: flag(&[SIGINT])?,
            terminated: flag(&[SIGTERM, SIGUSR1])?,
        })
    }

    /// Whether a stop was asked for.
    pub(super) fn are_raised(&self) -> bool {
        self.interrupted.load(Ordering::SeqCst) || self.terminated.load(Ordering::SeqCst)
    }
}

/// Runs a command to its end. What it says on stderr is shown, what it prints on stdout is its JSON.
pub(super) fn run(command: &mut Command, signals: &Signals) -> Result<Ended> {
    let line = process::line(command);
    eprintln!("$ {line}");
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("`{line}` could not be started"))?;
    let mut stdout = child.stdout.take().context("its stdout is a pipe")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let status = wait(&mut child, signals)?;
    let text = reader
        .join()
        .expect("reading does not panic")
        .context("reading what it printed")?;
    Ok(match status.code() {
        Some(0) => Ended::Done(
            serde_json::from_str(text.trim())
                .with_context(|| format!("`{line}` printed no JSON: {text:?}"))?,
        ),
        Some(75) => Ended::Stopped,
        _ if signals.are_raised() => Ended::Stopped,
        Some(2) => Ended::Refused,
        _ => Ended::Failed(status.to_string()),
    })
}

/// Waits for the end. A terminal gives Ctrl-C to the child itself; SIGTERM is handed on, once: a second one would end
/// the program without a checkpoint.
fn wait(child: &mut Child, signals: &Signals) -> Result<ExitStatus> {
    let mut is_told = false;
    loop {
        if let Some(status) = child.try_wait().context("waiting for the program")? {
            return Ok(status);
        }
        if signals.terminated.load(Ordering::SeqCst) && !is_told {
            process::terminate(child);
            is_told = true;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(script: &str) -> Ended {
        let signals = Signals {
            interrupted: Arc::default(),
            terminated: Arc::default(),
        };
        run(Command::new("sh").args(["-c", script]), &signals).unwrap()
    }

    #[test]
    fn exit_codes_say_how_it_ended() {
        assert_eq!(
            ended("echo '{\"a\": 1}'"),
            Ended::Done(serde_json::json!({"a": 1}))
        );
        assert_eq!(ended("exit 75"), Ended::Stopped);
        assert_eq!(ended("exit 2"), Ended::Refused);
        assert_eq!(ended("exit 1"), Ended::Failed("exit status: 1".into()));
        assert!(matches!(ended("kill -9 $$"), Ended::Failed(why) if why.contains("signal: 9")));
    }

    #[test]
    fn sigterm_is_handed_on() {
        let signals = Signals {
            interrupted: Arc::default(),
            terminated: Arc::new(AtomicBool::new(true)),
        };
        let script = "trap 'exit 75' TERM; while :; do sleep 0.01; done";
        assert_eq!(
            run(Command::new("sh").args(["-c", script]), &signals).unwrap(),
            Ended::Stopped
        );
    }
}
