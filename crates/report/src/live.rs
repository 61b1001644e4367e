//! The report of a run in training.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::ReportError;
use crate::page::run_page;
use crate::pictures::Pictures;
use crate::run::Run;

/// Keeps `report.html` of a run folder up to date, at no more than two per cent of the time.
#[derive(Debug)]
pub struct LiveReport {
    folder: PathBuf,
    pictures: Pictures,
    /// No report before this.
    next: Instant,
}

impl LiveReport {
    /// A report takes its time once, and then not again before so many times that.
    const REST: u32 = 50;

    /// The report of the run in `folder`; nothing is written yet.
    #[must_use]
    pub fn new(folder: &Path) -> LiveReport {
        LiveReport {
            folder: folder.to_owned(),
            pictures: Pictures::default(),
            next: Instant::now(),
        }
    }

    /// Where the report is.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join("report.html")
    }

    /// Writes the report, unless the last one was so recent that this would take more than its share of the time.
    ///
    /// # Errors
    /// As [`LiveReport::write`].
    pub fn refresh(&mut self) -> Result<(), ReportError> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.write()
    }

    /// Writes the report, whole or not at all.
    ///
    /// # Errors
    /// A file of the run that cannot be read, or a report that cannot be written.
    pub fn write(&mut self) -> Result<(), ReportError> {
        let start = Instant::now();
        let run = Run::read(&self.folder)?;
        self.pictures.update(&self.folder, run.image_size());
        let written = write(&self.file(), &run_page(&run, &self.pictures));
        self.next = Instant::now() + rest(start.elapsed());
        written
    }
}

fn rest(taken: Duration) -> Duration {
    taken * LiveReport::REST
}

/// Writes a page, whole or not at all.
///
/// # Errors
/// [`ReportError::Unwritable`].
pub fn write(file: &Path, page: &str) -> Result<(), ReportError> {
    Ok(fcmae_checkpoint::replace_file(file, |out| {
        out.write_all(page.as_bytes())
    })?)
}
