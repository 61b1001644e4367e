//! Where things are: the checkout, the user's cache, the data sets.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A way to read environment variables, so that tests need not change the process.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process; an empty variable counts as not set.
pub(crate) fn process_env(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Root of the checkout that this xtask was built from.
pub(crate) fn checkout() -> PathBuf {
    let here =
        process_env("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// The link in the checkout that `.cargo/config.toml` gives to every build as `LIBTORCH`.
pub(crate) fn link() -> PathBuf {
    checkout().join(".libtorch")
}

/// The user's cache: `$FCMAE_CACHE`, or `fcmae` in `$XDG_CACHE_HOME`, or in `~/.cache`.
pub(crate) fn cache() -> Result<PathBuf> {
    cache_from(&process_env)
}

/// Where data sets lie: `$FCMAE_DATA`, or `data` in the cache.
pub(crate) fn data_home() -> Result<PathBuf> {
    data_home_from(&process_env)
}

fn cache_from(env: Env) -> Result<PathBuf> {
    if let Some(own) = env("FCMAE_CACHE") {
        return absolute(own.into());
    }
    let base = match env("XDG_CACHE_HOME") {
        Some(xdg) => PathBuf::from(xdg),
        None => PathBuf::from(
            env("HOME").context("neither FCMAE_CACHE nor HOME is set; set FCMAE_CACHE to a folder")?,
        )
        .join(".cache"),
    };
    absolute(base.join("fcmae"))
}

fn data_home_from(env: Env) -> Result<PathBuf> {
    match env("FCMAE_DATA") {
        Some(own) => absolute(own.into()),
        None => Ok(cache_from(env)?.join("data")),
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("{}: not a usable path", path.display()))
}

/// The path as a person would type it from the current folder: relative where it lies below.
pub(crate) fn display(path: &Path) -> String {
    let shown = env::current_dir()
        .ok()
        .and_then(|cwd| path.strip_prefix(cwd).ok().map(Path::to_path_buf));
    shown
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or_else(|| path.to_path_buf())
        .display()
        .to_string()
}

/// Bytes free on the disk that will hold `path` (or its nearest existing parent), if `df` can tell.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|p| p.exists())?;
    let output = std::process::Command::new("df")
        .arg("-Pk")
        .arg(existing)
        .output()
        .ok()?;
    parse_df(&String::from_utf8_lossy(&output.stdout))
}

/// The fourth column of the last line of `df -Pk` is the free space in KiB.
fn parse_df(text: &str) -> Option<u64> {
    text.lines()
        .last()?
        .split_whitespace()
        .nth(3)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

/// `1234567890` → `1.2 GB`.
pub(crate) fn human(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        1_000_000_000.. => format!("{:.1} GB", value / 1e9),
        1_000_000.. => format!("{:.0} MB", value / 1e6),
        _ => format!("{:.0} kB", (value / 1e3).max(1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn the_nearest_variable_wins() {
        let check = |pairs: &[(&str, &str)], cache: &str, data: &str| {
            assert_eq!(cache_from(&env(pairs)).unwrap(), Path::new(cache));
            assert_eq!(data_home_from(&env(pairs)).unwrap(), Path::new(data));
        };
        check(&[("HOME", "/h")], "/h/.cache/fcmae", "/h/.cache/fcmae/data");
        check(
            &[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")],
            "/x/fcmae",
            "/x/fcmae/data",
        );
        check(
            &[("XDG_CACHE_HOME", "/x"), ("FCMAE_CACHE", "/c")],
            "/c",
            "/c/data",
        );
        check(&[("FCMAE_CACHE", "/c"), ("FCMAE_DATA", "/d")], "/c", "/d");
    }

    #[test]
    fn without_a_home_the_message_says_what_to_set() {
        assert!(format!("{:#}", cache_from(&env(&[])).unwrap_err()).contains("set FCMAE_CACHE"));
    }

    #[test]
    fn df_and_sizes_are_read_and_shown() {
        let text = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 40 60 40% /\n";
        assert_eq!(parse_df(text), Some(60 * 1024));
        assert_eq!(parse_df("nonsense"), None);
        assert_eq!(
            [human(530_712_279), human(1_234_567_890), human(17)],
            ["531 MB", "1.2 GB", "1 kB"]
        );
    }

    #[test]
    fn the_checkout_is_the_folder_of_the_workspace() {
        assert!(checkout().join("xtask/src/paths.rs").is_file());
    }
}
