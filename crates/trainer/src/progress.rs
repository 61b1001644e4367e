//! What a person sees of a run, all of it on stderr: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

/// Shows a run.
#[derive(Debug)]
pub struct Progress {
    verbosity: Verbosity,
    bar: Option<ProgressBar>,
    last_line: Instant,
    started: Instant,
    first_step: Option<u64>,
}

impl Progress {
    /// Without a terminal, a line about the step appears this often.
    const LINE_EVERY: Duration = Duration::from_secs(30);

    /// A display that has shown nothing yet.
    #[must_use]
    pub fn new(verbosity: Verbosity) -> Progress {
        let has_bar = verbosity == Verbosity::Normal && std::io::stderr().is_terminal();
        let now = Instant::now();
        Progress {
            verbosity,
            bar: has_bar.then(bar),
            last_line: now,
            started: now,
            first_step: None,
        }
    }

    /// A line of news.
    pub fn line(&self, text: &str) {
        match (&self.bar, self.verbosity) {
            (_, Verbosity::Quiet) => {}
            (Some(bar), _) => bar.suspend(|| eprintln!("{text}")),
            (None, _) => eprintln!("{text}"),
        }
    }

    /// A warning; shown even when quiet.
    pub fn warn(&self, text: &str) {
        warn(self.bar.as_ref(), text);
    }

    /// Warns from any thread.
    pub fn warner(&self) -> impl Fn(&str) + Send + Sync + 'static {
        let bar = self.bar.clone();
        move |text| warn(bar.as_ref(), text)
    }

    /// The state after a step.
    pub fn step(&mut self, shown: &Shown) {
        let first = *self.first_step.get_or_insert(shown.step.saturating_sub(1));
        let left = remaining(
            self.started.elapsed(),
            shown.step - first,
            shown.total_steps - shown.step,
        );
        if let Some(bar) = &self.bar {
            bar.set_length(shown.total_steps);
            bar.set_position(shown.step);
            bar.set_message(format!("{} · {} left", describe(shown), duration(left)));
        } else if self.last_line.elapsed() >= Self::LINE_EVERY {
            self.last_line = Instant::now();
            self.line(&format!(
                "step {}/{} · {} · {} left",
                shown.step,
                shown.total_steps,
                describe(shown),
                duration(left)
            ));
        }
    }

    /// Steps are about to begin: time is counted from now, and the bar appears.
    pub fn begin(&mut self) {
        self.started = Instant::now();
        self.last_line = self.started;
        self.first_step = None;
        if let Some(bar) = &self.bar {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn warn(bar: Option<&ProgressBar>, text: &str) {
    let print = || eprintln!("warning: {text}");
    bar.map_or_else(print, |bar| bar.suspend(print));
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

#[cfg(test)]
mod tests {
    use super::*;

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
