//! The terminal's second screen, on stderr: taken, drawn on, and given back however the program ends.

use std::io::{self, IsTerminal, Stderr};
use std::panic;

use anyhow::Result;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::view::View;

/// The second screen; dropped, the terminal is as it was.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stderr>>,
}

impl Screen {
    /// Takes the screen; `None` where stderr is no terminal.
    pub(super) fn open() -> Result<Option<Screen>> {
        if !io::stderr().is_terminal() || !io::stdin().is_terminal() {
            return Ok(None);
        }
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            close(); // or the message would be lost with the screen
            report(info);
        }));
        enable_raw_mode()?;
        execute!(io::stderr(), EnterAlternateScreen)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stderr()))?;
        Ok(Some(Screen { terminal }))
    }

    /// Draws the run as it stands.
    pub(super) fn draw(&mut self, view: &View) -> Result<()> {
        self.terminal.draw(|frame| view.draw(frame))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        close();
    }
}

/// Gives the terminal back. Where that fails there is nobody left to tell.
pub(super) fn close() {
    let _ = disable_raw_mode();
    let _ = execute!(
        io::stderr(),
        LeaveAlternateScreen,
        ratatui::crossterm::cursor::Show
    );
}
