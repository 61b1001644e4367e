//! The program under test: built once per process, run to its end or watched, never longer than a time limit.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process, kill_process_group};

pub use rustix::process::Signal;

/// The longest that a run may take before it counts as hung. A healthy one takes about a second.
const LIMIT: Duration = Duration::from_secs(120);

/// The program `fcmae`, built with the profile and the target folder of the running test.
///
/// # Panics
/// When it does not build.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| build("fcmae"))
}

/// `xtask`, built as [`program`] is.
///
/// # Panics
/// When it does not build.
pub fn xtask() -> &'static Path {
    static XTASK: OnceLock<PathBuf> = OnceLock::new();
    XTASK.get_or_init(|| build("xtask"))
}

/// Builds the program of a package of that name; where it is.
fn build(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own file");
    let built = test.ancestors().nth(2).expect("<target>/<profile>/deps/<test>");
    let profile = match built.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--package", name, "--bin", name])
        .args(["--profile", profile, "--target-dir"])
        .arg(
            built
                .parent()
                .expect("a profile's folder lies in a target folder"),
        )
        .status();
    assert!(status.expect("cargo starts").success(), "{name} does not build");
    built.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// How a run ended, and what it printed.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; absent when a signal ended it.
    pub code: Option<i32>,
    /// For programs.
    pub stdout: String,
    /// For people.
    pub stderr: String,
}

impl Ran {
    /// The one JSON object on stdout.
    ///
    /// # Panics
    /// When stdout is anything else.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let value: Result<serde_json::Value, _> = serde_json::from_str(&self.stdout);
        let value = value.unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert!(value.is_object() && self.stdout.lines().count() == 1, "{self:?}");
        value
    }

    /// Itself, if it ended with this exit code.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The program while it runs. Dropped, it is killed: a failing test leaves no process behind.
#[derive(Debug)]
pub struct Running {
    child: Child,
    started: Instant,
    // Files, not pipes: nobody needs to read them while it runs.
    stdout: File,
    stderr: File,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Running {
        Running::start_reading(command, Stdio::null())
    }

    pub(crate) fn start_reading(command: &mut Command, stdin: Stdio) -> Running {
        let (stdout, stderr) = (temporary(), temporary());
        let copy = |file: &File| file.try_clone().expect("a second handle of a file");
        command.stdin(stdin);
        command.stdout(copy(&stdout)).stderr(copy(&stderr));
        Running {
            child: command.spawn().expect("the program starts"),
            started: Instant::now(),
            stdout,
            stderr,
        }
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `is_so`; `false` if the program ended before that.
    ///
    /// # Panics
    /// After the time limit.
    pub fn wait_until(&mut self, is_so: impl Fn() -> bool) -> bool {
        while !is_so() {
            if self.poll().is_some() {
                return false;
            }
            sleep(Duration::from_micros(300));
        }
        self.poll().is_none()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child takes signals");
    }

    /// Kills it and all that it has started; it must lead a group of its own ([`Place::start_xtask`]).
    ///
    /// # Panics
    /// When the system refuses.
    ///
    /// [`Place::start_xtask`]: crate::Place::start_xtask
    pub fn kill_group(&self) {
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).expect("a group takes signals");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// After the time limit.
    #[must_use]
    pub fn finish(mut self) -> Ran {
        let status = loop {
            match self.poll() {
                Some(status) => break status,
                None => sleep(Duration::from_millis(2)),
            }
        };
        Ran {
            code: status.code(),
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
        }
    }

    fn poll(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child can be waited for");
        if status.is_none() && self.started.elapsed() > LIMIT {
            panic!("not done after {LIMIT:?}; stderr: {}", text(&mut self.stderr));
        }
        status
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn temporary() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .expect("a temporary file can be read");
    String::from_utf8(bytes).expect("the program prints UTF-8")
}
