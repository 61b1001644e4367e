//! A server on this machine that stalls, cuts, refuses and forgets, as real ones do.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// What the server does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Sends what was asked for.
    Serve,
    /// Sends so many bytes of it and closes.
    Cut(usize),
    /// Sends so many bytes of it and says nothing more.
    Stall(usize),
    /// Sends the whole file, whatever range was asked for.
    IgnoreRange,
    /// Answers with this status alone.
    Status(u16),
}

/// Path and `Range` of each request.
type Requests = Mutex<Vec<(String, Option<String>)>>;

/// Serves one file, by a script of answers; then the last one for ever.
pub(crate) struct Server {
    pub(crate) url: String,
    /// Path and `Range` of each request.
    pub(crate) requests: Arc<Requests>,
}

impl Server {
    pub(crate) fn start(content: Vec<u8>, etag: &'static str, script: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Requests> = Arc::default();
        let seen = requests.clone();
        thread::spawn(move || {
            let mut script = script.into_iter();
            let mut answer = Answer::Serve;
            for stream in listener.incoming() {
                answer = script.next().unwrap_or(answer);
                let (content, answer, seen) = (content.clone(), answer.clone(), seen.clone());
                thread::spawn(move || serve(stream.unwrap(), &content, etag, &answer, &seen));
            }
        });
        Server { url, requests }
    }

    /// The `Range` headers so far.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        self.requests
            .lock()
            .unwrap()
            .iter()
            .map(|(_, range)| range.clone())
            .collect()
    }
}

fn serve(mut stream: TcpStream, content: &[u8], etag: &str, answer: &Answer, seen: &Requests) {
    let lines: Vec<String> = BufReader::new(stream.try_clone().unwrap())
        .lines()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let header = |name: &str| {
        let found = lines.iter().filter_map(|line| line.split_once(':'));
        found
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .next()
    };
    let path = lines
        .first()
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned();
    let range = header("range");
    seen.lock().unwrap().push((path, range.clone()));
    if let Answer::Status(status) = answer {
        let _ = write!(
            stream,
            "HTTP/1.1 {status} Told So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        return;
    }
    let is_same = header("if-range").is_none_or(|mark| mark == etag);
    let start = range
        .filter(|_| is_same && !matches!(answer, Answer::IgnoreRange))
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0_usize);
    let body = &content[start..];
    let head = match start {
        0 => "200 OK".to_owned(),
        _ => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
            content.len() - 1,
            content.len()
        ),
    };
    let sent = match answer {
        Answer::Cut(n) | Answer::Stall(n) => &body[..body.len().min(*n)],
        _ => body,
    };
    let _ = write!(
        stream,
        "HTTP/1.1 {head}\r\nETag: {etag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(sent).and_then(|()| stream.flush());
    if let Answer::Stall(_) = answer {
        thread::sleep(Duration::from_secs(5));
    }
}

pub(crate) const QUICK: Patience = Patience {
    silence: Duration::from_millis(300),
    attempts: 2,
    pause: Duration::from_millis(1),
};

/// 200 kB that repeat nowhere.
pub(crate) fn content() -> Vec<u8> {
    (0..50_000_u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn cuts_and_stalls_are_continued_where_they_were() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("w.pt");
    let script = vec![
        Answer::Cut(70_000),
        Answer::Stall(50_000),
        Answer::Status(503),
        Answer::Serve,
    ];
    let server = Server::start(content(), "\"v1\"", script);
    download(&server.url, &file, QUICK).unwrap();
    assert_eq!(fs::read(&file).unwrap(), content());
    let at = |n: u64| Some(format!("bytes={n}-"));
    assert_eq!(server.ranges(), [None, at(70_000), at(120_000), at(120_000)]);
    assert_eq!(names(home.path()), ["w.pt"]);
}

#[test]
fn the_next_process_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("w.pt");
    let broken = Server::start(
        content(),
        "\"v1\"",
        vec![Answer::Cut(70_000), Answer::Status(500)],
    );
    let error = format!("{:#}", download(&broken.url, &file, QUICK).unwrap_err());
    assert!(
        error.contains("answered 500") && error.contains("70 kB are kept"),
        "{error}"
    );
    assert!(!file.exists());
    let well = Server::start(content(), "\"v1\"", vec![Answer::Serve]);
    download(&well.url, &file, QUICK).unwrap();
    assert_eq!(well.ranges(), [Some("bytes=70000-".to_owned())]);
    assert_eq!(fs::read(&file).unwrap(), content());
}

#[test]
fn another_version_is_started_over() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("w.pt");
    let old = Server::start(
        content(),
        "\"v1\"",
        vec![Answer::Cut(70_000), Answer::Status(500)],
    );
    download(&old.url, &file, QUICK).unwrap_err();
    let other: Vec<u8> = content().into_iter().rev().collect();
    let new = Server::start(other.clone(), "\"v2\"", vec![Answer::Serve]);
    download(&new.url, &file, QUICK).unwrap();
    assert_eq!(fs::read(&file).unwrap(), other);
}

#[test]
fn a_server_without_ranges_or_marks_is_started_over() {
    for (etag, answer) in [
        ("\"v1\"", Answer::IgnoreRange),
        ("", Answer::Serve),
        ("W/\"weak\"", Answer::Serve),
    ] {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("w.pt");
        let server = Server::start(content(), etag, vec![Answer::Cut(70_000), answer]);
        download(&server.url, &file, QUICK).unwrap();
        assert_eq!(fs::read(&file).unwrap(), content(), "{etag}");
    }
}

#[test]
fn a_part_larger_than_the_file_is_started_over() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("w.pt");
    fs::write(home.path().join(".w.pt.part"), vec![0; 300_000]).unwrap();
    fs::write(home.path().join(".w.pt.etag"), "\"v1\"").unwrap();
    let server = Server::start(content(), "\"v1\"", vec![Answer::Status(416), Answer::Serve]);
    download(&server.url, &file, QUICK).unwrap();
    assert_eq!(fs::read(&file).unwrap(), content());
}

#[test]
fn what_is_not_there_is_not_asked_for_twice() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(content(), "\"v1\"", vec![Answer::Status(404)]);
    let error = format!(
        "{:#}",
        download(&server.url, &home.path().join("w.pt"), QUICK).unwrap_err()
    );
    assert!(
        error.contains("answered 404") && error.contains("--mirror"),
        "{error}"
    );
    assert_eq!(server.ranges().len(), 1);
    assert!(names(home.path()).is_empty());
}

#[test]
fn a_server_that_is_not_there_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let error = download(
        &format!("http://127.0.0.1:{port}/x"),
        &home.path().join("w.pt"),
        QUICK,
    )
    .unwrap_err();
    assert!(format!("{error:#}").contains("no answer"), "{error:#}");
}
