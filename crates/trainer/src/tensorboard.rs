//! TensorBoard event files: scalars and pictures, in records with masked CRC-32C.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::crc32c::masked;

/// Field numbers of `tensorboard/compat/proto/{event,summary}.proto`.
mod field {
    pub(super) const EVENT_WALL_TIME: u32 = 1;
    pub(super) const EVENT_STEP: u32 = 2;
    pub(super) const EVENT_FILE_VERSION: u32 = 3;
    pub(super) const EVENT_SUMMARY: u32 = 5;
    pub(super) const EVENT_SESSION_LOG: u32 = 7;
    pub(super) const SUMMARY_VALUE: u32 = 1;
    pub(super) const VALUE_TAG: u32 = 1;
    pub(super) const VALUE_SIMPLE: u32 = 2;
    pub(super) const VALUE_IMAGE: u32 = 4;
    pub(super) const IMAGE_HEIGHT: u32 = 1;
    pub(super) const IMAGE_WIDTH: u32 = 2;
    pub(super) const IMAGE_COLORSPACE: u32 = 3;
    pub(super) const IMAGE_ENCODED: u32 = 4;
    pub(super) const SESSION_STATUS: u32 = 1;
}

/// `SessionLog.SessionStatus.START`.
const SESSION_START: u64 = 1;
/// The colour space "RGB" of `Summary.Image`; PNG bytes say for themselves what they hold.
const RGB: u64 = 3;

/// Appends events to one file of a run folder.
///
/// Each start of a run opens a file of its own whose second event says "restarted at step s": TensorBoard then
/// drops what earlier files hold from that step on, so a killed and resumed run shows one line.
#[derive(Debug)]
pub struct EventWriter {
    file: File,
}

impl EventWriter {
    /// Opens a new event file in `folder`; `next_step` is the first step that it will hold.
    ///
    /// # Errors
    /// The folder cannot be read or written.
    pub fn create(folder: &Path, next_step: u64) -> io::Result<EventWriter> {
        // TensorBoard reads a folder's files in the order of their names.
        let earlier = std::fs::read_dir(folder)?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_string_lossy().contains("tfevents"))
            .count();
        let name = format!("events.out.tfevents.{:010}.{earlier:04}.fcmae", now() as u64);
        let mut writer = EventWriter {
            file: File::create_new(folder.join(name))?,
        };
        let mut version = Message::event(0);
        version.bytes(field::EVENT_FILE_VERSION, b"brain.Event:2");
        writer.write(&version)?;
        let mut session = Message::default();
        session.integer(field::SESSION_STATUS, SESSION_START);
        let mut start = Message::event(next_step);
        start.bytes(field::EVENT_SESSION_LOG, &session.0);
        writer.write(&start)?;
        Ok(writer)
    }

    /// Writes one number under `tag`, e.g. `train/loss`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> io::Result<()> {
        let mut summary = Message::default();
        summary.bytes(field::VALUE_TAG, tag.as_bytes());
        summary.float(field::VALUE_SIMPLE, value as f32);
        self.summary(step, &summary)
    }

    /// Writes a picture, given as PNG bytes of `width` × `height` pixels.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn image(&mut self, tag: &str, step: u64, width: u32, height: u32, png: &[u8]) -> io::Result<()> {
        let mut image = Message::default();
        image.integer(field::IMAGE_HEIGHT, height.into());
        image.integer(field::IMAGE_WIDTH, width.into());
        image.integer(field::IMAGE_COLORSPACE, RGB);
        image.bytes(field::IMAGE_ENCODED, png);
        let mut value = Message::default();
        value.bytes(field::VALUE_TAG, tag.as_bytes());
        value.bytes(field::VALUE_IMAGE, &image.0);
        self.summary(step, &value)
    }

    fn summary(&mut self, step: u64, value: &Message) -> io::Result<()> {
        let mut summary = Message::default();
        summary.bytes(field::SUMMARY_VALUE, &value.0);
        let mut event = Message::event(step);
        event.bytes(field::EVENT_SUMMARY, &summary.0);
        self.write(&event)
    }

    /// A record in one write, so that a reader never sees half of it.
    fn write(&mut self, event: &Message) -> io::Result<()> {
        self.file.write_all(&record(&event.0))
    }
}

/// Length, masked checksum of the length, data, masked checksum of the data; little endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked(data).to_le_bytes());
    record
}

fn now() -> f64 {
    // A clock before 1970 is written as 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// A protocol-buffer message under construction: the four kinds of field that events need.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn event(step: u64) -> Message {
        let mut event = Message::default();
        event.tag(field::EVENT_WALL_TIME, 1);
        event.0.extend(now().to_le_bytes());
        event.integer(field::EVENT_STEP, step);
        event
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn integer(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    fn float(&mut self, field: u32, value: f32) {
        self.tag(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, value: &[u8]) {
        self.tag(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a file into its records and checks both checksums of each.
    fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[8..12], masked(&bytes[..8]).to_le_bytes());
            let data = &bytes[12..12 + length];
            assert_eq!(bytes[12 + length..16 + length], masked(data).to_le_bytes());
            records.push(data.to_vec());
            bytes = &bytes[16 + length..];
        }
        records
    }

    fn written(write: impl Fn(&mut EventWriter)) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 7).unwrap();
        write(&mut writer);
        let file = std::fs::read_dir(folder.path())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        records(&std::fs::read(file).unwrap())
    }

    #[test]
    fn a_file_starts_with_its_version_and_the_restart() {
        let records = written(|_| {});
        assert_eq!(records.len(), 2);
        assert!(records[0].ends_with(b"\x1a\x0dbrain.Event:2")); // field 3, 13 bytes
        assert!(records[1].ends_with(&[0x10, 7, 0x3a, 2, 0x08, 1])); // step 7; field 7 {status: START}
    }

    #[test]
    fn a_scalar_is_a_summary_with_tag_and_float() {
        let records = written(|writer| writer.scalar("loss", 300, 0.5).unwrap());
        let mut expected = vec![0x10, 0xac, 0x02, 0x2a, 13, 0x0a, 11, 0x0a, 4]; // step 300 = varint ac 02
        expected.extend(b"loss");
        expected.push(0x15);
        expected.extend(0.5f32.to_le_bytes());
        assert!(records[2].ends_with(&expected), "{:x?}", records[2]);
    }

    #[test]
    fn an_image_carries_its_size_and_bytes() {
        let records = written(|writer| writer.image("r", 1, 2, 3, b"png").unwrap());
        let mut expected = vec![0x22, 11, 0x08, 3, 0x10, 2, 0x18, 3, 0x22, 3];
        expected.extend(b"png");
        assert!(records[2].ends_with(&expected), "{:x?}", records[2]);
    }

    #[test]
    fn files_of_one_folder_sort_by_start() {
        let folder = tempfile::tempdir().unwrap();
        for step in 0..3 {
            EventWriter::create(folder.path(), step).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        let starts: Vec<u8> = names
            .iter()
            .map(|name| records(&std::fs::read(name).unwrap())[1][10])
            .collect();
        assert_eq!(starts, [0, 1, 2]);
    }
}
