//! Which libtorch the builds will use: the user's own, or the one linked into the checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::paths::{self, Env};
use crate::pins::LIBTORCH_VERSION;
use crate::{process, setup};

/// What a build would find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// The user has set this variable: it wins, and is left alone.
    Variable { name: &'static str, value: PathBuf },
    /// The checkout's link leads to a usable libtorch.
    Linked { folder: PathBuf, version: String },
    /// Nothing usable; the reason.
    Nothing { why: String },
}

/// Looks at the variables first, then at the link in the checkout.
pub(crate) fn find() -> Found {
    find_from(&paths::process_env, &paths::link())
}

fn find_from(env: Env, link: &Path) -> Found {
    if let Some(value) = env("LIBTORCH_USE_PYTORCH") {
        return Found::Variable {
            name: "LIBTORCH_USE_PYTORCH",
            value: value.into(),
        };
    }
    match env("LIBTORCH").map(PathBuf::from) {
        // cargo sets LIBTORCH to the checkout's link (.cargo/config.toml) for us too: that is not the user's
        Some(value) if !is_link(&value, link) => Found::Variable {
            name: "LIBTORCH",
            value,
        },
        _ => match check(link) {
            Ok(version) => Found::Linked {
                folder: fs::canonicalize(link).unwrap_or_else(|_| link.to_path_buf()),
                version,
            },
            Err(why) => Found::Nothing { why },
        },
    }
}

fn is_link(value: &Path, link: &Path) -> bool {
    let parent = |path: &Path| path.parent().and_then(|p| fs::canonicalize(p).ok());
    value == link || (value.file_name() == link.file_name() && parent(value) == parent(link))
}

/// The version of the libtorch in `folder`, or why it cannot be used.
pub(crate) fn check(folder: &Path) -> Result<String, String> {
    let shown = paths::display(folder);
    if !folder.exists() {
        return Err(format!("{shown} does not exist"));
    }
    for part in [
        "lib/libtorch.so",
        "lib/libtorch_cpu.so",
        "lib/libc10.so",
        "include/torch/csrc/api/include",
    ] {
        if !folder.join(part).exists() {
            return Err(format!("{shown} has no {part}"));
        }
    }
    let version = fs::read_to_string(folder.join("build-version"))
        .unwrap_or_default()
        .trim()
        .to_owned();
    if version.split('+').next() != Some(LIBTORCH_VERSION) {
        return Err(format!(
            "{shown} holds libtorch `{version}`, {LIBTORCH_VERSION} is needed"
        ));
    }
    Ok(version)
}

/// Makes sure that a build can start: a C++ compiler and a libtorch, which is installed when there is none.
pub(crate) fn ensure() -> Result<()> {
    if let Err(why) = compiler() {
        bail!("{why}; install one, e.g. `apt-get install g++`, or set CXX");
    }
    match find() {
        Found::Nothing { why } => {
            eprintln!("libtorch: {why}; installing it now");
            setup::install(&setup::Args::default())
        }
        Found::Variable { .. } | Found::Linked { .. } => Ok(()),
    }
}

/// The C++ compiler that cargo's build scripts will call: its name and first line of `--version`.
pub(crate) fn compiler() -> Result<String, String> {
    let name = compiler_name();
    match process::capture(compiler_command().arg("--version")) {
        Ok(text) => Ok(format!("{name}: {}", text.lines().next().unwrap_or_default())),
        Err(_) => Err(format!("no C++ compiler: `{name} --version` does not run")),
    }
}

/// `$CXX`, which may carry arguments or a wrapper as in `ccache g++`, or `c++`.
pub(crate) fn compiler_command() -> Command {
    let name = compiler_name();
    let mut words = name.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("c++"));
    command.args(words);
    command
}

fn compiler_name() -> String {
    paths::process_env("CXX").map_or_else(|| "c++".to_owned(), |v| v.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// A folder that looks like an installed libtorch.
    fn fake(folder: &Path, version: &str) {
        for file in [
            "lib/libtorch.so",
            "lib/libtorch_cpu.so",
            "lib/libc10.so",
            "include/torch/csrc/api/include/x.h",
        ] {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::write(folder.join("build-version"), format!("{version}\n")).unwrap();
    }

    fn find_with(pairs: &[(&str, &Path)], link: &Path) -> Found {
        let env = |name: &str| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, v)| OsString::from(v))
        };
        find_from(&env, link)
    }

    #[test]
    fn a_variable_of_the_user_wins_but_the_one_cargo_sets_does_not() {
        let home = tempfile::tempdir().unwrap();
        let link = home.path().join(".libtorch");
        let own = home.path().join("own");
        fake(&link, "2.11.0+cpu");
        let linked = Found::Linked {
            folder: fs::canonicalize(&link).unwrap(),
            version: "2.11.0+cpu".into(),
        };
        assert_eq!(find_with(&[], &link), linked);
        assert_eq!(find_with(&[("LIBTORCH", &link)], &link), linked);
        let roundabout = home.path().join("own/../.libtorch");
        fs::create_dir(&own).unwrap();
        assert_eq!(find_with(&[("LIBTORCH", &roundabout)], &link), linked);
        assert_eq!(
            find_with(&[("LIBTORCH", &own)], &link),
            Found::Variable {
                name: "LIBTORCH",
                value: own.clone()
            }
        );
        let pytorch = find_with(
            &[("LIBTORCH", &link), ("LIBTORCH_USE_PYTORCH", Path::new("1"))],
            &link,
        );
        assert_eq!(
            pytorch,
            Found::Variable {
                name: "LIBTORCH_USE_PYTORCH",
                value: "1".into()
            }
        );
    }

    #[test]
    fn a_missing_half_or_foreign_libtorch_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("lt");
        let why = |folder: &Path| check(folder).unwrap_err();
        assert!(why(&folder).ends_with("does not exist"));
        fake(&folder, "2.10.0+cpu");
        assert!(why(&folder).ends_with("holds libtorch `2.10.0+cpu`, 2.11.0 is needed"));
        fs::remove_file(folder.join("build-version")).unwrap();
        assert!(why(&folder).contains("holds libtorch ``"));
        fs::remove_file(folder.join("lib/libc10.so")).unwrap();
        assert!(why(&folder).ends_with("has no lib/libc10.so"));
    }
}
