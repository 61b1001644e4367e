//! Downloads over HTTP that go on where they stopped: after a stall, a cut, or in the next process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::paths;
use crate::staging::remove;

/// How patient a download is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until a connection stands, and between two pieces of an answer.
    pub(crate) silence: Duration,
    /// Attempts in a row that bring nothing new.
    pub(crate) attempts: u32,
    /// Pause before the second attempt; doubled before each further one.
    pub(crate) pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            silence: Duration::from_secs(30),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }
}

/// Why an attempt ended.
enum Ended {
    /// The file is whole.
    Whole,
    /// Worth another attempt.
    Interrupted(String),
}

/// Brings `url` into `file`, or says why not; `file` appears whole or not at all. What came so far is kept in
/// `.NAME.part` beside it, with the server's mark of the version (`ETag`), and the next call goes on from there.
pub(crate) fn download(url: &str, file: &Path, patience: Patience) -> Result<()> {
    let part = Part::beside(file);
    let agent = agent(url, patience);
    let (mut fruitless, mut pause) = (0, patience.pause);
    loop {
        let before = part.length();
        match attempt(&agent, url, &part)? {
            Ended::Whole => break,
            Ended::Interrupted(why) => {
                let is_fruitless = part.length() <= before;
                fruitless = if is_fruitless { fruitless + 1 } else { 0 };
                if fruitless >= patience.attempts {
                    let kept = match part.length() {
                        0 => String::new(),
                        n => format!(" ({} are kept: the same command goes on)", paths::human(n)),
                    };
                    bail!("{url}: {why}; gave up after {fruitless} attempts without progress{kept}");
                }
                eprintln!("{why}; trying again");
                pause = if is_fruitless { pause * 2 } else { patience.pause };
                std::thread::sleep(pause);
            }
        }
    }
    part.commit(file)
}

fn agent(url: &str, patience: Patience) -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(patience.silence))
        .timeout_recv_response(Some(patience.silence))
        .timeout_per_read(Some(patience.silence))
        .http_status_as_error(false);
    // a proxy of the environment would look for this machine on its own
    let is_here = ["http://127.", "http://localhost", "http://[::1]"]
        .iter()
        .any(|start| url.starts_with(start));
    let config = if is_here { config.proxy(None) } else { config };
    config.build().new_agent()
}

fn attempt(agent: &Agent, url: &str, part: &Part) -> Result<Ended> {
    let (have, mark) = (part.length(), part.mark());
    let mut request = agent.get(url);
    // without a mark nobody can tell whether the rest belongs to the same file
    let start = if let Some(mark) = mark.filter(|_| have > 0) {
        request = request
            .header(header::RANGE, format!("bytes={have}-"))
            .header(header::IF_RANGE, mark);
        have
    } else {
        0
    };
    let response = match request.call() {
        Ok(response) => response,
        Err(error) => return Ok(Ended::Interrupted(format!("no answer ({error})"))),
    };
    let status = response.status();
    match status {
        StatusCode::OK => receive(response, part, 0),
        StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(start) => {
            receive(response, part, start)
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            part.discard()?;
            Ok(Ended::Interrupted(
                "the server has another file by now; starting over".to_owned(),
            ))
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Ok(Ended::Interrupted(format!("the server answered {status}")))
        }
        status => bail!("{url}: the server answered {status}; give another place with --mirror"),
    }
}

/// Writes the body behind the first `start` bytes.
fn receive(mut response: Response<Body>, part: &Part, start: u64) -> Result<Ended> {
    let text = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let length: Option<u64> = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
    let total = length.map(|length| start + length);
    part.set_mark(text(header::ETAG).filter(|mark| !mark.starts_with("W/")))?;
    let mut out = part.open(start)?;
    let bar = progress(total, start);
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    let why = loop {
        match body.read(&mut buffer) {
            Ok(0) => break None,
            Ok(n) => {
                out.write_all(&buffer[..n])
                    .with_context(|| format!("{}: cannot be written", part.path.display()))?;
                bar.inc(n as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Some(error.to_string()),
        }
    };
    bar.finish_and_clear();
    out.sync_all()
        .with_context(|| format!("{}: cannot be written", part.path.display()))?;
    let have = part.length();
    match (total, why) {
        (Some(total), _) if have == total => Ok(Ended::Whole),
        (None, None) => Ok(Ended::Whole),
        (_, Some(why)) => Ok(Ended::Interrupted(format!("the connection broke ({why})"))),
        (Some(total), None) => Ok(Ended::Interrupted(format!(
            "the connection ended at {have} of {total} bytes"
        ))),
    }
}

/// The first byte of a partial answer: `Content-Range: bytes 7-99/100`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .trim()
        .parse()
        .ok()
}

fn progress(total: Option<u64>, start: u64) -> ProgressBar {
    let Some(total) = total else {
        return ProgressBar::new_spinner();
    };
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style).with_position(start);
    if bar.is_hidden() {
        eprintln!(
            "downloading {} of {}",
            paths::human(total - start),
            paths::human(total)
        );
    }
    bar
}

/// What came so far, and which version of the file it belongs to.
struct Part {
    path: PathBuf,
    mark: PathBuf,
}

impl Part {
    fn beside(file: &Path) -> Part {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Part {
            path: file.with_file_name(format!(".{name}.part")),
            mark: file.with_file_name(format!(".{name}.etag")),
        }
    }

    fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |attributes| attributes.len())
    }

    fn mark(&self) -> Option<String> {
        fs::read_to_string(&self.mark)
            .ok()
            .filter(|mark| !mark.is_empty())
    }

    fn set_mark(&self, mark: Option<String>) -> Result<()> {
        fs::write(&self.mark, mark.unwrap_or_default())
            .with_context(|| format!("{}: cannot be written", self.mark.display()))
    }

    /// Opened for writing behind its first `start` bytes.
    fn open(&self, start: u64) -> Result<File> {
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            file.set_len(start)?;
            Ok::<_, io::Error>(file)
        };
        open().with_context(|| format!("{}: cannot be written", self.path.display()))
    }

    fn discard(&self) -> Result<()> {
        remove(&self.path)?;
        remove(&self.mark)
    }

    fn commit(&self, file: &Path) -> Result<()> {
        fs::rename(&self.path, file)
            .with_context(|| format!("{}: cannot be put in place", file.display()))?;
        remove(&self.mark)
    }
}

#[cfg(test)]
pub(crate) mod tests;
