//! What the screen shows of a run: how far it is, its loss, its speed, its newest pictures, what it said.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use fcmae::report::Metrics;
use fcmae::trainer::{News, Shown, duration};
use image::RgbImage;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, Gauge, GraphType, Paragraph, Sparkline};

use super::picture::{Colors, Picture};

/// Lines of news that are kept.
const MOST_NEWS: usize = 200;
/// Points of the loss beyond which a terminal shows no difference.
const MOST_POINTS: usize = 1000;

/// A run as the screen shows it.
#[derive(Debug)]
pub(super) struct View {
    name: String,
    colors: Colors,
    now: Option<Shown>,
    /// When this process took its first step, and how many were done before it.
    began: Option<(Instant, u64)>,
    /// Smoothed training loss over epochs.
    loss: Vec<(f64, f64)>,
    /// Loss on the held-out images over epochs.
    held_out: Vec<(f64, f64)>,
    rates: VecDeque<u64>,
    picture: Option<RgbImage>,
    news: VecDeque<String>,
}

impl View {
    /// Of a run that begins.
    pub(super) fn new(folder: &Path) -> View {
        let name = folder.file_name().unwrap_or(folder.as_os_str());
        View {
            name: name.to_string_lossy().into_owned(),
            colors: Colors::of_terminal(),
            now: None,
            began: None,
            loss: Vec::new(),
            held_out: Vec::new(),
            rates: VecDeque::new(),
            picture: None,
            news: VecDeque::new(),
        }
    }

    /// Of a run that goes on in `folder`, with the curves that it left there.
    pub(super) fn continued(folder: &Path) -> View {
        let metrics = Metrics::read(&folder.join("metrics.jsonl")).unwrap_or_default();
        let pairs = |points: &[[f64; 2]]| {
            points
                .iter()
                .map(|&[x, y]| (x, y))
                .filter(|(_, y)| y.is_finite())
                .collect()
        };
        View {
            loss: pairs(metrics.of_steps("loss_smoothed")),
            held_out: pairs(metrics.of_epochs("val_loss")),
            ..View::new(folder)
        }
    }

    /// Takes news of the run in.
    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Begin => {}
            News::Line(text) => self.note(&text),
            News::Warning(text) => self.note(&format!("warning: {text}")),
            News::Step(shown) => self.step(shown),
            News::Epoch { record, picture } => {
                self.held_out
                    .extend(record.val_loss.map(|loss| (record.epoch as f64, loss)));
                if let Some(picture) = picture.and_then(|file| image::open(file).ok()) {
                    self.picture = Some(picture.into_rgb8());
                }
            }
        }
    }

    /// Adds a line to what the run said.
    pub(super) fn note(&mut self, text: &str) {
        self.news.push_back(text.to_owned());
        if self.news.len() > MOST_NEWS {
            self.news.pop_front();
        }
    }

    fn step(&mut self, shown: Shown) {
        self.began.get_or_insert_with(|| (Instant::now(), shown.step));
        self.loss.push((epoch(&shown), shown.loss));
        if self.loss.len() > 2 * MOST_POINTS {
            let mut number = 0;
            self.loss.retain(|_| {
                number += 1;
                number % 2 == 0
            });
        }
        self.rates.push_back(shown.images_per_second.round() as u64);
        if self.rates.len() > 500 {
            self.rates.pop_front();
        }
        self.now = Some(shown);
    }

    /// What is to be read after the screen is gone.
    pub(super) fn last_words(self) -> Vec<String> {
        self.news.into()
    }

    /// Draws all of it.
    pub(super) fn draw(&self, frame: &mut Frame) {
        let [head, middle, speed, news, keys] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Min(6),
            Constraint::Length(4),
            Constraint::Length(6),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_head(frame, head);
        match &self.picture {
            Some(image) => {
                let [left, right] =
                    Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).areas(middle);
                self.draw_loss(frame, left);
                let block = block("input, seen, prediction");
                let colors = self.colors;
                frame.render_widget(Picture { image, colors }, block.inner(right));
                frame.render_widget(block, right);
            }
            None => self.draw_loss(frame, middle),
        }
        self.draw_speed(frame, speed);
        self.draw_news(frame, news);
        let help = Line::from(vec![
            " c".bold(),
            " checkpoint now   ".into(),
            "q".bold(),
            " save and stop".into(),
        ]);
        frame.render_widget(help.dim(), keys);
    }

    fn draw_head(&self, frame: &mut Frame, area: Rect) {
        let (share, label) = match &self.now {
            Some(shown) => (
                shown.step as f64 / shown.total_steps.max(1) as f64,
                format!(
                    "epoch {}/{} · step {}/{}{}",
                    shown.epoch,
                    shown.epochs,
                    shown.step,
                    shown.total_steps,
                    self.left(shown)
                ),
            ),
            None => (0.0, "starting".to_owned()),
        };
        let gauge = Gauge::default()
            .block(block(&self.name))
            .ratio(share.clamp(0.0, 1.0))
            .label(label);
        frame.render_widget(gauge.gauge_style(Style::new().fg(Color::Blue)), area);
    }

    /// The time that is left, once it can be told.
    fn left(&self, shown: &Shown) -> String {
        let Some((began, first)) = self.began else {
            return String::new();
        };
        let (done, left) = (shown.step - first, shown.total_steps - shown.step);
        let seconds = began.elapsed().as_secs_f64() * left as f64 / done as f64;
        Duration::try_from_secs_f64(seconds)
            .map_or(String::new(), |left| format!(" · {} left", duration(left)))
    }

    fn draw_loss(&self, frame: &mut Frame, area: Rect) {
        let all = || self.loss.iter().chain(&self.held_out);
        let end = |fold: fn(f64, f64) -> f64, pick: fn(&(f64, f64)) -> f64| all().map(pick).reduce(fold);
        let bounds = |pick: fn(&(f64, f64)) -> f64| match (end(f64::min, pick), end(f64::max, pick)) {
            (Some(low), Some(high)) if low < high => [low, high],
            (Some(only), _) => [only - 0.5, only + 0.5],
            _ => [0.0, 1.0],
        };
        let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));
        let title = match (&self.now, self.held_out.last()) {
            (Some(shown), Some((_, held_out))) => format!("loss {:.4} · held-out {held_out:.4}", shown.loss),
            (Some(shown), None) => format!("loss {:.4}", shown.loss),
            (None, _) => "loss".to_owned(),
        };
        let curve = |data, name: &'static str, color: Color| {
            Dataset::default()
                .name(name)
                .data(data)
                .marker(Marker::Braille)
                .graph_type(GraphType::Line)
                .fg(color)
        };
        let curves = vec![
            curve(self.loss.as_slice(), "training", Color::Blue),
            curve(self.held_out.as_slice(), "held out", Color::Yellow),
        ];
        let axis = |bounds: [f64; 2], digits: usize| {
            let labels = bounds.map(|end| format!("{end:.digits$}"));
            Axis::default()
                .bounds(bounds)
                .labels(labels)
                .style(Style::new().dim())
        };
        let chart = Chart::new(curves)
            .block(block(&title))
            .x_axis(axis(x, 1))
            .y_axis(axis(y, 3));
        frame.render_widget(chart, area);
    }

    fn draw_speed(&self, frame: &mut Frame, area: Rect) {
        let title = match &self.now {
            Some(shown) => format!(
                "{:.1} images/s · {:.0} % waiting for data · lr {:.2e}",
                shown.images_per_second,
                100.0 * shown.data_wait,
                shown.lr
            ),
            None => "images/s".to_owned(),
        };
        let block = block(&title);
        let room = block.inner(area).width as usize;
        let newest = self.rates.iter().skip(self.rates.len().saturating_sub(room));
        frame.render_widget(
            Sparkline::default().block(block).data(newest).fg(Color::Blue),
            area,
        );
    }

    fn draw_news(&self, frame: &mut Frame, area: Rect) {
        let block = block("");
        let room = block.inner(area).height as usize;
        let newest = self.news.iter().skip(self.news.len().saturating_sub(room));
        let lines: Vec<Line> = newest.map(|line| Line::raw(line.as_str())).collect();
        frame.render_widget(Paragraph::new(lines).block(block), area);
    }
}

/// Epochs done, as a fraction.
fn epoch(shown: &Shown) -> f64 {
    shown.step as f64 * shown.epochs as f64 / shown.total_steps.max(1) as f64
}

fn block(title: &str) -> Block<'static> {
    let block = Block::new()
        .borders(Borders::TOP)
        .border_style(Style::new().dim());
    if title.is_empty() {
        block
    } else {
        block.title(Line::from(format!(" {title} ")).bold())
    }
}

#[cfg(test)]
mod tests {
    use fcmae::trainer::EpochRecord;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn shown(step: u64) -> Shown {
        Shown {
            step,
            total_steps: 100,
            epoch: step / 50 + 1,
            epochs: 2,
            loss: 1.0 / step as f64,
            lr: 1e-3,
            images_per_second: 90.0 + step as f64,
            data_wait: 0.02,
        }
    }

    fn epoch_closed(picture: Option<std::path::PathBuf>) -> News {
        let record = EpochRecord {
            step: 50,
            epoch: 1,
            train_loss: Some(0.7),
            val_loss: Some(0.625),
            val: None,
            val_ema: None,
            monitor: None,
            lr: 1e-4,
            skipped: 0,
            seconds: 3.0,
            memory_mib: None,
        };
        News::Epoch {
            record: Box::new(record),
            picture,
        }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_run_is_seen_from_its_start_on() {
        let mut view = View::new(Path::new("runs/cells"));
        assert!(drawn(&view, 80, 24).contains("starting"));
        view.hear(News::Line("atto · 3.7 M parameters".into()));
        view.hear(News::Begin);
        (1..=60).for_each(|step| view.hear(News::Step(shown(step))));
        view.hear(epoch_closed(None));
        view.hear(News::Warning("image left out".into()));
        let screen = drawn(&view, 100, 30);
        for part in [
            "cells",
            "epoch 2/2 · step 60/100",
            "loss 0.0167 · held-out 0.6250",
            "150.0 images/s · 2 % waiting for data · lr 1.00e-3",
            "atto · 3.7 M parameters",
            "warning: image left out",
            "checkpoint now",
        ] {
            assert!(screen.contains(part), "{part:?} is not on the screen:\n{screen}");
        }
        assert!(
            screen.contains(|c: char| ('\u{2801}'..='\u{28ff}').contains(&c)),
            "a curve:\n{screen}"
        );
    }

    #[test]
    fn the_newest_picture_is_shown_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("epoch-0001.png");
        RgbImage::from_pixel(30, 30, image::Rgb([200, 0, 0]))
            .save(&file)
            .unwrap();
        let mut view = View::new(Path::new("a"));
        view.hear(epoch_closed(Some(folder.path().join("none.png"))));
        assert!(!drawn(&view, 80, 24).contains('▀'));
        view.hear(epoch_closed(Some(file)));
        assert!(drawn(&view, 80, 24).contains('▀'));
    }

    #[test]
    fn no_terminal_is_too_small() {
        let mut view = View::new(Path::new("a"));
        view.hear(News::Step(shown(1)));
        for (width, height) in [(1, 1), (10, 3), (20, 8), (400, 100)] {
            drawn(&view, width, height);
        }
    }

    #[test]
    fn a_run_that_goes_on_shows_its_past() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "{\"kind\":\"step\",\"step\":1,\"epoch\":0.5,\"loss_smoothed\":0.9}\n\
                     {\"kind\":\"epoch\",\"step\":2,\"epoch\":1,\"val_loss\":0.8}\n";
        std::fs::write(folder.path().join("metrics.jsonl"), lines).unwrap();
        let view = View::continued(folder.path());
        assert_eq!(
            (&view.loss[..], &view.held_out[..]),
            (&[(0.5, 0.9)][..], &[(1.0, 0.8)][..])
        );
    }

    #[test]
    fn memory_does_not_grow_with_the_run() {
        let mut view = View::new(Path::new("a"));
        for step in 1..20_000 {
            view.hear(News::Step(Shown {
                total_steps: 20_000,
                ..shown(step)
            }));
            view.note("line");
        }
        assert!(
            view.loss.len() <= 2 * MOST_POINTS && view.news.len() <= MOST_NEWS && view.rates.len() <= 500
        );
    }
}
