//! `--tui`: a run on a screen of its own in the terminal, with keys to save and to stop.
//!
//! The run stays in the main thread, where libtorch's threads belong to; the screen has a thread of its own, is told
//! what happens through a channel, and asks through the flags of the run.

mod picture;
mod screen;
mod view;

use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use fcmae::trainer::{InputError, News, RunOptions, SaveFlag, Start, StopFlag, Summary};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use screen::Screen;
use view::View;

/// The screen is drawn anew this often, at most.
const EVERY: Duration = Duration::from_millis(100);

/// Carries out a run on the screen; what it said last is said again on stderr when the screen is gone.
pub(super) fn on_screen(
    options: RunOptions,
    folder: &Path,
    run: impl FnOnce(&RunOptions) -> Result<Summary>,
) -> Result<Summary> {
    let screen = Screen::open()?.ok_or_else(|| InputError::Argument {
        message: "--tui needs a terminal; without one leave it out".to_owned(),
    })?;
    let view = match options.start {
        Start::Fresh => View::new(folder),
        Start::Continue | Start::Resume => View::continued(folder),
    };
    let (watcher, news) = mpsc::channel();
    let keys = Keys {
        stop: options.stop.clone(),
        save: options.save.clone(),
    };
    let shown = thread::spawn(move || show(screen, view, &news, &keys));
    let options = RunOptions {
        watcher: Some(watcher),
        stop: options.stop.without_haste(), // the terminal must be given back
        ..options
    };
    let summary = run(&options);
    drop(options); // the last sender: the screen closes
    match shown.join() {
        Ok(Ok(last_words)) => last_words.iter().for_each(|line| eprintln!("{line}")),
        _ => eprintln!("warning: the terminal was lost; the run went on without a screen"),
    }
    summary
}

/// What a key can ask for.
struct Keys {
    stop: StopFlag,
    save: SaveFlag,
}

/// Draws until the run is over. Returns the lines that were not to be missed.
fn show(mut screen: Screen, mut view: View, news: &Receiver<News>, keys: &Keys) -> Result<Vec<String>> {
    loop {
        screen.draw(&view)?;
        let until = Instant::now() + EVERY;
        loop {
            match news.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(news) => view.hear(news),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Ok(view.last_words()),
            }
        }
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()? {
                keys.pressed(key, &mut view);
            }
        }
    }
}

impl Keys {
    fn pressed(&self, key: KeyEvent, view: &mut View) {
        let is_interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            _ if key.kind != KeyEventKind::Press => {}
            _ if is_interrupt && self.stop.is_raised() => {
                screen::close(); // as a second signal does: at once, without a checkpoint
                std::process::exit(130);
            }
            _ if is_interrupt => self.stop(view),
            KeyCode::Char('q') => self.stop(view),
            KeyCode::Char('c') => {
                self.save.ask();
                view.note("a checkpoint is written after this step");
            }
            _ => {}
        }
    }

    fn stop(&self, view: &mut View) {
        self.stop.raise();
        view.note("the run saves itself and stops; Ctrl-C leaves at once, without saving");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_raise_the_flags_of_the_run() {
        let keys = Keys {
            stop: StopFlag::default(),
            save: SaveFlag::default(),
        };
        let mut view = View::new(Path::new("runs/a"));
        let press = |code| KeyEvent::new(code, KeyModifiers::NONE);
        keys.pressed(press(KeyCode::Char('x')), &mut view);
        assert!(!keys.stop.is_raised() && !keys.save.is_asked());
        keys.pressed(press(KeyCode::Char('c')), &mut view);
        assert!(keys.save.is_asked() && !keys.stop.is_raised());
        keys.pressed(
            KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL),
            &mut view,
        );
        assert!(keys.stop.is_raised());
    }
}
