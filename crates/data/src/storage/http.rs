//! Ranges of files behind HTTP: one pool of connections, bounded waiting, bounded retries.

use std::io::{self, Read};
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::Halt;
use crate::error::DataError;

/// Whether the text names something behind HTTP.
pub(crate) fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// How long and how often a server is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retry {
    /// Requests for one range, at least 1.
    pub(crate) attempts: u32,
    /// Pause after the first failure; it doubles with each further one, up to [`LONGEST_PAUSE`].
    pub(crate) pause: Duration,
    /// Longest time for connecting, for the head of an answer, and between two pieces of its body: a slow server
    /// is waited for as long as something comes.
    pub(crate) timeout: Duration,
}

/// A server that is back is noticed within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Retry {
    /// With pauses of 0.5, 1, 2, 4, … s.
    pub(crate) fn new(attempts: u32, timeout: Duration) -> Retry {
        Retry {
            attempts,
            pause: Duration::from_millis(500),
            timeout,
        }
    }

    /// The pause before an attempt, counted from 0.
    fn pause_before(&self, attempt: u32) -> Duration {
        match attempt {
            0 => Duration::ZERO,
            _ => (self.pause * (1 << (attempt - 1).min(16))).min(LONGEST_PAUSE),
        }
    }
}

/// Asks servers; clones share their connections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    agent: Agent,
    retry: Retry,
}

/// One file behind HTTP.
#[derive(Debug)]
pub(crate) struct Remote {
    client: Client,
    url: String,
    bytes: u64,
    stamp: String,
}

/// Two are equal when they are the same version of the same file.
impl PartialEq for Remote {
    fn eq(&self, other: &Remote) -> bool {
        (&self.url, self.bytes, &self.stamp) == (&other.url, other.bytes, &other.stamp)
    }
}

impl Eq for Remote {}

/// What a server answered to one request for a range.
struct Answer {
    bytes: Vec<u8>,
    /// Length of the whole file.
    total: u64,
    stamp: String,
}

/// Why a request brought nothing.
enum Trouble {
    /// It may go better next time.
    Passing(String),
    /// It will not.
    Lasting(String),
}

impl Client {
    pub(crate) fn new(retry: Retry) -> Client {
        let timeout = Some(retry.timeout);
        let config = Agent::config_builder()
            .timeout_connect(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout)
            .http_status_as_error(false)
            .max_idle_connections_per_host(64);
        Client {
            agent: config.build().into(),
            retry,
        }
    }

    /// The file at `url` with its length and a stamp of its version; empty where the server tells none.
    pub(super) fn open(&self, url: &str, halt: &Halt) -> Result<(Remote, u64, String), DataError> {
        let first = self.persist(url, 0, 1, halt)?;
        let remote = Remote {
            client: self.clone(),
            url: url.to_owned(),
            bytes: first.total,
            stamp: first.stamp.clone(),
        };
        Ok((remote, first.total, first.stamp))
    }

    /// Asks until there is an answer, the trouble lasts, the attempts are used up, or nobody wants an answer any more.
    fn persist(&self, url: &str, offset: u64, len: u64, halt: &Halt) -> Result<Answer, DataError> {
        let attempts = self.retry.attempts.max(1);
        let mut last = String::new();
        for attempt in 0..attempts {
            if halt.is_raised_within(self.retry.pause_before(attempt)) {
                return Err(DataError::Stopped);
            }
            match self.ask(url, offset, len) {
                Ok(answer) => return Ok(answer),
                Err(Trouble::Lasting(problem)) => return Err(failed(url, problem, true)),
                Err(Trouble::Passing(problem)) => last = problem,
            }
        }
        let problem = format!("{last}; gave up after {attempts} attempt(s) (`data.http_attempts`)");
        Err(failed(url, problem, false))
    }

    fn ask(&self, url: &str, offset: u64, len: u64) -> Result<Answer, Trouble> {
        let range = format!("bytes={offset}-{}", offset + len - 1);
        let request = self
            .agent
            .get(url)
            .header("Range", range)
            .header("Accept-Encoding", "identity");
        let mut response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Trouble::Lasting(error.to_string()),
            error => Trouble::Passing(error.to_string()),
        })?;
        check_status(response.status())?;
        let total = total(&response, offset)?;
        let stamp = ["etag", "last-modified"].map(|name| header(&response, name).unwrap_or_default());
        let stamp = stamp.join(" ").trim().to_owned();
        let bytes = body(response.body_mut(), len).map_err(|error| Trouble::Passing(error.to_string()))?;
        // A file that ends inside the range is shorter than it was; everything else is a cut connection.
        if bytes.len() as u64 != len.min(total.saturating_sub(offset)) {
            let problem = format!("the connection was cut after {} of {len} bytes", bytes.len());
            return Err(Trouble::Passing(problem));
        }
        Ok(Answer { bytes, total, stamp })
    }
}

impl Remote {
    /// All bytes of the file at `url`, which describes this one: `None` where the server gives none, or one of more
    /// than `most` bytes. It can be done without, so it is asked for once.
    pub(super) fn fetch_beside(&self, url: &str, most: u64) -> Option<Vec<u8>> {
        let answer = self.client.ask(url, 0, most).ok()?;
        (answer.total <= most).then_some(answer.bytes)
    }

    /// The bytes `offset..offset + len`.
    pub(super) fn range(&self, offset: u64, len: u64, halt: &Halt) -> Result<Vec<u8>, DataError> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let answer = self.client.persist(&self.url, offset, len, halt)?;
        if (answer.total, &answer.stamp) != (self.bytes, &self.stamp) {
            let problem = "the file on the server has changed since this run listed it; start the run again";
            return Err(failed(&self.url, problem.to_owned(), false));
        }
        Ok(answer.bytes)
    }
}

fn failed(url: &str, problem: String, is_lasting: bool) -> DataError {
    DataError::Fetch {
        url: url.to_owned(),
        problem,
        is_lasting,
    }
}

fn check_status(status: StatusCode) -> Result<(), Trouble> {
    match status {
        StatusCode::PARTIAL_CONTENT => Ok(()),
        StatusCode::OK => Err(Trouble::Lasting(
            "the server sends whole files only (it does not understand `Range`)".to_owned(),
        )),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(Trouble::Lasting(
            "the file is empty or shorter than before (status 416)".to_owned(),
        )),
        busy if busy.is_server_error()
            || busy == StatusCode::TOO_MANY_REQUESTS
            || busy == StatusCode::REQUEST_TIMEOUT =>
        {
            Err(Trouble::Passing(format!("the server answers {busy}")))
        }
        other => Err(Trouble::Lasting(format!("the server answers {other}"))),
    }
}

/// Length of the whole file, from `Content-Range: bytes 0-511/1024`.
fn total(response: &Response<Body>, offset: u64) -> Result<u64, Trouble> {
    let text = header(response, "content-range").unwrap_or_default();
    let read = || {
        let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let first = range.split_once('-')?.0;
        (first.parse::<u64>().ok()? == offset).then_some(total.parse::<u64>().ok()?)
    };
    read().ok_or_else(|| {
        Trouble::Lasting(format!(
            "the server does not say which range it sends (`Content-Range: {text}`)"
        ))
    })
}

fn header(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

/// At most `len` bytes, and never more in memory than have arrived.
fn body(body: &mut Body, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.as_reader().take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::Shard;
    use super::super::testing::{Mood, Server};
    use super::*;

    fn client() -> Client {
        Client::new(Retry {
            attempts: 3,
            pause: Duration::from_millis(1),
            timeout: Duration::from_millis(300),
        })
    }

    fn open(server: &Server) -> Result<Shard, DataError> {
        Shard::open(&server.url(), &client(), &Halt::default())
    }

    fn read(shard: &Shard, offset: u64, len: u64) -> Result<Vec<u8>, DataError> {
        shard.read(offset, len, &Halt::default())
    }

    fn numbers() -> Vec<u8> {
        (0..2000u32).map(|i| (i % 251) as u8).collect()
    }

    #[test]
    fn any_range_can_be_read() {
        let server = Server::start(numbers(), vec![]);
        let shard = open(&server).unwrap();
        assert_eq!(shard.bytes(), 2000);
        assert_eq!(read(&shard, 700, 300).unwrap(), numbers()[700..1000]);
        assert_eq!(read(&shard, 1999, 1).unwrap(), numbers()[1999..]);
        assert!(read(&shard, 5, 0).unwrap().is_empty());
    }

    #[test]
    fn two_bad_answers_are_outlived() {
        for bad in [Mood::Error, Mood::Cut, Mood::Stall, Mood::HangUp] {
            let server = Server::start(numbers(), vec![Mood::Good, bad, bad]);
            let shard = open(&server).unwrap();
            assert_eq!(read(&shard, 700, 300).unwrap(), numbers()[700..1000], "{bad:?}");
            assert_eq!(server.requests(), 4, "{bad:?}");
        }
    }

    #[test]
    fn a_slow_server_is_waited_for_as_long_as_something_comes() {
        let server = Server::start(numbers(), vec![Mood::Good, Mood::Slow, Mood::Slow, Mood::Slow]);
        let shard = open(&server).unwrap();
        assert_eq!(read(&shard, 0, 2000).unwrap(), numbers());
    }

    #[test]
    fn the_attempts_are_bounded_and_the_last_trouble_is_told() {
        for (bad, expected) in [
            (Mood::Error, "the server answers 500"),
            (Mood::Cut, "gave up after 3 attempt(s)"),
            (Mood::Stall, "timeout"),
            (Mood::HangUp, "gave up after 3 attempt(s)"),
        ] {
            let server = Server::start(numbers(), vec![Mood::Good, bad, bad, bad]);
            let shard = open(&server).unwrap();
            let message = read(&shard, 0, 300).unwrap_err().to_string();
            assert!(message.starts_with(&server.url()), "{message}");
            assert!(
                message.contains(expected)
                    && message.ends_with("gave up after 3 attempt(s) (`data.http_attempts`)"),
                "{message}"
            );
            assert!(!message.contains('\n'), "{message}");
            assert_eq!(server.requests(), 4, "{bad:?}");
        }
    }

    #[test]
    fn what_will_not_change_is_not_asked_for_again() {
        for (bad, expected) in [
            (Mood::Missing, "the server answers 404"),
            (Mood::Whole, "sends whole files only"),
        ] {
            let server = Server::start(numbers(), vec![bad]);
            let message = open(&server).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert_eq!(server.requests(), 1);
        }
        let server = Server::start(numbers(), vec![Mood::Good, Mood::Changed]);
        let shard = open(&server).unwrap();
        let message = read(&shard, 0, 10).unwrap_err().to_string();
        assert!(message.contains("has changed"), "{message}");
    }

    #[test]
    fn nobody_there_is_an_error_that_names_the_address() {
        let url = Server::start(numbers(), vec![]).url(); // and it is gone again
        let message = Shard::open(&url, &client(), &Halt::default())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with(&url) && message.contains("gave up after 3 attempt(s)"),
            "{message}"
        );
    }

    #[test]
    fn after_a_halt_nobody_is_asked_and_no_pause_is_waited_for() {
        let server = Server::start(numbers(), vec![Mood::Good, Mood::Error]);
        let patient = Client::new(Retry {
            pause: Duration::from_secs(3600),
            ..client().retry
        });
        let halt = Halt::default();
        let shard = Shard::open(&server.url(), &patient, &halt).unwrap();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| shard.read(0, 300, &halt));
            while server.requests() < 2 {
                std::thread::yield_now();
            }
            halt.raise(); // in the middle of the second request, or of the hour after it
            assert!(matches!(reading.join().unwrap(), Err(DataError::Stopped)));
        });
        assert!(matches!(shard.read(0, 300, &halt), Err(DataError::Stopped)));
        assert_eq!(server.requests(), 2);
    }

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let retry = Retry::new(9, Duration::from_secs(1));
        let pauses: Vec<f64> = (0..9).map(|at| retry.pause_before(at).as_secs_f64()).collect();
        assert_eq!(pauses, [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(retry.pause_before(u32::MAX), LONGEST_PAUSE);
    }
}
