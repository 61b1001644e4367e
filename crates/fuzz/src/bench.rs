//! One execution: a damaged file, a reader, and what came of it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Once;

use fcmae_random::{Purpose, Stream};
use tempfile::TempDir;

use crate::damage::damage;
use crate::target::{Input, Outcome, Seed, Target};

/// Larger good files are taken seldom: they cost time, and their heads are like those of the others.
const SMALL: usize = 8 << 10;

/// A target with its good files, and a folder for the damaged one.
pub struct Bench<'a> {
    target: &'a Target,
    seed: u64,
    seeds: Vec<Seed>,
    /// How many of `seeds`, from the first on, are small.
    small: usize,
    folder: TempDir,
}

/// What a reader must not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It panicked: where, where that is known, and the message.
    Panic(String),
    /// It said or gave something wrong, or left a file behind.
    Wrong(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Panic(text) => write!(f, "panicked at {text}"),
            Problem::Wrong(text) => f.write_str(text),
        }
    }
}

impl<'a> Bench<'a> {
    /// `seed` decides all damage.
    ///
    /// # Errors
    /// The temporary folder cannot be made.
    pub fn new(target: &'a Target, seed: u64) -> io::Result<Bench<'a>> {
        watch_panics();
        let mut seeds = (target.seeds)();
        seeds.sort_by_key(|seed| seed.inside.len());
        let small = seeds.iter().filter(|seed| seed.inside.len() <= SMALL).count();
        Ok(Bench {
            target,
            seed,
            small,
            seeds,
            folder: tempfile::tempdir()?,
        })
    }

    /// How many good files there are.
    #[must_use]
    pub fn goods(&self) -> usize {
        self.seeds.len()
    }

    /// A good file.
    #[must_use]
    pub fn good(&self, at: usize) -> Vec<u8> {
        self.seeds[at].file()
    }

    /// The damaged file of an execution.
    #[must_use]
    pub fn input(&self, number: u64) -> Vec<u8> {
        let mut random = Stream::new(self.seed, Purpose::Verify, 0, number);
        let (seed, other) = (self.pick(&mut random), self.pick(&mut random));
        let mut hurt = |mut bytes: Vec<u8>, other: &[u8]| {
            damage(&mut bytes, self.target.words, other, &mut random);
            bytes
        };
        if number.is_multiple_of(2) {
            (seed.dress)(&hurt(seed.inside.clone(), &other.inside))
        } else {
            hurt(seed.file(), &other.inside)
        }
    }

    fn pick(&self, random: &mut Stream) -> &Seed {
        let among = if random.below(16) == 0 {
            self.seeds.len()
        } else {
            self.small
        };
        &self.seeds[random.below(among.max(1) as u32) as usize]
    }

    /// Lets the target read a file.
    ///
    /// # Errors
    /// What it did that it must not do.
    pub fn execute(&self, bytes: &[u8], number: u64) -> Result<Outcome, Problem> {
        let file = self.folder.path().join(self.target.file);
        fs::write(&file, bytes).map_err(|error| Problem::Wrong(format!("{}: {error}", file.display())))?;
        let input = Input {
            file: &file,
            bytes,
            number,
        };
        IS_EXECUTING.set(true);
        let verdict = catch_unwind(AssertUnwindSafe(|| (self.target.read)(&input)));
        IS_EXECUTING.set(false);
        if let Some(left) = self.left_behind() {
            return Err(Problem::Wrong(format!("{} was written", left.display())));
        }
        match verdict {
            Ok(verdict) => verdict.map_err(Problem::Wrong),
            // what panicked on another thread has told its place to the usual hook
            Err(payload) => Err(Problem::Panic(match PANIC.take() {
                place if place.is_empty() => text(&*payload).to_owned(),
                place => format!("{place}: {}", text(&*payload)),
            })),
        }
    }

    /// Something in the folder that is not the file.
    fn left_behind(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.folder.path()).ok()?;
        let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        paths.find(|path| path.file_name() != Some(self.target.file.as_ref()))
    }

    /// The shortest file found that makes the same problem: pieces are left out, large ones first.
    #[must_use]
    pub fn shrink(&self, bytes: &[u8], number: u64, problem: &Problem) -> Vec<u8> {
        let mut shortest = bytes.to_vec();
        let mut piece = bytes.len() / 2;
        while piece > 0 {
            let mut at = 0;
            while at < shortest.len() {
                let mut shorter = shortest.clone();
                shorter.drain(at..shortest.len().min(at + piece));
                if self
                    .execute(&shorter, number)
                    .err()
                    .as_ref()
                    .is_some_and(|p| is_like(p, problem))
                {
                    shortest = shorter;
                } else {
                    at += piece;
                }
            }
            piece /= 2;
        }
        shortest
    }
}

/// Whether two problems have one cause, as far as their first words tell.
fn is_like(a: &Problem, b: &Problem) -> bool {
    let start = |problem: &Problem| problem.to_string().chars().take(48).collect::<String>();
    start(a) == start(b)
}

thread_local! {
    static IS_EXECUTING: Cell<bool> = const { Cell::new(false) };
    /// Where this thread panicked last.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The hook of panics: one of a reader is not printed but kept, as it is expected by the thousand.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if IS_EXECUTING.get() {
                PANIC.set(info.location().map(ToString::to_string).unwrap_or_default());
            } else {
                usual(info);
            }
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
