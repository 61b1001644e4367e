//! What a person sees of a run, on stderr (a bar on a terminal, plain lines elsewhere) or in a display of its own.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::metrics::EpochRecord;

/// How much a run says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings only.
    Quiet,
    /// A bar where stderr is a terminal, else a line now and then; one line per epoch.
    #[default]
    Normal,
}

/// State of a run as it is shown after each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// Optimizer steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Number of the epoch under way, counted from 1.
    pub epoch: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Smoothed masked loss.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Images trained on per second.
    pub images_per_second: f64,
    /// Share of the time spent waiting for data, in `[0, 1]`.
    pub data_wait: f64,
}

/// What a run says, for a display that is not this one.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Steps are about to begin.
    Begin,
    /// A sentence.
    Line(String),
    /// A warning.
    Warning(String),
    /// A step is done.
    Step(Shown),
    /// An epoch is closed.
    Epoch {
        /// What was measured.
        record: Box<EpochRecord>,
        /// The picture of its reconstructions, where one was made.
        picture: Option<PathBuf>,
    },
}

/// Shows a run.
#[derive(Debug)]
pub struct Progress {
    outlet: Outlet,
    last_line: Instant,
    started: Instant,
    first_step: Option<u64>,
}

/// Where to.
#[derive(Debug, Clone)]
enum Outlet {
    /// Warnings on stderr, nothing else.
    Quiet,
    /// Lines on stderr.
    Lines,
    /// A bar on stderr, and lines above it.
    Bar(ProgressBar),
    /// Somebody who shows it. One who has gone away misses it.
    Watcher(Sender<News>),
}

impl Outlet {
    fn line(&self, text: &str) {
        let text = &*one_line(text);
        match self {
            Outlet::Quiet => {}
            Outlet::Lines => eprintln!("{text}"),
            Outlet::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Outlet::Watcher(watcher) => drop(watcher.send(News::Line(text.to_owned()))),
        }
    }

    fn warn(&self, text: &str) {
        let text = &*one_line(text);
        match self {
            Outlet::Quiet | Outlet::Lines => eprintln!("warning: {text}"),
            Outlet::Bar(bar) => bar.suspend(|| eprintln!("warning: {text}")),
            Outlet::Watcher(watcher) => drop(watcher.send(News::Warning(text.to_owned()))),
        }
    }
}

impl Progress {
    /// Without a terminal, a line about the step appears this often.
    const LINE_EVERY: Duration = Duration::from_secs(30);

    /// A display that has shown nothing yet; a `watcher` gets all there is to show.
    #[must_use]
    pub fn new(verbosity: Verbosity, watcher: Option<Sender<News>>) -> Progress {
        let outlet = match (watcher, verbosity) {
            (Some(watcher), _) => Outlet::Watcher(watcher),
            (None, Verbosity::Quiet) => Outlet::Quiet,
            (None, Verbosity::Normal) if std::io::stderr().is_terminal() => Outlet::Bar(bar()),
            (None, Verbosity::Normal) => Outlet::Lines,
        };
        let now = Instant::now();
        Progress {
            outlet,
            last_line: now,
            started: now,
            first_step: None,
        }
    }

    /// A line of news.
    pub fn line(&self, text: &str) {
        self.outlet.line(text);
    }

    /// A warning; shown even when quiet.
    pub fn warn(&self, text: &str) {
        self.outlet.warn(text);
    }

    /// Warns from any thread.
    pub fn warner(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let outlet = self.outlet.clone();
        move |text| outlet.warn(text)
    }

    /// The state after a step.
    pub fn step(&mut self, shown: &Shown) {
        let first = *self.first_step.get_or_insert(shown.step.saturating_sub(1));
        let left = remaining(
            self.started.elapsed(),
            shown.step - first,
            shown.total_steps - shown.step,
        );
        match &self.outlet {
            Outlet::Quiet => {}
            Outlet::Bar(bar) => {
                bar.set_length(shown.total_steps);
                bar.set_position(shown.step);
                bar.set_message(format!("{} · {} left", describe(shown), duration(left)));
            }
            Outlet::Lines => self.line_now_and_then(shown, left),
            Outlet::Watcher(watcher) => drop(watcher.send(News::Step(*shown))),
        }
    }

    fn line_now_and_then(&mut self, shown: &Shown, left: Duration) {
        if self.last_line.elapsed() < Self::LINE_EVERY {
            return;
        }
        self.last_line = Instant::now();
        self.line(&format!(
            "step {}/{} · {} · {} left",
            shown.step,
            shown.total_steps,
            describe(shown),
            duration(left)
        ));
    }

    /// A closed epoch: in one line, and as it was measured and pictured.
    pub fn epoch(&self, line: &str, record: &EpochRecord, picture: Option<PathBuf>) {
        self.line(line);
        if let Outlet::Watcher(watcher) = &self.outlet {
            let record = Box::new(record.clone());
            drop(watcher.send(News::Epoch { record, picture }));
        }
    }

    /// Steps are about to begin: time is counted from now, and the bar appears.
    pub fn begin(&mut self) {
        self.started = Instant::now();
        self.last_line = self.started;
        self.first_step = None;
        match &self.outlet {
            Outlet::Bar(bar) => bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8)),
            Outlet::Watcher(watcher) => drop(watcher.send(News::Begin)),
            Outlet::Quiet | Outlet::Lines => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Outlet::Bar(bar) = &self.outlet {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24.cyan/blue} {pos}/{len} · {msg}")
        .expect("the template is a constant and is valid")
        .progress_chars("━━ ");
    ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style)
}

fn describe(shown: &Shown) -> String {
    format!(
        "epoch {}/{} · loss {:.4} · lr {:.2e} · {} img/s · {:.0} % data wait",
        shown.epoch,
        shown.epochs,
        shown.loss,
        shown.lr,
        rate(shown.images_per_second),
        100.0 * shown.data_wait
    )
}

/// `8.3` or `120`: three digits are enough.
pub(crate) fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

fn remaining(elapsed: Duration, done: u64, left: u64) -> Duration {
    let seconds = elapsed.as_secs_f64() * left as f64 / done.max(1) as f64;
    // A run of more than three centuries is shown as endless.
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(Duration::MAX)
        .min(Duration::from_secs(10_000_000_000))
}

/// `8 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Text as a terminal may show it: names in it may come from a file that means harm, so control characters are escaped
/// and what nobody would read is cut.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    /// Characters.
    const LONGEST: usize = 4000;
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line = String::new();
    for c in text.chars().take(LONGEST) {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    Cow::Owned(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        assert_eq!(one_line("μ: a·b"), "μ: a·b");
        assert_eq!(one_line("a\n\x1b[31mb\u{85}"), "a\\n\\u{1b}[31mb\\u{85}");
        let long = "ä".repeat(5000);
        assert_eq!(one_line(&long), format!("{}…", &long[..8000]));
    }

    #[test]
    fn durations_read_like_a_clock() {
        let check = |seconds, expected: &str| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(0, "0 s");
        check(59, "59 s");
        check(200, "3 min 20 s");
        check(7500, "2 h 05 min");
        check(3 * 86_400 + 4 * 3600, "3 d 4 h");
    }

    #[test]
    fn the_remaining_time_follows_the_steps_of_this_process() {
        assert_eq!(remaining(Duration::from_secs(10), 5, 15), Duration::from_secs(30));
        assert_eq!(remaining(Duration::from_secs(10), 0, 0), Duration::ZERO);
        assert!(remaining(Duration::MAX, 1, u64::MAX) < Duration::MAX);
    }

    #[test]
    fn a_step_is_described_in_one_line() {
        let shown = Shown {
            step: 3,
            total_steps: 10,
            epoch: 1,
            epochs: 2,
            loss: 0.98765,
            lr: 1.5e-4,
            images_per_second: 45.25,
            data_wait: 0.021,
        };
        let expected = "epoch 1/2 · loss 0.9877 · lr 1.50e-4 · 45.2 img/s · 2 % data wait";
        assert_eq!(describe(&shown), expected);
        assert_eq!(rate(1234.5), "1234");
    }
}
