//! A Python with PyTorch to measure against: the user's own, or one made in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::pins::{CUDA_CUPTI, CUDA_RUNTIME, TORCH};
use crate::process::{self, BadInput};
use crate::staging::{Lock, Staging, remove};
use crate::{download, libtorch, paths};

/// How to start Python so that `import torch` gives the pinned PyTorch.
#[derive(Debug)]
pub(crate) struct Python {
    program: PathBuf,
    /// The folder of our own PyTorch, if it is ours.
    packages: Option<PathBuf>,
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
            packages: None,
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
        let _lock = Lock::take(&home)?;
        let target = home.join(format!("torch-{}-{}", TORCH.version, tag.trim()));
        if !target.exists() {
            make(&program, &target)?;
        }
        Ok(Python {
            program,
            packages: Some(target),
        })
    }

    /// `python <script>` with the environment that finds PyTorch.
    pub(crate) fn command(&self, script: &Path) -> Command {
        let mut command = self.bare();
        command.arg(script);
        command
    }

    fn bare(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(packages) = &self.packages {
            // PyTorch then binds its functions when they are called, and those of the stand-ins never are
            command
                .env("PYTHONPATH", packages)
                .env("TORCH_USE_RTLD_GLOBAL", "1");
        }
        command
    }

    fn torch_version(&self) -> Result<String> {
        process::capture(self.bare().args(["-c", "import torch; print(torch.__version__)"]))
            .map(|text| text.trim().to_owned())
    }
}

fn make(program: &Path, target: &Path) -> Result<()> {
    eprintln!(
        "peer: PyTorch {} for {}, about 0.6 GB to download",
        TORCH.version,
        target.display()
    );
    let staging = Staging::begin(target)?;
    let temporary = staging.path().join(".tmp");
    fs::create_dir_all(&temporary).with_context(|| format!("{}: cannot be created", temporary.display()))?;
    let pinned =
        [TORCH, CUDA_RUNTIME, CUDA_CUPTI].map(|wheel| format!("{}=={}", wheel.package, wheel.version));
    let install = |packages: &[String], more: &[&str]| {
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
            .arg(staging.path())
            .args(more)
            .args(packages);
        process::run(
            command
                .env("TMPDIR", &temporary)
                .env("PIP_ROOT_USER_ACTION", "ignore"),
        )
    };
    install(&pinned, &["--no-deps"])?;
    install(&PURE.map(str::to_owned), &[])?;
    remove(&temporary)?;
    stand_ins(&staging.path().join("nvidia/cu13/lib"))?;
    let python = Python {
        program: program.to_path_buf(),
        packages: Some(staging.path().to_path_buf()),
    };
    python
        .torch_version()
        .context("the PyTorch that pip brought does not start; name another with --python")?;
    staging.commit()?;
    Ok(())
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
            fs::write(&fake, format!("#!/bin/sh\necho {version}\n")).unwrap();
            fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
            Python::of_user(&fake)
        };
        assert!(says("2.11.0+cpu").is_ok());
        assert!(
            format!("{:#}", says("2.10.0").unwrap_err())
                .contains("has torch 2.10.0, 2.11.0 is compared with")
        );
    }

    #[test]
    fn our_own_is_found_by_its_folder() {
        let python = Python {
            program: "python3".into(),
            packages: Some("cache/peer".into()),
        };
        let line = process::line(&python.command(Path::new("xtask/peer/torch_fcmae.py")));
        assert_eq!(
            line,
            "PYTHONPATH=cache/peer TORCH_USE_RTLD_GLOBAL=1 python3 xtask/peer/torch_fcmae.py"
        );
    }
}
