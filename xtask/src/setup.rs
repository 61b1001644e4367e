//! `setup`: libtorch into the user's cache, linked into the checkout.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::libtorch::{self, Found};
use crate::pins::{CUDA_CUPTI, CUDA_RUNTIME, LIBTORCH_VERSION, TORCH, Wheel};
use crate::process::{self, BadInput};
use crate::staging::{Lock, Staging, remove, replace_link};
use crate::{cpu_wheel, download, paths};

/// Options of `setup`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Take PyTorch with all its CUDA libraries (about 3 GB to download), to use an NVIDIA GPU
    #[arg(long)]
    cuda: bool,
    /// Install from this wheel of torch 2.11.0 instead of downloading it
    #[arg(long, value_name = "FILE", conflicts_with = "cuda")]
    wheel: Option<PathBuf>,
    /// Install again, even if it is there
    #[arg(long)]
    force: bool,
}

/// Free space that the CPU libtorch needs on the way: its wheels and what is unpacked from them.
const SPACE_CPU: u64 = 2_000_000_000;
/// The same with CUDA.
const SPACE_CUDA: u64 = 12_000_000_000;

/// Installs, and says how to go on.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Found::Variable { name, value } = libtorch::find() {
        eprintln!(
            "{name}={} is set by you and wins; nothing to install (unset it to use setup's own)",
            value.display()
        );
        match libtorch::check(&value) {
            Err(why) if name == "LIBTORCH" => eprintln!("note: it may not work: {why}"),
            _ => {}
        }
        return Ok(());
    }
    install(args)?;
    eprintln!("next: `cargo xtask pretrain` trains, `cargo xtask test` tests, plain `cargo build` works too");
    Ok(())
}

/// Puts libtorch into the cache unless it is there, and the link into the checkout.
pub(crate) fn install(args: &Args) -> Result<()> {
    supported(std::env::consts::OS, std::env::consts::ARCH, glibc().as_deref())?;
    let home = paths::cache()?.join("libtorch");
    let lock = Lock::take(&home)?;
    let folder = if args.cuda {
        install_cuda(args, &home, &lock)?
    } else {
        install_cpu(args, &home, &lock)?
    };
    let link = paths::link();
    if fs::read_link(&link).ok().as_deref() != Some(folder.as_path()) {
        replace_link(&link, &folder)?;
        eprintln!("linked: {} -> {}", paths::display(&link), folder.display());
    }
    Ok(())
}

fn install_cpu(args: &Args, home: &Path, lock: &Lock) -> Result<PathBuf> {
    let target = home.join(format!("{LIBTORCH_VERSION}-cpu"));
    if let (Ok(version), false) = (libtorch::check(&target), args.force) {
        eprintln!("libtorch {version} is installed in {}", target.display());
        return Ok(target);
    }
    let start = Instant::now();
    need_space(home, SPACE_CPU)?;
    let downloads = paths::cache()?.join("downloads");
    fs::create_dir_all(&downloads).with_context(|| format!("{}: cannot be created", downloads.display()))?;
    let torch = match &args.wheel {
        Some(file) => given(file)?,
        None => {
            let (mb, cache) = (paths::human(TORCH.bytes), paths::display(&downloads));
            eprintln!(
                "libtorch {LIBTORCH_VERSION} for the CPU: {mb} to download to {cache}; half a GB stays, in {}",
                target.display()
            );
            download::fetch(&TORCH, &downloads, lock)?
        }
    };
    let stubs = Stubs {
        beside: args.wheel.as_deref().and_then(Path::parent),
        downloads: &downloads,
        lock,
    };
    cpu_wheel::install(&torch, &|wheel| stubs.get(wheel), &target)?;
    for wheel in [TORCH, CUDA_RUNTIME, CUDA_CUPTI] {
        remove(&downloads.join(wheel.file))?;
    }
    eprintln!(
        "libtorch is ready in {} ({:.0} s)",
        target.display(),
        start.elapsed().as_secs_f64()
    );
    Ok(target)
}

/// A wheel that the user names: taken if it is the pinned one; another is taken too, if its contents say 2.11.0.
fn given(file: &Path) -> Result<PathBuf> {
    if !file.is_file() {
        return Err(BadInput(format!("--wheel {}: no such file", file.display())).into());
    }
    match download::verify(&TORCH, file) {
        Ok(()) => {}
        Err(_) => eprintln!(
            "note: {} is not the pinned wheel; its version is checked instead",
            file.display()
        ),
    }
    Ok(file.to_path_buf())
}

/// Where the two CUDA stubs come from: beside the wheel that was given, else by pip.
struct Stubs<'a> {
    beside: Option<&'a Path>,
    downloads: &'a Path,
    lock: &'a Lock,
}

impl Stubs<'_> {
    fn get(&self, wheel: &Wheel) -> Result<PathBuf> {
        if let Some(file) = self
            .beside
            .map(|folder| folder.join(wheel.file))
            .filter(|file| file.is_file())
        {
            return download::verify(wheel, &file).map(|()| file);
        }
        download::fetch(wheel, self.downloads, self.lock)
    }
}

/// The whole of PyTorch by `pip install --target`, its CUDA libraries beside it where its run path finds them.
fn install_cuda(args: &Args, home: &Path, lock: &Lock) -> Result<PathBuf> {
    let target = home.join(format!("{LIBTORCH_VERSION}-cuda"));
    let folder = target.join("torch");
    if let (Ok(version), false) = (libtorch::check(&folder), args.force) {
        eprintln!("libtorch {version} is installed in {}", folder.display());
        return Ok(folder);
    }
    need_space(home, SPACE_CUDA)?;
    download::pip_version()?;
    eprintln!(
        "libtorch {LIBTORCH_VERSION} with CUDA 13: about 3 GB to download, 5 GB stay in {}",
        home.display()
    );
    eprintln!("note: pip checks these files against its index; only versions are pinned here");
    let staging = Staging::begin(&target)?;
    let temporary = staging.path().join(".tmp");
    fs::create_dir_all(&temporary).with_context(|| format!("{}: cannot be created", temporary.display()))?;
    let mut command = download::pip("install");
    command
        .arg("--target")
        .arg(staging.path())
        .arg(format!("{}=={}", TORCH.package, TORCH.version));
    command
        .env("TMPDIR", &temporary)
        .env("PIP_ROOT_USER_ACTION", "ignore");
    lock.share(&mut command)?;
    process::run(&mut command)?;
    remove(&temporary)?;
    cpu_wheel::write(
        &staging.path().join("torch"),
        "build-version",
        &format!("{LIBTORCH_VERSION}+cu130\n"),
    )?;
    if let Err(why) = libtorch::check(&staging.path().join("torch")) {
        bail!("pip brought an incomplete PyTorch: {why}");
    }
    staging.commit()?;
    Ok(folder)
}

fn need_space(folder: &Path, bytes: u64) -> Result<()> {
    match paths::free_bytes(folder) {
        Some(free) if free < bytes => bail!(
            "{}: {} free, setup needs {}; make room, or set FCMAE_CACHE to a folder on another disk",
            folder.display(),
            paths::human(free),
            paths::human(bytes)
        ),
        _ => Ok(()),
    }
}

/// Version of the C library as `getconf` tells it, e.g. `2.36`; none on musl and on other systems.
pub(crate) fn glibc() -> Option<String> {
    let text = process::capture(Command::new("getconf").arg("GNU_LIBC_VERSION")).ok()?;
    Some(text.trim().strip_prefix("glibc ")?.to_owned())
}

/// Fails with what to do where the pinned libtorch does not run.
pub(crate) fn supported(os: &str, arch: &str, glibc: Option<&str>) -> Result<()> {
    const ELSE: &str = "install libtorch 2.11.0 yourself and set LIBTORCH to its folder (not tested there)";
    if (os, arch) != ("linux", "x86_64") {
        bail!("setup installs libtorch for linux on x86_64; this is {os} on {arch}: {ELSE}");
    }
    let Some(version) = glibc else {
        bail!("setup's libtorch needs glibc 2.28 or newer; this system has no glibc (musl?): {ELSE}");
    };
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    if (numbers.next(), numbers.next()) < (Some(2), Some(28)) {
        bail!("setup's libtorch needs glibc 2.28 or newer; this system has {version}: {ELSE}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_systems_are_told_what_to_do() {
        let check = |os, arch, glibc, expected: &str| {
            let text = format!("{:#}", supported(os, arch, glibc).unwrap_err());
            assert!(text.contains(expected) && text.contains("set LIBTORCH"), "{text}");
        };
        check("macos", "aarch64", None, "this is macos on aarch64");
        check("linux", "aarch64", Some("2.36"), "this is linux on aarch64");
        check("linux", "x86_64", None, "musl");
        check("linux", "x86_64", Some("2.17"), "this system has 2.17");
        supported("linux", "x86_64", Some("2.28")).unwrap();
        supported("linux", "x86_64", Some("2.36")).unwrap();
        supported("linux", "x86_64", Some("3.0")).unwrap();
    }
}
