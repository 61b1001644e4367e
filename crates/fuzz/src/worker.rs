//! The process that executes: it tells where it stands, keeps what it finds, and may end at any moment.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fcmae_fuzz::{Bench, Outcome, Target};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What an execution may take beside what the process has when it begins.
pub(crate) const MEMORY: u64 = 1 << 30;

/// Where a worker stands: the next execution, files read, findings; little-endian numbers in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) number: u64,
    pub(crate) read: u64,
    pub(crate) findings: u64,
}

impl Standing {
    pub(crate) fn file(findings: &Path, target: &Target) -> PathBuf {
        findings.join(format!(".{}", target.name))
    }

    pub(crate) fn load(file: &File) -> io::Result<Standing> {
        let mut bytes = [0; 24];
        file.read_exact_at(&mut bytes, 0)?;
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[8 * at + i]));
        Ok(Standing {
            number: word(0),
            read: word(1),
            findings: word(2),
        })
    }

    pub(crate) fn store(self, file: &File) -> io::Result<()> {
        let words = [self.number, self.read, self.findings].map(u64::to_le_bytes);
        file.write_all_at(words.as_flattened(), 0)
    }
}

/// Executes these numbers, and goes on from what the file of its standing counts.
pub(crate) fn run(target: &Target, seed: u64, numbers: Range<u64>, findings: &Path) -> Result<()> {
    let bench = Bench::new(target, seed)?;
    let name = Standing::file(findings, target);
    let file = File::options()
        .read(true)
        .write(true)
        .open(&name)
        .with_context(|| name.display().to_string())?;
    let mut standing = Standing::load(&file)?;
    limit_memory()?;
    for number in numbers {
        standing.number = number;
        standing.store(&file)?;
        let bytes = bench.input(number);
        match bench.execute(&bytes, number) {
            Ok(Outcome::Read) => standing.read += 1,
            Ok(Outcome::Refused) => {}
            Err(problem) => {
                standing.findings += 1;
                let shortest = bench.shrink(&bytes, number, &problem);
                keep(findings, target, seed, number, &shortest, &problem.to_string())?;
            }
        }
    }
    standing.number += 1;
    Ok(standing.store(&file)?)
}

/// Writes the input of a finding, and says what it is.
pub(crate) fn keep(
    findings: &Path,
    target: &Target,
    seed: u64,
    number: u64,
    bytes: &[u8],
    problem: &str,
) -> Result<()> {
    let file = findings.join(format!("{}-{seed}-{number}", target.name));
    fs::write(&file, bytes).with_context(|| file.display().to_string())?;
    eprintln!(
        "{}: execution {number}: {problem}; {}",
        target.name,
        file.display()
    );
    Ok(())
}

/// Memory is address space here: what asks for more is refused, and the process ends.
fn limit_memory() -> Result<()> {
    let statm = fs::read_to_string("/proc/self/statm").context("/proc/self/statm")?;
    let pages: u64 = statm
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .context("/proc/self/statm")?;
    let most = pages * rustix::param::page_size() as u64 + MEMORY;
    let Rlimit { maximum, .. } = getrlimit(Resource::As);
    let current = Some(maximum.map_or(most, |maximum| maximum.min(most)));
    setrlimit(Resource::As, Rlimit { current, maximum })?;
    Ok(())
}
