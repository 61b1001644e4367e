//! A Python with PyTorch, and with timm and transformers, to measure and compare with: the user's own, or one made in the cache.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::pins::{CUDA_CUPTI, CUDA_RUNTIME, TIMM, TORCH, TORCHVISION, TRANSFORMERS};
use crate::process::{self, BadInput};
use crate::staging::{Lock, Staging, remove};
use crate::{download, libtorch, paths};

/// How to start Python so that `import torch` gives the pinned PyTorch.
#[derive(Debug)]
pub(crate) struct Python {
    program: PathBuf,
    /// The folders of our own packages, PyTorch's first; none where the Python is the user's.
    packages: Vec<PathBuf>,
}

/// What `import torch` needs beside PyTorch's own wheel on a CPU; `numpy` keeps it from warning.
const PURE: [&str; 8] = [
    "typing-extensions",
    "sympy>=1.13.3",
    "networkx",
    "jinja2",
    "fsspec",
    "filelock",
    "setuptools<82",
    "numpy",
];

/// CUDA libraries that PyTorch's wheel is linked to, 2.5 GB, and that a run on the CPU never calls.
const STAND_INS: [&str; 11] = [
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libcufft.so.12",
    "libcufile.so.0",
    "libcurand.so.10",
    "libcusolver.so.12",
    "libcusparse.so.12",
    "libcusparseLt.so.0",
    "libnccl.so.2",
    "libnvshmem_host.so.3",
];

impl Python {
    /// The user's Python, if it has the pinned PyTorch.
    pub(crate) fn of_user(program: &Path) -> Result<Python> {
        let python = Python {
            program: program.to_path_buf(),
            packages: Vec::new(),
        };
        let found = python.torch_version().map_err(|error| {
            BadInput(format!(
                "--python {}: cannot import torch: {error:#}",
                program.display()
            ))
        })?;
        if found.split('+').next() != Some(TORCH.version) {
            let (program, want) = (program.display(), TORCH.version);
            return Err(BadInput(format!(
                "--python {program}: has torch {found}, {want} is compared with"
            ))
            .into());
        }
        Ok(python)
    }

    /// Our own in the cache, made on first use: PyTorch's wheel, with empty stand-ins for its CUDA libraries.
    pub(crate) fn of_cache() -> Result<Python> {
        download::pip_version()?;
        let program = PathBuf::from(download::python());
        let tag = "import sys; print(f'python{sys.version_info[0]}.{sys.version_info[1]}')";
        let tag = process::capture(Command::new(&program).args(["-c", tag]))?;
        let home = paths::cache()?.join("peer");
        let lock = Lock::take(&home)?;
        let target = home.join(format!("torch-{}-{}", TORCH.version, tag.trim()));
        if !target.exists() {
            make(&program, &target, &lock)?;
        }
        Ok(Python {
            program,
            packages: vec![target],
        })
    }

    /// The user's Python if one is named, else our own; both with timm and transformers.
    pub(crate) fn with_models(program: Option<&Path>) -> Result<Python> {
        if let Some(program) = program {
            let python = Python::of_user(program)?;
            python.import_models().map_err(|error| {
                BadInput(format!(
                    "--python {}: cannot import timm and transformers: {error:#}",
                    program.display()
                ))
            })?;
            return Ok(python);
        }
        let mut python = Python::of_cache()?;
        let torch = &python.packages[0];
        let name = torch.file_name().unwrap_or_default().to_string_lossy();
        let target = torch.with_file_name(format!("{name}-{TIMM}-{TRANSFORMERS}").replace("==", "-"));
        let lock = Lock::take(&paths::cache()?.join("peer"))?;
        if !target.exists() {
            make_models(&python, &target, &lock)?;
        }
        python.packages.push(target);
        Ok(python)
    }

    /// `python <script>` with the environment that finds PyTorch.
    pub(crate) fn command(&self, script: &Path) -> Command {
        let mut command = self.bare();
        command.arg(script);
        command
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(&self.program);
        if !self.packages.is_empty() {
            let folders: Vec<_> = self.packages.iter().map(|folder| folder.as_os_str()).collect();
            // PyTorch then binds its functions when they are called, and those of the stand-ins never are
            command
                .env("PYTHONPATH", folders.join(OsStr::new(":")))
                .env("TORCH_USE_RTLD_GLOBAL", "1");
        }
        command
    }

    fn import_models(&self) -> Result<String> {
        process::capture(self.bare().args(["-c", "import timm, transformers, PIL"]))
    }

    fn torch_version(&self) -> Result<String> {
        process::capture(self.bare().args(["-c", "import torch; print(torch.__version__)"]))
            .map(|text| text.trim().to_owned())
    }
}

fn make(program: &Path, target: &Path, lock: &Lock) -> Result<()> {
    eprintln!(
        "peer: PyTorch {} for {}, about 0.6 GB to download",
        TORCH.version,
        target.display()
    );
    let staging = Staging::begin(target)?;
    let pinned =
        [TORCH, CUDA_RUNTIME, CUDA_CUPTI].map(|wheel| format!("{}=={}", wheel.package, wheel.version));
    install(program, staging.path(), &pinned, &["--no-deps"], lock)?;
    install(program, staging.path(), &PURE, &[], lock)?;
    stand_ins(&staging.path().join("nvidia/cu13/lib"))?;
    let python = Python {
        program: program.to_path_buf(),
        packages: vec![staging.path().to_path_buf()],
    };
    python
        .torch_version()
        .context("the PyTorch that pip brought does not start; name another with --python")?;
    staging.commit()?;
    Ok(())
}

/// timm and transformers beside the PyTorch of `torch`.
fn make_models(torch: &Python, target: &Path, lock: &Lock) -> Result<()> {
    eprintln!("peer: {TIMM} and {TRANSFORMERS} for {}", target.display());
    let staging = Staging::begin(target)?;
    // without what they need: PyTorch is there, and transformers brings the rest
    let (program, folder) = (&torch.program, staging.path());
    install(program, folder, &[TIMM, TORCHVISION], &["--no-deps"], lock)?;
    install(program, folder, &[TRANSFORMERS, "pillow"], &[], lock)?;
    let python = Python {
        program: torch.program.clone(),
        packages: vec![torch.packages[0].clone(), staging.path().to_path_buf()],
    };
    python
        .import_models()
        .context("what pip brought does not start; name another Python with --python")?;
    staging.commit()?;
    Ok(())
}

/// `pip install` into a folder; pip's temporary files lie there as long as it runs.
fn install(
    program: &Path,
    folder: &Path,
    packages: &[impl AsRef<OsStr>],
    more: &[&str],
    lock: &Lock,
) -> Result<()> {
    let temporary = folder.join(".tmp");
    fs::create_dir_all(&temporary).with_context(|| format!("{}: cannot be created", temporary.display()))?;
    let mut command = Command::new(program);
    command.args([
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
        "--only-binary=:all:",
    ]);
    command
        .arg("--target")
        .arg(folder)
        .args(more)
        .args(packages)
        .env("TMPDIR", &temporary)
        .env("PIP_ROOT_USER_ACTION", "ignore");
    lock.share(&mut command)?;
    process::run(&mut command)?;
    remove(&temporary)
}

/// Empty shared libraries with the names that the loader asks for.
fn stand_ins(folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        bail!("{}: pip brought no CUDA runtime", folder.display());
    }
    for name in STAND_INS {
        let mut compile = libtorch::compiler_command();
        compile.args([
            "-shared",
            "-fPIC",
            &format!("-Wl,-soname,{name}"),
            "-x",
            "c",
            "/dev/null",
            "-o",
        ]);
        process::capture(compile.arg(folder.join(name)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_without_torch_is_told_so() {
        let home = tempfile::tempdir().unwrap();
        let error = Python::of_user(&home.path().join("no-python")).unwrap_err();
        assert!(error.is::<BadInput>() && format!("{error:#}").contains("no-python: cannot import torch"));
    }

    #[cfg(unix)]
    #[test]
    fn another_release_of_torch_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let fake = home.path().join("python");
        let says = |version: &str| {
            let script =
                format!("#!/bin/sh\ncase $2 in *timm*) echo no timm >&2; exit 1;; esac\necho {version}\n");
            fs::write(&fake, script).unwrap();
            fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
            Python::of_user(&fake)
        };
        assert!(says("2.11.0+cpu").is_ok());
        let error = Python::with_models(Some(&fake)).unwrap_err();
        assert!(error.is::<BadInput>() && format!("{error:#}").contains("timm and transformers: "));
        assert!(
            format!("{:#}", says("2.10.0").unwrap_err())
                .contains("has torch 2.10.0, 2.11.0 is compared with")
        );
    }

    #[test]
    fn our_own_is_found_by_its_folder() {
        let python = Python {
            program: "python3".into(),
            packages: vec!["cache/torch".into(), "cache/models".into()],
        };
        let line = process::line(&python.command(Path::new("xtask/peer/torch_fcmae.py")));
        assert_eq!(
            line,
            "PYTHONPATH=cache/torch:cache/models TORCH_USE_RTLD_GLOBAL=1 python3 xtask/peer/torch_fcmae.py"
        );
    }
}
