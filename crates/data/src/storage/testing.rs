//! A server on the same machine that serves one shard by ranges, and misbehaves as it is told.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With the range that was asked for.
    Good,
    /// With status 500.
    Error,
    /// With status 404.
    Missing,
    /// With the whole file.
    Whole,
    /// With the range, as another and newer version of the file.
    Changed,
    /// With half of the range; then the connection ends.
    Cut,
    /// With the head and half of the range; then nothing more comes.
    Stall,
    /// With the range in pieces, which take longer together than any test's client waits for one.
    Slow,
    /// With the range, and no word of which version it is of.
    Unversioned,
    /// Not at all: the connection ends.
    HangUp,
}

/// Serves until it is dropped. Requests after the last mood are answered well.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(file: Vec<u8>, moods: Vec<Mood>) -> Server {
        Server::start_with_index(file, None, moods)
    }

    /// With an index beside the shard, which is always served well; requests for it do not count.
    pub(crate) fn start_with_index(file: Vec<u8>, index: Option<Vec<u8>>, moods: Vec<Mood>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counted) = (stop.clone(), requests.clone());
        let (files, moods) = (Arc::new((file, index)), Arc::new(moods));
        let listener = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (files, moods, counted) = (files.clone(), moods.clone(), counted.clone());
                // A client that goes away in the middle is no fault of the server's.
                thread::spawn(move || stream.and_then(|stream| answer(stream, &files, &moods, &counted)));
            }
        });
        Server {
            address,
            stop,
            requests,
            listener: Some(listener),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/shard.tar", self.address)
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address); // wakes the listener
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// One request per connection.
fn answer(
    stream: TcpStream,
    (file, index): &(Vec<u8>, Option<Vec<u8>>),
    moods: &[Mood],
    counted: &AtomicUsize,
) -> io::Result<()> {
    let (mut range, mut is_index) = (0..u64::MAX, false);
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        is_index |= line.starts_with("get /shard.index");
        if let Some((first, last)) = line.strip_prefix("range: bytes=").and_then(|r| r.split_once('-')) {
            range = first.parse().unwrap()..last.parse::<u64>().unwrap() + 1;
        }
    }
    let within = |file: &[u8]| (range.start as usize, range.end.min(file.len() as u64) as usize);
    match index {
        Some(index) if is_index => respond(stream, index, within(index), Mood::Good),
        None if is_index => respond(stream, file, (0, 1), Mood::Missing),
        _ => {
            let mood = moods.get(counted.fetch_add(1, Ordering::SeqCst)).copied();
            respond(stream, file, within(file), mood.unwrap_or(Mood::Good))
        }
    }
}

fn respond(mut stream: TcpStream, file: &[u8], (first, end): (usize, usize), mood: Mood) -> io::Result<()> {
    let part = &file[first..end];
    let version = match mood {
        Mood::Changed => "ETag: \"two\"\r\nLast-Modified: Mon, 07 Nov 2022 08:49:37 GMT\r\n",
        Mood::Unversioned => "",
        _ => "ETag: \"one\"\r\nLast-Modified: Sun, 06 Nov 2022 08:49:37 GMT\r\n",
    };
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n\
         {version}Connection: close\r\n\r\n",
        part.len(),
        end - 1,
        file.len()
    );
    let status = |text: &str| format!("HTTP/1.1 {text}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let half = &part[..part.len() / 2];
    match mood {
        Mood::Good | Mood::Changed | Mood::Unversioned => stream.write_all(&[head.as_bytes(), part].concat()),
        Mood::Error => stream.write_all(status("500 Internal Server Error").as_bytes()),
        Mood::Missing => stream.write_all(status("404 Not Found").as_bytes()),
        Mood::Whole => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                file.len()
            );
            stream.write_all(&[head.as_bytes(), file].concat())
        }
        Mood::Cut => stream.write_all(&[head.as_bytes(), half].concat()),
        Mood::Stall => {
            stream.write_all(&[head.as_bytes(), half].concat())?;
            io::copy(&mut stream, &mut io::sink()).map(drop) // until the client goes
        }
        Mood::Slow => {
            stream.write_all(head.as_bytes())?;
            for piece in part.chunks(part.len().div_ceil(10).max(1)) {
                thread::sleep(Duration::from_millis(60));
                stream.write_all(piece)?;
            }
            Ok(())
        }
        Mood::HangUp => Ok(()),
    }
}
